#!/usr/bin/env python3
"""Averages the numbers it is given, slowly, and says how far it is."""

import os
import sys
import time

numbers = [float(word) for word in sys.argv[1:]]
if not numbers:
    sys.exit("give me some numbers")
total = 0.0
for done, number in enumerate(numbers, start=1):
    time.sleep(float(os.environ.get("PAUSE_SECONDS", "0")))
    total += number
    print(f"{100 * done // len(numbers)}%")  # shown at once: the runner sets PYTHONUNBUFFERED
print(f"The average is {total / len(numbers):g}.")
