"""How a manifest is cut: entries into batches, batches into the work units of tasks. Pure.

Each entry is in exactly one batch, and each batch in exactly one unit.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from prefect_freight.model import Round, Unit

MAX_BATCH_OBJECTS = 250
"""A killed run has at most four batches under way, so it moves at most 1,000 objects twice."""
MAX_BATCH_BYTES = 256 * 2**20
BATCHES_PER_PHASE = 10**9
"""Batches of phase n of a round are numbered from n times this."""
MAX_UNITS = 256
"""Prefect sees at most this many tasks a round, however many chunks there are."""
MIN_UNIT_OBJECTS = 4_000
"""What a task costs is small beside moving this many objects,"""
MIN_UNIT_BYTES = 2**30
"""or this many bytes."""


def plan_batches(sizes: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Return for entries of the given sizes, in bytes, the number of each one's batch, from 0.

    A batch holds consecutive entries: at most `MAX_BATCH_OBJECTS`, and at most `MAX_BATCH_BYTES`
    unless it is a single larger entry.

    >>> plan_batches(np.array([MAX_BATCH_BYTES, 1, 1])).tolist()
    [0, 1, 1]
    """
    total = np.concatenate([[0], np.cumsum(sizes)])
    numbers = np.zeros(len(sizes), np.int64)
    start = number = 0
    while start < len(sizes):
        # By the running total: a loop over millions of entries would cost as much as moving them.
        by_bytes = int(np.searchsorted(total, total[start] + MAX_BATCH_BYTES, side="right")) - 1
        stop = min(start + MAX_BATCH_OBJECTS, max(by_bytes, start + 1))
        numbers[start:stop] = number
        start, number = stop, number + 1
    return numbers


def batch_totals(sizes: npt.NDArray[np.int64]) -> tuple[tuple[int, int], ...]:
    """Return (objects, bytes) of the batches that entries of these sizes, in bytes, make.

    >>> batch_totals(np.array([3, 4]))
    ((2, 7),)
    """
    if not len(sizes):
        return ()
    numbers = plan_batches(sizes)
    objects = np.bincount(numbers).tolist()
    size = np.add.reduceat(sizes, np.flatnonzero(np.diff(numbers, prepend=-1))).tolist()
    return tuple(zip(objects, size, strict=True))


def plan_units(
    round_: Round, batches: Sequence[tuple[int, int]], phase: int = 0
) -> tuple[Unit, ...]:
    """Cut the batches of a round, each given as (objects, bytes), into at most `MAX_UNITS` units.

    (Of a phase of the round.)

    A unit is a range of batches. It is closed once it has `MIN_UNIT_OBJECTS` or `MIN_UNIT_BYTES`,
    or its share of a round too large for that.
    """
    objects = sum(n for n, _ in batches)
    total = sum(size for _, size in batches)
    # Twice the share: a unit may be closed by its bytes long before it has its objects, and the
    # other way round, so by either alone there could be twice as many units.
    enough_objects = max(MIN_UNIT_OBJECTS, -(-objects * 2 // (MAX_UNITS - 1)))
    enough_bytes = max(MIN_UNIT_BYTES, -(-total * 2 // (MAX_UNITS - 1)))
    units: list[Unit] = []
    first = n = size = 0
    for number, (batch_objects, batch_bytes) in enumerate(batches):
        n, size = n + batch_objects, size + batch_bytes
        if n >= enough_objects or size >= enough_bytes or number == len(batches) - 1:
            # Phases come in turns in the manifest, so none knows how many batches there are before
            # it.
            start = phase * BATCHES_PER_PHASE
            units.append(Unit(round_, start + first, start + number + 1, n, size, phase))
            first, n, size = number + 1, 0, 0
    return tuple(units)
