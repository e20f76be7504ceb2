#!/bin/sh
# Counts to $1 (5 by default), five numbers a second; each third number is remarked on stderr.
last="${1:-5}"
number=1
while [ "$number" -le "$last" ]; do
  printf 'step %s of %s ✓\n' "$number" "$last"
  if [ $((number % 3)) -eq 0 ]; then
    printf 'remark: %s divides by three\n' "$number" >&2
  fi
  sleep 0.2
  number=$((number + 1))
done
