"""Entries of chunks: those that are there and those that must be filled, in the grid's order."""

from itertools import product

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prefect_freight.errors import UnsupportedNodeError
from prefect_freight.formats.zarr.chunks import GridPositions, chunk_stretches
from prefect_freight.formats.zarr.documents import TargetArray, plan_array
from prefect_freight.model import Format, Round
from prefect_freight.plan.sections import cut, inline_bytes
from prefect_freight.sources import ChunkRefs

Coords = tuple[int, ...]
GRIDS = st.lists(st.integers(1, 5), min_size=1, max_size=3).map(tuple)


def array_of(grid: Coords, dtype: str = "int32", fill: object = 0) -> TargetArray:
    document = {
        "zarr_format": 3,
        "node_type": "array",
        "shape": [2 * n for n in grid],
        "data_type": dtype,
        "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": [2] * len(grid)}},
        "chunk_key_encoding": {"name": "default", "configuration": {"separator": "/"}},
        "fill_value": fill,
        "codecs": [{"name": "bytes", "configuration": {"endian": "little"}}],
        "attributes": {},
    }
    return plan_array("a", document, Format.ZARR2)


def refs_of(coords: list[Coords], ndim: int, virtual: bool = False) -> ChunkRefs:
    inlined = {row: b"in" for row, coord in enumerate(coords) if sum(coord) % 2}
    return ChunkRefs(
        np.array(coords, np.uint32).reshape(-1, ndim),
        np.full(len(coords), virtual),
        pa.array([f"chunks/{coord}" for coord in coords], pa.string()),
        np.zeros(len(coords), np.int64),
        np.full(len(coords), 2, np.int64),
        inlined,
    )


def keys_of(target: TargetArray, coords: list[Coords], step: int) -> list[str]:
    ndim = len(target.grid)
    batches = [refs_of(coords[n : n + step], ndim) for n in range(0, len(coords), step)]
    stretches = chunk_stretches(target, batches)
    return [key for some in stretches for key in some.entries["key"].to_pylist()]


@settings(deadline=None)
@given(GRIDS, st.data(), st.integers(1, 9))
def test_each_chunk_of_the_grid_that_is_there_has_one_entry(
    grid: Coords, draw: st.DataObject, step: int
) -> None:
    outside = [(grid[0], *(0 for _ in grid[1:]))]  # a resize left it
    everywhere = list(product(*map(range, grid)))
    coords = sorted(draw.draw(st.sets(st.sampled_from(everywhere))))
    expected = ["a/" + ".".join(map(str, coord)) for coord in coords]
    assert keys_of(array_of(grid), [*coords, *outside], step) == expected


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 12), st.integers(0, 12)), unique=True), st.data())
def test_a_position_is_found_by_numbers_and_not_by_text(
    coords: list[Coords], draw: st.DataObject
) -> None:
    coords = sorted(coords)
    positions = GridPositions(np.array(coords, np.uint32).reshape(-1, 2))
    bound = draw.draw(st.tuples(st.integers(0, 12), st.integers(0, 12)))
    found = positions.find(".".join(map(str, bound)))
    assert coords[:found] == [coord for coord in coords if coord < bound]


@settings(deadline=None)
@given(st.sets(st.integers(0, 40)), st.sets(st.integers(1, 40)), st.integers(1, 5))
def test_chunks_stay_in_the_section_of_their_coordinates(
    numbers: set[int], starts: set[int], max_rows: int
) -> None:
    bounds = ["", *map(str, sorted(starts))]
    refs = refs_of([(n,) for n in sorted(numbers)], 1)
    for piece in cut(chunk_stretches(array_of((41,)), [refs]), bounds, max_rows):
        low = int(bounds[piece.bound] or 0)
        high = int([*bounds, "99"][piece.bound + 1])
        keys = [key for some in piece.stretches for key in some.entries["key"].to_pylist()]
        assert all(low <= int(key.removeprefix("a/")) < high for key in keys)


def test_inline_chunks_hold_their_bytes_and_others_their_place() -> None:
    (stretch,) = chunk_stretches(array_of((4,)), [refs_of([(0,), (1,)], 1)])
    rows = stretch.entries.to_pylist()
    assert stretch.round is Round.CHUNKS
    assert [row["kind"] for row in rows] == ["object", "inline"]
    assert [row["location"] for row in rows] == ["chunks/(0,)", None]
    assert [row["data"] for row in rows] == [None, b"in"]
    assert inline_bytes(stretch.entries) == 2
    assert rows[0]["content"] == "chunks/(0,):0:2"


def test_virtual_chunks_are_refused() -> None:
    with pytest.raises(UnsupportedNodeError, match="virtual chunks"):
        list(chunk_stretches(array_of((4,)), [refs_of([(0,)], 1, virtual=True)]))
