"""Entries of chunks: of those that a source refers to, and of those that must be filled. Pure."""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from prefect_freight.errors import UnsupportedNodeError
from prefect_freight.formats.zarr.documents import TargetArray
from prefect_freight.model import Kind, Round
from prefect_freight.plan.entries import digest, make_entries, md5
from prefect_freight.plan.sections import Stretch
from prefect_freight.sources import ChunkRefs

CHUNKS_PER_WINDOW = 50_000
"""Chunks of the grid that are looked at together for missing ones."""
MAX_SPELLED = 16
"""Bytes of inline data that are their own identity."""
MAX_GRID, MAX_AXIS = 2**62, 2**32
"""Numbers of chunks are computed in 64 bits, and an index along an axis has 32."""

Coords = npt.NDArray[np.uint32]


@dataclass(frozen=True, slots=True)
class GridPositions:
    """Positions of chunks: their grid coordinates, in lexicographic order."""

    coords: Coords
    """(n, ndim)"""

    def text(self, row: int) -> str:
        """Return the coordinates of a row, such as `3.0`."""
        return ".".join(map(str, self.coords[row].tolist()))

    def find(self, bound: str) -> int:
        """Return the number of rows before some coordinates.

        >>> GridPositions(np.array([[0, 9], [3, 0], [3, 1]], np.uint32)).find("3.1")
        2
        """
        before = np.zeros(len(self.coords), np.bool_)
        equal = np.ones(len(self.coords), np.bool_)
        for axis, value in enumerate(int(part) for part in bound.split(".")):
            before |= equal & (self.coords[:, axis] < value)
            equal &= self.coords[:, axis] == value
        return int(before.sum())

    def slice(self, first: int, stop: int) -> "GridPositions":
        """Return the coordinates of some rows."""
        return GridPositions(self.coords[first:stop])


def chunk_stretches(target: TargetArray, all_refs: Iterable[ChunkRefs]) -> Iterator[Stretch]:
    """Yield the entries of all chunks that the copy of an array has, in the order of the grid.

    References must come in lexicographic order of their coordinates. Raises `UnsupportedNodeError`
    for virtual chunks, whose bytes lie outside of the repository.
    """
    fill = target.fill_chunk
    referenced = (chunk_entries(target, refs) for refs in all_refs)
    for entries, coords in referenced if fill is None else _filled(target, fill, referenced):
        yield Stretch(Round.CHUNKS, entries, GridPositions(coords))


def chunk_entries(target: TargetArray, refs: ChunkRefs) -> tuple[pa.RecordBatch, Coords]:
    """Return the entries of the referenced chunks that lie in the array's grid, and where.

    Raises `UnsupportedNodeError` for virtual chunks.
    """
    if refs.virtual.any():
        where = refs.locations[int(refs.virtual.argmax())].as_py()
        raise UnsupportedNodeError(
            f"array {target.path!r} has virtual chunks, whose bytes lie outside of the repository "
            f"(such as {where!r}); only chunks that the repository holds can be exported. "
            "Write them into the repository first"
        )
    within = target.in_grid(refs.coords)
    rows = np.flatnonzero(within)
    coords = refs.coords[rows]
    offsets, sizes = pa.array(refs.offsets[rows]), pa.array(refs.sizes[rows])
    locations = refs.locations if within.all() else refs.locations.take(pa.array(rows))
    columns = {
        "kind": Kind.OBJECT.value,
        "location": locations,
        "content": _identities(locations, offsets, sizes)
        if refs.contents is None
        else refs.contents.take(pa.array(rows)),
    }
    if refs.inlined:
        columns |= _inlined([refs.inlined.get(row) for row in rows.tolist()], columns)
    keys = target.chunk_keys(coords)
    return make_entries(keys, target.path, offset=offsets, size=sizes, **columns), coords


def fill_entries(target: TargetArray, fill: bytes, coords: Coords) -> pa.RecordBatch:
    """Return entries that write the fill chunk out at some coordinates (n, ndim)."""
    identity = digest(fill)
    return make_entries(
        target.chunk_keys(coords),
        target.path,
        kind=Kind.FILL.value,
        size=len(fill),
        location=identity,
        content=identity,
        checksum=md5(fill),
    )


def _filled(
    target: TargetArray, fill: bytes, stretches: Iterable[tuple[pa.RecordBatch, Coords]]
) -> Iterator[tuple[pa.RecordBatch, Coords]]:
    """Yield the entries, and between them those of all chunks of the grid that are missing."""
    grid = target.grid
    if math.prod(grid) > MAX_GRID or max(grid, default=0) > MAX_AXIS:
        raise UnsupportedNodeError(
            f"array {target.path!r} has a grid of {grid} chunks, too many to be numbered, and "
            "those that are missing would have to be written out. Export with --format zarr3"
        )
    done = 0
    for entries, coords in stretches:
        if not len(coords):
            continue
        numbers = _numbers(coords, grid)
        stop = int(numbers[-1]) + 1
        for first, last in _windows(done, stop):
            rows = slice(*np.searchsorted(numbers, (first, last)))
            here = entries.slice(rows.start, rows.stop - rows.start)
            yield _merged(target, fill, here, numbers[rows], range(first, last))
        done = stop
    nothing = make_entries(pa.array([], pa.string()), "", size=0, content="")
    for first, last in _windows(done, math.prod(grid)):
        none = np.empty(0, np.int64)
        yield _merged(target, fill, nothing, none, range(first, last))


def _merged(
    target: TargetArray,
    fill: bytes,
    entries: pa.RecordBatch,
    numbers: npt.NDArray[np.int64],
    window: range,
) -> tuple[pa.RecordBatch, Coords]:
    """Return the entries of a window of the grid, which have the given numbers, and its fills."""
    wanted = np.arange(window.start, window.stop, dtype=np.int64)
    ndim = len(target.grid)
    axes = np.unravel_index(wanted, target.grid or (1,))
    coords = np.stack(axes, axis=-1)[:, :ndim].astype(np.uint32)
    missing = np.ones(len(wanted), np.bool_)
    missing[numbers - window.start] = False
    if not missing.any():
        return entries, coords
    fills = fill_entries(target, fill, coords[missing])
    order = np.argsort(np.concatenate([numbers, wanted[missing]]), kind="stable")
    both = pa.Table.from_batches([entries, fills]).take(pa.array(order)).combine_chunks()
    return both.to_batches()[0], coords


def _numbers(coords: Coords, grid: tuple[int, ...]) -> npt.NDArray[np.int64]:
    """Return the C-order numbers of chunks."""
    if not grid:
        return np.zeros(len(coords), np.int64)
    return np.asarray(np.ravel_multi_index(tuple(coords.T.astype(np.int64)), grid), np.int64)


def _windows(first: int, stop: int) -> Iterator[tuple[int, int]]:
    for start in range(first, stop, CHUNKS_PER_WINDOW):
        yield start, min(start + CHUNKS_PER_WINDOW, stop)


def _inlined(data: list[bytes | None], columns: dict[str, pa.Array]) -> dict[str, pa.Array]:
    inline = pa.array([blob is not None for blob in data], pa.bool_())
    # The MD5 of so many is left to those that move.
    digests = pa.array([None if blob is None else _identity(blob) for blob in data], pa.string())
    return {
        "kind": pc.if_else(inline, Kind.INLINE.value, Kind.OBJECT.value),
        "location": pc.if_else(inline, pa.scalar(None, pa.string()), columns["location"]),
        "content": pc.if_else(inline, digests, columns["content"]),
        "data": pa.array(data, pa.binary()),
    }


def _identity(data: bytes) -> str:
    """Return what tells inline data from any other: short ones their bytes, which is quicker."""
    return f"={data.hex()}" if len(data) <= MAX_SPELLED else digest(data)


def _identities(locations: pa.Array, offsets: pa.Array, sizes: pa.Array) -> pa.Array:
    """Spell (location, offset, length): the repository's objects never change, so it is content."""
    numbers = [column.cast(pa.string()) for column in (offsets, sizes)]
    return pc.binary_join_element_wise(locations, *numbers, ":")
