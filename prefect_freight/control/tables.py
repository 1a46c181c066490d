"""Parquet files of the control area."""

import hashlib
import io

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from prefect_freight.errors import NotFoundError, UnsoundError
from prefect_freight.model import ENTRY_SCHEMA, Action
from prefect_freight.retry import retrying
from prefect_freight.stores import Store

STORED = pa.schema(
    [
        *ENTRY_SCHEMA,
        pa.field("kept", pa.bool_(), nullable=False),
        pa.field("part", pa.int32(), nullable=False),
        pa.field("row", pa.int32(), nullable=False),
    ]
)
"""All columns that a file may have."""
ADDED_LATER = {"kept"}


def write_table(destination: Store, key: str, table: pa.Table) -> str:
    """Write rows as a Parquet file of the control area; return the digest of its bytes."""
    buffer = io.BytesIO()
    pq.write_table(table, buffer, compression="zstd")
    data = buffer.getvalue()
    retrying(lambda: destination.write(key, data))
    return _digest(data)


def read_table(
    destination: Store, key: str, columns: list[str], rows: int, expected: str
) -> pa.Table:
    """Return columns of a Parquet file of the control area, of so many rows.

    Raises `UnsoundError` if it is not there, or is not the file of the `expected` digest: whoever
    needs it cannot rely on what was recorded. Where the digest is unknown (empty), as of files of
    old versions, it must have the columns and the rows.
    """
    place = f"expected a Parquet file of an export's records at {destination.url}/{key}"
    try:
        data = retrying(lambda: destination.read(key))
    except NotFoundError as error:
        raise UnsoundError(f"{place}, found none") from error
    # Of its bytes and not of its rows: reading damaged Parquet may do anything.
    if expected and _digest(data) != expected:
        raise UnsoundError(f"{place}, found {len(data)} bytes that are not what was written there")
    try:
        with io.BytesIO(data) as file:
            table = pq.read_table(file, columns=columns)
    except (pa.ArrowException, OSError) as error:
        raise UnsoundError(f"{place}, found {len(data)} bytes that are none") from error
    if not expected and (wrong := _what_is_wrong(table, columns, rows)):
        raise UnsoundError(f"{place}, found one {wrong}")
    return table


def _digest(data: bytes) -> str:
    # SHA-256, since most processors have instructions for it: twice as fast as BLAKE2b there.
    return hashlib.sha256(data).hexdigest()


def _what_is_wrong(table: pa.Table, columns: list[str], rows: int) -> str:
    if table.num_rows != rows:
        return f"of {table.num_rows} rows instead of {rows}"
    for name in columns:
        field = STORED.field(name)
        if name not in table.column_names:
            if name not in ADDED_LATER:
                return f"without {name!r}"
        elif table.schema.field(name).type != field.type:
            return f"with {name!r} of type {table.schema.field(name).type}"
        elif not field.nullable and table[name].null_count:
            return f"with empty {name!r}"
    if "action" in columns and not pc.all(pc.is_in(table["action"], pa.array([*Action]))).as_py():
        return "with actions that are none"
    return ""
