"""Chunk references in the order of the grid, however the manifest of an array is split."""

from itertools import product
from pathlib import Path

import icechunk
import numpy as np
import pyarrow as pa
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st
from runners import export_at_once

from prefect_freight.errors import InternalError
from prefect_freight.sources import ChunkRefs
from prefect_freight.sources.icechunk.grid_order import Extent, in_grid_order
from prefect_freight.sources.icechunk.source import IcechunkSource
from prefect_freight.verifying import verify

Coords = tuple[int, ...]
COLUMNS = ("virtual", "locations", "offsets", "sizes", "inlined")


def refs_of(coords: list[Coords], ndim: int) -> ChunkRefs:
    """Return references of which every third is inline, and each tells its coordinates."""
    inlined = {row: repr(coord).encode() for row, coord in enumerate(coords) if sum(coord) % 3 == 0}
    return ChunkRefs(
        np.array(coords, np.uint32).reshape(-1, ndim),
        np.zeros(len(coords), np.bool_),
        pa.array(["" if n in inlined else repr(coord) for n, coord in enumerate(coords)]),
        np.array([sum(coord) for coord in coords], np.int64),
        np.array([max(coord) for coord in coords], np.int64),
        inlined,
    )


def told_by(refs: ChunkRefs) -> list[Coords]:
    """Return the coordinates; all columns must be of the same chunk."""
    coords = [tuple(coord) for coord in refs.coords.tolist()]
    names = [
        refs.inlined.get(n, b"").decode() or refs.locations[n].as_py() for n in range(len(coords))
    ]
    assert names == [repr(coord) for coord in coords]
    assert refs.offsets.tolist() == [sum(coord) for coord in coords]
    assert refs.sizes.tolist() == [max(coord) for coord in coords]
    return coords


@st.composite
def manifests(draw: st.DrawFn) -> tuple[int, list[list[Coords]]]:
    """Return the files of a manifest, boxes of the grid, in their order."""
    ndim = draw(st.integers(1, 3))
    splits = [draw(st.integers(2, 3)) for _ in range(ndim)]
    there = draw(st.sets(st.tuples(*[st.integers(0, 4)] * ndim), min_size=1, max_size=40))
    files: dict[Coords, list[Coords]] = {}
    for coord in sorted(there):
        box = tuple(n // split for n, split in zip(coord, splits, strict=True))
        files.setdefault(box, []).append(coord)
    return ndim, [files[box] for box in sorted(files)]


def extent_of(coords: list[Coords]) -> Extent:
    """Return where the chunks of a file lie: as Icechunk says it, no more than that."""
    return [(min(axis), max(axis) + 1) for axis in zip(*coords, strict=True)]


@settings(deadline=None, max_examples=100)
@given(manifests(), st.integers(1, 20))
def test_all_references_come_once_in_the_grid_s_order(
    manifest: tuple[int, list[list[Coords]]], step: int
) -> None:
    ndim, files = manifest
    rows = [coord for file in files for coord in file]
    batches = [refs_of(rows[n : n + step], ndim) for n in range(0, len(rows), step)]
    ordered = in_grid_order(batches, [extent_of(file) for file in files])
    assert [coord for refs in ordered for coord in told_by(refs)] == sorted(rows)


def test_a_file_that_begins_behind_the_next_one_s_first_chunk_is_sorted_with_it() -> None:
    files = [[(0, 0), (1, 0)], [(0, 4), (3, 4)], [(2, 8)], [(4, 0)]]
    batches = [refs_of(file, 2) for file in files]
    ordered = [told_by(refs) for refs in in_grid_order(batches, [extent_of(f) for f in files])]
    assert ordered == [[(0, 0), (0, 4), (1, 0), (2, 8), (3, 4)], [(4, 0)]]


def test_what_is_split_along_the_first_axis_alone_is_not_gathered() -> None:
    files = [[(0, 0), (1, 3)], [(2, 1), (3, 1)]]
    batches = iter([refs_of([coord], 2) for file in files for coord in file])
    ordered = in_grid_order(batches, [extent_of(file) for file in files])
    assert told_by(next(ordered)) == [(0, 0)]
    assert told_by(next(batches)) == [(1, 3)]  # it was not read ahead


def test_an_order_that_is_not_the_files_is_found() -> None:
    extents = [extent_of([(0, 0)]), extent_of([(1, 0)])]
    batches = [refs_of([(1, 0)], 2), refs_of([(0, 0)], 2)]
    with pytest.raises(InternalError, match="not in the grid's order"):
        list(in_grid_order(batches, extents))


def test_a_scalar_s_only_chunk_has_no_coordinates() -> None:
    scalar = ChunkRefs(
        np.empty((1, 0), np.uint32), *(getattr(refs_of([(1,)], 1), c) for c in COLUMNS)
    )
    assert list(in_grid_order([scalar], [[]])) == [scalar]


def splitting(rows: int, columns: int) -> icechunk.RepositoryConfig:
    sizes = {
        icechunk.ManifestSplitCondition.AnyArray(): {
            icechunk.ManifestSplitDimCondition.Axis(0): rows,
            icechunk.ManifestSplitDimCondition.Axis(1): columns,
        }
    }
    split = icechunk.ManifestSplittingConfig.from_dict(sizes)
    manifest = icechunk.ManifestConfig(splitting=split)
    return icechunk.RepositoryConfig(inline_chunk_threshold_bytes=5, manifest=manifest)


CELLS = st.lists(st.tuples(st.integers(0, 8), st.integers(0, 8)), min_size=1, max_size=30)
SPLITS = st.tuples(st.integers(1, 4), st.integers(1, 4))


@settings(max_examples=12, deadline=None)
@given(st.lists(st.tuples(SPLITS, CELLS), min_size=1, max_size=3))
def test_a_repository_that_is_split_along_both_axes_comes_in_order(
    tmp_path_factory: pytest.TempPathFactory,
    nights: list[tuple[tuple[int, int], list[tuple[int, int]]]],
) -> None:
    path = tmp_path_factory.mktemp("split") / "repository"
    storage = icechunk.local_filesystem_storage(str(path))
    wanted = set()
    for split, cells in nights:
        repository = icechunk.Repository.open_or_create(storage, config=splitting(*split))
        session = repository.writable_session("main")
        root = zarr.open_group(session.store, mode="a", zarr_format=3)
        array = root.require_array("a", shape=(9, 9), chunks=(1, 1), dtype="i4", fill_value=0)
        for row, column in cells:
            array[row, column] = 1
        wanted |= {*cells}
        session.commit("write")
    source = IcechunkSource(str(path))
    refs = source.read_chunks(source.resolve("main"), "a")
    assert [tuple(c) for some in refs for c in some.coords.tolist()] == sorted(wanted)


@pytest.mark.parametrize("fill", [True, False])
def test_such_a_repository_exports_right(tmp_path: Path, fill: bool) -> None:
    storage = icechunk.local_filesystem_storage(str(tmp_path / "repository"))
    repository = icechunk.Repository.create(storage, config=splitting(4, 3))
    session = repository.writable_session("main")
    root = zarr.group(session.store, zarr_format=3)
    array = root.create_array(
        "a", shape=(18, 18), chunks=(2, 2), dtype="i4", fill_value=7 if fill else 0
    )
    for number, (row, column) in enumerate(product(range(9), range(9))):
        if number % 4 in (1, 2):  # some are missing at the edges of the files
            array[row * 2, column * 2] = number
    session.commit("write")
    export_at_once(tmp_path / "repository", tmp_path / "copy", section_rows=5)
    copy = zarr.open_array(tmp_path / "copy" / "a", mode="r")
    assert np.array_equal(copy[...], array[...])
    assert verify(tmp_path / "copy", values=True).whole
