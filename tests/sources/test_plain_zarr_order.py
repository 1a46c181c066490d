"""Chunks of a listing in the order of the grid, however many there are, and in bounded memory."""

from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pytest

from prefect_freight.hierarchy.chunk_keys import ChunkKeys
from prefect_freight.sources import OBJECT_SCHEMA
from prefect_freight.sources.plain_zarr.chunk_rows import (
    ROWS_AT_ONCE,
    look_for_chunks,
    read_references,
)
from prefect_freight.sources.plain_zarr.listed import Listing


def listing_of(keys: list[str], rows: int = 40_000) -> Listing:
    """Return a listing of these keys, in pages, among those of neighbours."""
    everything = sorted([*keys, "a-b/0", "a.zarr", "a0/0.0", "A/1"])

    def pages() -> Iterator[pa.RecordBatch]:
        for first in range(0, len(everything), rows):
            some = everything[first : first + rows]
            contents = [f"of {key}" for key in some]
            sizes, nothing = [len(key) for key in some], [None] * len(some)
            yield pa.record_batch([some, sizes, contents, some, nothing], OBJECT_SCHEMA)

    return Listing(pages())


@pytest.mark.usually("/-default")
@pytest.mark.parametrize("style", ["default", "v2"])
@pytest.mark.parametrize("separator", [".", "/"])
def test_a_large_array_comes_in_order_each_chunk_once(style: str, separator: str) -> None:
    grid, path = (1_200, 300), "a"
    keys = ChunkKeys(path, style, separator)  # type: ignore[arg-type]
    numbers = np.arange(grid[0] * grid[1])
    stored = numbers[numbers % 7 != 3]
    coords = np.stack(np.unravel_index(stored, grid), axis=-1).astype(np.uint32)
    assert len(stored) > ROWS_AT_ONCE
    beyond = keys.spell(np.array([[1_200, 0], [0, 300]], np.uint32)).to_pylist()
    listing = listing_of([*keys.spell(coords).to_pylist(), *beyond, "a/zarr.json", "a/01"])
    chunks = look_for_chunks(listing, keys, grid, path)
    assert (chunks.count, chunks.strays) == (len(stored), 3)
    assert set(chunks.named) == {*beyond, "a/01"}
    refs = list(read_references(listing, chunks))
    np.testing.assert_array_equal(np.concatenate([some.coords for some in refs]), coords)
    assert max(len(some.sizes) for some in refs) <= ROWS_AT_ONCE // 2
    for some in refs[:1] + refs[-1:]:
        assert some.locations.to_pylist() == keys.spell(some.coords).to_pylist()
        assert some.contents.to_pylist() == [f"of {key}" for key in some.locations.to_pylist()]


def test_scalars_and_grids_too_large_to_be_numbered_come_too() -> None:
    listing = listing_of(["s/c", "w/c/4294967294/0/7", "w/c/5/0/7", "w/c/4294967296/0/7"])
    scalar = look_for_chunks(listing, ChunkKeys("s", "default", "/"), (), "s")
    (refs,) = read_references(listing, scalar)
    assert (refs.coords.shape, refs.locations.to_pylist()) == ((1, 0), ["s/c"])
    wide = look_for_chunks(listing, ChunkKeys("w", "default", "/"), (2**40,) * 3, "w")
    (refs,) = read_references(listing, wide)
    assert refs.coords.tolist() == [[5, 0, 7], [2**32 - 2, 0, 7]]
    assert wide.named == ("w/c/4294967296/0/7",)


def test_what_lies_beside_is_not_taken_for_what_lies_below() -> None:
    listing = listing_of(["a/0", "a/zarr.json"], rows=2)
    assert [page["key"].to_pylist() for page in listing.below("a/")] == [["a/0"], ["a/zarr.json"]]
    assert listing.find("a/0") == (3, "of a/0", "a/0")
    assert listing.find("a/1") is None
    assert listing.documents == {"a/zarr.json": 11}
