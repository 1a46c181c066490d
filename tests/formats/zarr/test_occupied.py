"""All chunks that are there are looked at, and nothing near as large as the grid."""

import itertools
import math

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from prefect_freight.formats.zarr.occupied import Coords, occupied_boxes, united

GRIDS = st.lists(st.integers(0, 5), max_size=3)


def coords_of(chunks: list[tuple[int, ...]], axes: int) -> Coords:
    return np.array(chunks, np.int64).reshape(len(chunks), axes)


@given(st.data())
def test_boxes_cover_what_is_there_once_and_one_that_is_not(data: st.DataObject) -> None:
    grid = data.draw(GRIDS)
    positions = list(itertools.product(*map(range, grid)))
    chunks = data.draw(st.lists(st.sampled_from(positions))) if positions else []
    size = [data.draw(st.integers(1, 5)) for _ in grid]
    there = united([coords_of(chunks, len(grid)), coords_of(chunks, len(grid))], grid)
    assert [tuple(chunk) for chunk in there.tolist()] == sorted(set(chunks))
    boxes = list(occupied_boxes(there, grid, size))
    covered = [chunk for box in boxes for chunk in itertools.product(*box)]
    assert set(chunks) <= set(covered) <= set(positions)
    assert (set(covered) > set(chunks)) == (len(set(chunks)) < len(positions))
    assert len(covered) <= 2 * len(set(chunks)) + 1


def test_of_a_grid_of_any_size_only_what_is_there_is_looked_at() -> None:
    grid, chunks = (2**33, 2**33), [(0, 0), (0, 1), (7, 2**32), (2**33 - 1, 2**33 - 1)]
    boxes = list(occupied_boxes(united([coords_of(chunks, 2)], grid), grid, (1, 2**24)))
    assert sum(math.prod(map(len, box)) for box in boxes) == len(chunks) + 1
    assert boxes[-1] == (range(1), range(2, 3))
