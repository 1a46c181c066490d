"""Entries of chunks: of those that a source refers to, and of those that must be filled. Pure."""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from prefect_freight.errors import UnsupportedNodeError
from prefect_freight.formats.zarr.documents import TargetArray
from prefect_freight.model import Kind
from prefect_freight.plan.entries import digest, make_entries, md5
from prefect_freight.sources import ChunkRefs

ROWS_PER_FILL = 50_000


def chunk_entries(target: TargetArray, refs: ChunkRefs) -> pa.RecordBatch:
    """Return the entries of the referenced chunks that lie in the array's grid.

    Raises `UnsupportedNodeError` for virtual chunks, whose bytes lie outside of the repository.
    """
    if refs.virtual.any():
        where = refs.locations[int(refs.virtual.argmax())]
        raise UnsupportedNodeError(
            f"array {target.path!r} has virtual chunks, whose bytes lie outside of the repository "
            f"(such as {where!r}); only chunks that the repository holds can be exported. "
            "Write them into the repository first"
        )
    inside = np.flatnonzero(target.in_grid(refs.coords))
    data = [refs.inlined.get(row) for row in inside.tolist()]
    locations = pa.array(refs.locations, pa.string()).take(pa.array(inside))
    inline = pa.array([blob is not None for blob in data], pa.bool_())
    digests = pa.array([None if blob is None else digest(blob) for blob in data], pa.string())
    offsets, sizes = refs.offsets[inside], refs.sizes[inside]
    return make_entries(
        target.chunk_keys(refs.coords[inside]),
        target.path,
        sizes,
        kind=pa.compute.if_else(inline, Kind.INLINE.value, Kind.OBJECT.value),
        location=pa.compute.if_else(inline, pa.scalar(None, pa.string()), locations),
        offset=pa.array(offsets, pa.int64()),
        content=pa.compute.if_else(inline, digests, _identities(locations, offsets, sizes)),
        checksum=pa.array([None if blob is None else md5(blob) for blob in data], pa.binary()),
        data=pa.array(data, pa.binary()),
    )


def fill_entries(
    target: TargetArray, fill: bytes, missing: npt.NDArray[np.int64]
) -> pa.RecordBatch:
    """Return entries that write the fill chunk out, for chunks given by their C-order numbers."""
    coords = np.stack(np.unravel_index(missing, target.grid or (1,)), axis=-1)
    keys = target.chunk_keys(coords[:, : len(target.grid)].astype(np.uint32))
    n, identity = len(missing), digest(fill)
    return make_entries(
        keys,
        target.path,
        np.full(n, len(fill), np.int64),
        kind=pa.repeat(Kind.FILL.value, n),
        location=pa.repeat(identity, n),
        offset=pa.repeat(pa.scalar(0, pa.int64()), n),
        content=pa.repeat(identity, n),
        checksum=pa.repeat(pa.scalar(md5(fill), pa.binary()), n),
        data=pa.nulls(n, pa.binary()),
    )


class GridCoverage:
    """Which chunks of a grid have been seen: one bit per chunk of the grid."""

    def __init__(self, grid: tuple[int, ...]) -> None:
        self._grid = grid
        self._count = int(np.prod(grid, dtype=np.int64))
        self._bits = np.zeros((self._count + 7) // 8, np.uint8)

    def add(self, coords: npt.NDArray[np.uint32]) -> None:
        """Mark chunks as seen; all must lie in the grid."""
        if not self._grid:
            self._bits[:] = 0x80 if len(coords) else self._bits
            return
        number = np.ravel_multi_index(tuple(coords.T.astype(np.int64)), self._grid)
        np.bitwise_or.at(self._bits, number >> 3, (0x80 >> (number & 7)).astype(np.uint8))

    def missing(self) -> Iterator[npt.NDArray[np.int64]]:
        """Yield the C-order numbers of the chunks that were not seen, in order."""
        step = ROWS_PER_FILL
        for first in range(0, self._count, step):
            stop = min(first + step, self._count)
            seen = np.unpackbits(self._bits[first // 8 : (stop + 7) // 8])[: stop - first]
            numbers = np.flatnonzero(seen == 0) + first
            if len(numbers):
                yield numbers


def _identities(
    locations: pa.Array, offsets: npt.NDArray[np.int64], sizes: npt.NDArray[np.int64]
) -> pa.Array:
    """Spell (location, offset, length): the repository's objects never change, so it is content."""
    strings = [pa.array(column, pa.int64()).cast(pa.string()) for column in (offsets, sizes)]
    return pa.compute.binary_join_element_wise(locations, *strings, ":")
