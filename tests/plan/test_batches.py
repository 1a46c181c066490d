"""How a manifest is cut."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from prefect_freight.model import Round
from prefect_freight.plan.batches import (
    MAX_BATCH_BYTES,
    MAX_BATCH_OBJECTS,
    MAX_UNITS,
    plan_batches,
    plan_units,
)

HALF = MAX_BATCH_BYTES // 2


@pytest.mark.parametrize(
    ("sizes", "batches"),
    [
        ([], []),
        ([1], [0]),
        ([0, 0], [0, 0]),  # empty objects are objects
        ([HALF, HALF], [0, 0]),  # exactly full
        ([HALF, HALF, 1], [0, 0, 1]),
        ([MAX_BATCH_BYTES + 1, 1], [0, 1]),  # too large for any batch: alone in one
        ([1, MAX_BATCH_BYTES + 1, 1], [0, 1, 2]),
    ],
)
def test_a_batch_is_closed_by_its_bytes(sizes: list[int], batches: list[int]) -> None:
    assert plan_batches(np.array(sizes, np.int64)).tolist() == batches


@given(st.lists(st.integers(0, MAX_BATCH_BYTES * 2), max_size=900))
def test_batches_are_consecutive_bounded_and_never_empty(sizes: list[int]) -> None:
    numbers = plan_batches(np.array(sizes, np.int64))
    assert set(np.diff(numbers, prepend=0).tolist()) <= {0, 1}
    for number in set(numbers.tolist()):
        batch = np.array(sizes)[numbers == number]
        assert len(batch) <= MAX_BATCH_OBJECTS
        assert batch.sum() <= MAX_BATCH_BYTES or len(batch) == 1


@given(st.lists(st.tuples(st.integers(1, MAX_BATCH_OBJECTS), st.integers(0, 2**36)), max_size=3000))
def test_each_batch_is_in_exactly_one_unit_and_units_are_few(
    batches: list[tuple[int, int]],
) -> None:
    units = plan_units(Round.CHUNKS, batches)
    assert [n for unit in units for n in range(unit.first, unit.stop)] == list(range(len(batches)))
    assert len(units) <= MAX_UNITS
    assert sum(unit.objects for unit in units) == sum(n for n, _ in batches)
    assert sum(unit.bytes for unit in units) == sum(size for _, size in batches)


def test_a_small_export_is_one_unit() -> None:
    assert len(plan_units(Round.CHUNKS, [(250, 10_000)] * 10)) == 1
