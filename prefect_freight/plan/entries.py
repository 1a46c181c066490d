"""Rows of the manifest, made from chunk references and documents. Pure.

A chunk is a row and never a Python object of its own: all that is done per chunk is done in
columns.
"""

import hashlib
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from prefect_freight.model import ENTRY_SCHEMA, Action, Kind


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
    return make_entries(
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


def digest(data: bytes) -> str:
    """Return the content identity of bytes: BLAKE2b, 128 bits, in hexadecimal (RFC 7693)."""
    return hashlib.blake2b(data, digest_size=16).hexdigest()


def md5(data: bytes) -> bytes:
    """Return the MD5 digest (RFC 1321) of bytes: what S3 gives as entity tag of a plain object."""
    return hashlib.md5(data, usedforsecurity=False).digest()


def _inline(keys: pa.Array, path: str, data: list[bytes]) -> pa.RecordBatch:
    seen = {blob: digest(blob) for blob in set(data)}
    return make_entries(
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


def make_entries(
    keys: pa.Array, path: str, sizes: npt.NDArray[np.int64], **columns: pa.Array
) -> pa.RecordBatch:
    """Return puts of the given keys; `columns` are those of `ENTRY_SCHEMA` that differ by kind."""
    n = len(keys)
    columns = {
        "key": keys,
        "node": pa.repeat(path, n),
        "action": pa.repeat(Action.PUT.value, n),
        "size": pa.array(sizes, pa.int64()),
    } | columns
    return pa.record_batch([columns[name] for name in ENTRY_SCHEMA.names], ENTRY_SCHEMA)
