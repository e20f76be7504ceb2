#!/bin/sh
# Pretends to deploy one part of a shop. The database of "api" is away, so that its deploy fails.
echo "deploying $1"
if [ "$1" = api ]; then
  echo "$1: the database does not answer" >&2
  exit 4
fi
echo "$1 is live"
