"""Rows of the manifest, made from chunk references and documents. Pure.

A chunk is a row and never a Python object of its own: all that is done per chunk is done in
columns.
"""

import hashlib
from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from prefect_freight.errors import UnsupportedNodeError
from prefect_freight.model import ENTRY_SCHEMA, Action, Kind
from prefect_freight.plan.layout import TargetArray
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
    return _batch(
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
    return _batch(
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


def document_entries(path: str, documents: Sequence[tuple[str, bytes]]) -> pa.RecordBatch:
    """Return the entries of metadata documents."""
    keys = pa.array([key for key, _ in documents], pa.string())
    return _inline(keys, path, [data for _, data in documents])


def without_data(entries: pa.RecordBatch) -> pa.RecordBatch:
    """Return the entries without their inline bytes: for what lies there already."""
    nulls = pa.nulls(entries.num_rows, pa.binary())
    return entries.set_column(entries.schema.get_field_index("data"), "data", nulls)


def delete_entries(path: str, keys: pa.Array) -> pa.RecordBatch:
    """Return the entries that delete keys of an array or group."""
    n = len(keys)
    return _batch(
        keys,
        path,
        np.zeros(n, np.int64),
        action=pa.repeat(Action.DELETE.value, n),
        kind=pa.repeat(Kind.INLINE.value, n),
        location=pa.nulls(n, pa.string()),
        offset=pa.repeat(pa.scalar(0, pa.int64()), n),
        content=pa.repeat("", n),
        checksum=pa.nulls(n, pa.binary()),
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


def digest(data: bytes) -> str:
    """Return the content identity of bytes: BLAKE2b, 128 bits, in hexadecimal (RFC 7693)."""
    return hashlib.blake2b(data, digest_size=16).hexdigest()


def md5(data: bytes) -> bytes:
    """Return the MD5 digest (RFC 1321) of bytes: what S3 gives as entity tag of a plain object."""
    return hashlib.md5(data, usedforsecurity=False).digest()


def _identities(
    locations: pa.Array, offsets: npt.NDArray[np.int64], sizes: npt.NDArray[np.int64]
) -> pa.Array:
    """Spell (location, offset, length): the repository's objects never change, so it is content."""
    strings = [pa.array(column, pa.int64()).cast(pa.string()) for column in (offsets, sizes)]
    return pa.compute.binary_join_element_wise(locations, *strings, ":")


def _inline(keys: pa.Array, path: str, data: list[bytes]) -> pa.RecordBatch:
    seen = {blob: digest(blob) for blob in set(data)}
    return _batch(
        keys,
        path,
        np.array([len(blob) for blob in data], np.int64),
        kind=pa.repeat(Kind.INLINE.value, len(data)),
        location=pa.nulls(len(data), pa.string()),
        offset=pa.repeat(pa.scalar(0, pa.int64()), len(data)),
        content=pa.array([seen[blob] for blob in data], pa.string()),
        checksum=pa.array([md5(blob) for blob in data], pa.binary()),
        data=pa.array(data, pa.binary()),
    )


def _batch(
    keys: pa.Array, path: str, sizes: npt.NDArray[np.int64], **columns: pa.Array
) -> pa.RecordBatch:
    n = len(keys)
    columns = {
        "key": keys,
        "node": pa.repeat(path, n),
        "action": pa.repeat(Action.PUT.value, n),
        "size": pa.array(sizes, pa.int64()),
    } | columns
    return pa.record_batch([columns[name] for name in ENTRY_SCHEMA.names], ENTRY_SCHEMA)
