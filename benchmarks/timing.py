"""Clocks: what is compared is measured in turns, so that a busy machine is busy for both."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping
from statistics import median

WARM_UP_ROUNDS = 3

Work = Callable[[], object]


def interleaved(works: Mapping[str, Work], rounds: int) -> dict[str, float]:
    """Do several things in turns and return the median seconds of each.

    The order within a round is drawn anew each time, always alike in two runs: what one leaves to
    do behind it, such as a connection to close, falls to all others alike.

    Args:
        works: What to do, by name.
        rounds: How often to do each, after some rounds that do not count.
    """
    seconds = interleaved_figures({name: _timed(work) for name, work in works.items()}, rounds)
    return {name: median(values) for name, values in seconds.items()}


def interleaved_figures(
    measurements: Mapping[str, Callable[[], float]], rounds: int, warm_up: int = WARM_UP_ROUNDS
) -> dict[str, list[float]]:
    """Take several measurements in turns; returns the figures of each.

    Args:
        measurements: What gives one figure, by name.
        rounds: How many figures of each to keep.
        warm_up: How many rounds to do before them.
    """
    order = random.Random(0)
    names = list(measurements)
    figures: dict[str, list[float]] = {name: [] for name in names}
    for number in range(-warm_up, rounds):
        for name in order.sample(names, len(names)):
            figure = measurements[name]()
            if number >= 0:
                figures[name].append(figure)
    return figures


def seconds_of(work: Work) -> float:
    """Do something once; returns how long it took."""
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


def _timed(work: Work) -> Callable[[], float]:
    return lambda: seconds_of(work)
