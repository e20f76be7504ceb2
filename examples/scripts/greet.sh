#!/bin/sh
# Greets whoever is named; without arguments, everybody.
for name in "${@:-everybody}"; do
  printf 'Hello, %s!\n' "$name"
done
