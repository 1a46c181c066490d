"""Pages of lakeFS's lists as columns."""

import json
from collections.abc import Sequence
from typing import Any

import pyarrow as pa

OBJECTS = pa.schema(
    [
        pa.field("key", pa.string(), nullable=False),
        pa.field("size", pa.int64(), nullable=False),  # bytes
        pa.field("checksum", pa.string(), nullable=False),  # an MD5, or any other token
        pa.field("content_type", pa.string(), nullable=False),  # "" is unknown
        pa.field("metadata", pa.string(), nullable=False),  # the user's, as JSON; "" is none
        pa.field("address", pa.string(), nullable=False),  # of the bytes, in the bucket below
    ]
)
"""Columns of a page of a commit's objects."""

CHANGES = pa.schema(
    [
        pa.field("key", pa.string(), nullable=False),
        pa.field("kind", pa.string(), nullable=False),  # added, changed or removed
        pa.field("size", pa.int64(), nullable=False),  # bytes; of what was removed, before
        # The same as of an object; null where the server is too old to tell, and of `removed`.
        pa.field("checksum", pa.string()),
        pa.field("content_type", pa.string()),
        pa.field("metadata", pa.string()),
    ]
)
"""Columns of a page of differences."""


def to_objects(results: Sequence[dict[str, Any]]) -> pa.RecordBatch:
    """Return a page of objects in columns; raises `LookupError` for what is none."""
    columns = (
        [one["path"] for one in results],
        [one.get("size_bytes", 0) for one in results],
        [one["checksum"] for one in results],
        [one.get("content_type", "") for one in results],
        [to_text(one.get("metadata")) for one in results],
        [one["physical_address"] for one in results],
    )
    return _batch(columns, OBJECTS)


def to_changes(results: Sequence[dict[str, Any]]) -> pa.RecordBatch:
    """Return a page of differences in columns; raises `LookupError` for what is none."""
    now = [(one.get("right") or {}) if one["type"] != "removed" else {} for one in results]
    columns = (
        [one["path"] for one in results],
        [one["type"] for one in results],
        [one.get("size_bytes", 0) for one in results],
        [right.get("checksum") for right in now],
        [right.get("content_type", "") if right else None for right in now],
        [to_text(right.get("metadata")) if right else None for right in now],
    )
    return _batch(columns, CHANGES)


def to_text(metadata: dict[str, str] | None) -> str:
    """Return a user's metadata in one spelling, so that equal ones are equal texts.

    >>> to_text({"owner": "lab", "colour": "red"})
    '{"colour":"red","owner":"lab"}'
    """
    if not metadata:
        return ""
    return json.dumps(metadata, ensure_ascii=False, sort_keys=True, separators=(",", ":"))


def _batch(columns: Sequence[list[Any]], schema: pa.Schema) -> pa.RecordBatch:
    arrays = [pa.array(c, field.type) for c, field in zip(columns, schema, strict=True)]
    return pa.record_batch(arrays, schema)
