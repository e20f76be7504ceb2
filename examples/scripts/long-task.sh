#!/bin/sh
# Works for $1 seconds (60 by default), and cleans up when it is told to end.
trap 'echo "told to end, cleaning up" >&2; exit 143' TERM
seconds="${1:-60}"
echo "working for ${seconds} s"
while [ "$seconds" -gt 0 ]; do
  # A signal is only handled between two commands, so none of them may be long.
  sleep 1 &
  wait $!
  seconds=$((seconds - 1))
done
echo "done"
