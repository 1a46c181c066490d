"""Chunks of an array among the objects below it, in the order of its grid.

Keys come in the order of texts, where `10` stands before `9`. So the rows of a large array are
spread over files of the local disk by their number in the grid, about `ROWS_AT_ONCE` each, and each
file is sorted alone: memory holds one of them, however many chunks the array has.
"""

import math
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from prefect_freight.hierarchy.chunk_keys import ChunkKeys, Coords
from prefect_freight.plan.sections import ContentDigest
from prefect_freight.sources import OBJECT_SCHEMA, ChunkRefs
from prefect_freight.sources.plain_zarr.listed import Listing

ROWS_AT_ONCE = 250_000
ROWS_PER_BATCH = 50_000
SAMPLES = 65_536
"""Numbers that tell where to divide the rows, so that all files get about as many."""
STRAYS_NAMED = 5
MAX_GRID = 2**62
"""A grid of more chunks cannot be numbered, and is sorted in memory."""

Rows = tuple[pa.RecordBatch, Coords]
"""Objects (`OBJECT_SCHEMA`) that are chunks, and their coordinates."""


@dataclass(frozen=True, slots=True)
class ArrayChunks:
    """What a listing has of one array."""

    keys: ChunkKeys
    grid: tuple[int, ...]
    count: int
    """Objects that are chunks of the grid."""
    content: str
    """Digest of all objects below the array but its documents."""
    strays: int
    """Objects below the array that are neither documents nor chunks of the grid;"""
    named: tuple[str, ...]
    """the first of them."""


def look_for_chunks(
    listing: Listing, keys: ChunkKeys | None, grid: tuple[int, ...], path: str
) -> ArrayChunks:
    """Return what the listing has of an array; without `keys` all below it is stray."""
    digest, strays, named = ContentDigest(), 0, list[str]()
    keys = keys or ChunkKeys(path, "v2", ".")
    for page in listing.without_documents(keys.folder):
        digest.add(page)
        is_chunk, _ = _parse(page, keys, grid)
        if not is_chunk.all():
            others = page["key"].filter(pa.array(~is_chunk))
            strays += len(others)
            named += others.slice(0, STRAYS_NAMED - len(named)).to_pylist()
    return ArrayChunks(keys, grid, digest.rows - strays, digest.text(), strays, tuple(named))


def read_references(listing: Listing, chunks: ArrayChunks) -> Iterator[ChunkRefs]:
    """Yield references to the chunks of an array, in the order of the grid."""
    if chunks.count <= ROWS_AT_ONCE or math.prod(chunks.grid) > MAX_GRID:
        yield from _sorted(list(_rows(listing, chunks)))
        return
    bounds = _bounds(listing, chunks)
    with tempfile.TemporaryDirectory(prefix="freight-") as folder:
        files = [f"{folder}/{number}.arrow" for number in range(len(bounds) + 1)]
        _spread(listing, chunks, bounds, files)
        for file in files:
            with pa.memory_map(file) as mapped, pa.ipc.open_file(mapped) as reader:
                pages = [reader.get_batch(n) for n in range(reader.num_record_batches)]
                # Its keys tell the coordinates again, which so need not be written down.
                yield from _sorted([(p, _parse(p, chunks.keys, chunks.grid)[1]) for p in pages])


def _rows(listing: Listing, chunks: ArrayChunks) -> Iterator[Rows]:
    for page in listing.without_documents(chunks.keys.folder):
        is_chunk, coords = _parse(page, chunks.keys, chunks.grid)
        if len(coords):
            yield page.filter(pa.array(is_chunk)), coords


def _parse(
    page: pa.RecordBatch, keys: ChunkKeys, grid: tuple[int, ...]
) -> tuple[npt.NDArray[np.bool_], Coords]:
    """Return which rows are chunks of the grid, and the coordinates of those."""
    texts = page["key"]
    if keys.folder:
        texts = pc.utf8_slice_codeunits(texts, len(keys.folder))
    spelled, coords = keys.read(texts, len(grid))
    inside = (coords < np.array([min(n, 2**32) for n in grid], np.uint64)).all(axis=1)
    is_chunk = spelled.copy()
    is_chunk[np.flatnonzero(spelled)[~inside]] = False
    return is_chunk, coords[inside]


def _bounds(listing: Listing, chunks: ArrayChunks) -> npt.NDArray[np.int64]:
    """Return numbers in the grid that divide the chunks into about equal parts."""
    step = max(1, chunks.count // SAMPLES)
    sampled = []
    for page in listing.without_documents(chunks.keys.folder):
        some = page.take(pa.array(np.arange(0, page.num_rows, step)))
        sampled.append(_numbers(_parse(some, chunks.keys, chunks.grid)[1], chunks.grid))
    samples = np.sort(np.concatenate(sampled))
    parts = -(-chunks.count // ROWS_AT_ONCE)
    return np.unique(samples[np.arange(1, parts) * len(samples) // parts])


def _spread(
    listing: Listing, chunks: ArrayChunks, bounds: npt.NDArray[np.int64], files: list[str]
) -> None:
    writers = [pa.ipc.new_file(file, OBJECT_SCHEMA) for file in files]
    try:
        for page, coords in _rows(listing, chunks):
            part = np.searchsorted(bounds, _numbers(coords, chunks.grid), side="right")
            for number in np.unique(part).tolist():
                writers[number].write_batch(page.filter(pa.array(part == number)))
    finally:
        for writer in writers:
            writer.close()


def _sorted(rows: list[Rows]) -> Iterator[ChunkRefs]:
    if not rows:
        return
    coords = np.concatenate([some for _, some in rows])
    table = pa.Table.from_batches([page for page, _ in rows]).combine_chunks()
    order = np.lexsort(coords.T[::-1]) if coords.shape[1] else np.arange(len(coords))
    for first in range(0, len(order), ROWS_PER_BATCH):
        chosen = order[first : first + ROWS_PER_BATCH]
        page = table.take(pa.array(chosen)).combine_chunks().to_batches()[0]
        yield ChunkRefs(
            coords[chosen],
            np.zeros(len(chosen), np.bool_),
            page["location"],
            np.zeros(len(chosen), np.int64),
            page["size"].to_numpy(),
            {},
            page["content"],
        )


def _numbers(coords: Coords, grid: tuple[int, ...]) -> npt.NDArray[np.int64]:
    """Return the numbers of chunks in C order."""
    return np.asarray(np.ravel_multi_index(tuple(coords.T.astype(np.int64)), grid), np.int64)
