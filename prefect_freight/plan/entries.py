"""Rows of the manifest, one an object: all that is done per object is done in columns. Pure."""

import hashlib
from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from prefect_freight.model import ENTRY_SCHEMA, Action, Kind


def make_entries(keys: pa.Array, node: str | pa.Array, **columns: pa.Array) -> pa.RecordBatch:
    """Return entries of the given keys; columns that are not given have what most kinds have.

    That is: a put of an inline object without location, from its first byte, of unknown checksum.
    """
    n = len(keys)
    usual = {
        "key": keys,
        "action": Action.PUT.value,
        "kind": Kind.INLINE.value,
        "node": node,
        "offset": 0,
    } | columns
    values = [_column(usual.get(field.name), field, n) for field in ENTRY_SCHEMA]
    return pa.record_batch(values, ENTRY_SCHEMA)


def inline_entries(
    keys: Sequence[str], nodes: Sequence[str], data: Sequence[bytes]
) -> pa.RecordBatch:
    """Return entries of objects whose bytes the manifest itself holds."""
    # By distinct bytes: many groups have the same document, many small chunks the same zeros.
    digests = {blob: (digest(blob), md5(blob)) for blob in set(data)}
    return make_entries(
        pa.array(keys, pa.string()),
        pa.array(nodes, pa.string()),
        size=pa.array([len(blob) for blob in data], pa.int64()),
        content=pa.array([digests[blob][0] for blob in data], pa.string()),
        checksum=pa.array([digests[blob][1] for blob in data], pa.binary()),
        data=pa.array(data, pa.binary()),
    )


def delete_entries(keys: pa.Array, nodes: pa.Array) -> pa.RecordBatch:
    """Return the entries that delete keys, of the nodes that they belonged to."""
    return make_entries(keys, nodes, action=Action.DELETE.value, size=0, content="")


def digest(data: bytes) -> str:
    """Return the content identity of bytes: BLAKE2b, 128 bits, in hexadecimal (RFC 7693)."""
    return hashlib.blake2b(data, digest_size=16).hexdigest()


def md5(data: bytes) -> bytes:
    """Return the MD5 digest (RFC 1321) of bytes: what S3 gives as entity tag of a plain object."""
    return hashlib.md5(data, usedforsecurity=False).digest()


def combined(column: pa.Array | pa.ChunkedArray) -> pa.Array:
    """Return a column as one array."""
    if not isinstance(column, pa.ChunkedArray):
        return column
    return column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()


def no_rows(count: int) -> pa.BooleanArray:
    """Return a column that says of no row that it is meant.

    >>> no_rows(2).to_pylist()
    [False, False]
    """
    return pa.array(np.zeros(count, np.bool_))


def _column(values: object, field: pa.Field, count: int) -> pa.Array:
    if isinstance(values, pa.ChunkedArray):
        return values.combine_chunks()
    if isinstance(values, pa.Array):
        return values
    return pa.repeat(pa.scalar(values, field.type), count)
