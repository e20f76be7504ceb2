#!/bin/sh
# Fails with exit code $1 (3 by default).
echo "this went well"
echo "this did not" >&2
exit "${1:-3}"
