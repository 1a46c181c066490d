"""Damage to records: JSON of another shape at any depth, Parquet files that are others."""

import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from hypothesis import strategies as st

OTHERS: list[Any] = [None, True, -1, 0, 3, 2.5, 2**70, "", "x", "../x", [], [[]], {}, {"x": []}]
"""Of another shape in most places."""
WHOLE = [b"", b"\0", b"[]", b"{}", b"7", b"NaN", b'"x"', b"\xff{", b"[" * 100_000, b"{" * 9]
GONE = object()


def nodes(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the paths of all values in a value of JSON, its own first."""
    yield path
    if isinstance(value, dict | list):
        for key, item in value.items() if isinstance(value, dict) else enumerate(value):
            yield from nodes(item, (*path, key))


def replaced(value: Any, path: tuple[Any, ...], other: Any) -> Any:
    """Return a value of JSON with another one at a path, or without it."""
    if not path:
        return None if other is GONE else other
    key, *rest = path
    items = dict(value.items() if isinstance(value, dict) else enumerate(value))
    if other is GONE and not rest:
        del items[key]
    else:
        items[key] = replaced(items[key], tuple(rest), other)
    return items if isinstance(value, dict) else list(items.values())


def other_table(data: bytes, kind: str) -> bytes:
    """Return a Parquet file like this one with something else about it."""
    table = pq.read_table(io.BytesIO(data))
    name = table.column_names[0]
    match kind:
        case "empty":
            table = table.slice(0, 0)
        case "columns":
            table = table.rename_columns([f"{column}-" for column in table.column_names])
        case "one column":
            table = table.drop_columns([name])
        case "types":
            numbers = pa.array(range(table.num_rows))
            table = pa.table(dict.fromkeys(table.column_names, numbers))
        case "rows":
            table = pa.concat_tables([table, table])
        case "order":
            table = table.take(pa.array(range(table.num_rows))[::-1])
    sink = io.BytesIO()
    pq.write_table(table, sink)
    return sink.getvalue()


TABLES = ["empty", "columns", "one column", "types", "rows", "order"]


def damage(draw: st.DataObject, path: Path) -> str:
    """Damage a record, and say how."""
    data = path.read_bytes()
    kinds = {".json": ["value", "value", "value", "whole"], ".parquet": ["table", "table", "bytes"]}
    kind = draw.draw(st.sampled_from(kinds.get(path.suffix, ["bytes"])))
    match kind:
        case "value":
            value = json.loads(data)
            place = draw.draw(st.sampled_from(list(nodes(value))))
            other = draw.draw(st.sampled_from([GONE, *OTHERS]))
            path.write_bytes(json.dumps(replaced(value, place, other)).encode())
            return f"{path.name} at {place}: {other}"
        case "whole":
            other = draw.draw(st.sampled_from(WHOLE))
            path.write_bytes(other)
            return f"{path.name}: {other[:9]!r}"
        case "table":
            other = draw.draw(st.sampled_from(TABLES))
            path.write_bytes(other_table(data, other))
            return f"{path.name}: other {other}"
    cut = draw.draw(st.integers(0, len(data)))
    path.write_bytes(data[:cut] + bytes(255 - byte for byte in data[cut : cut + 1]))
    return f"{path.name} after {cut} bytes"


def unseal(copy: Path) -> None:
    """Take from all records what versions 1 and 2 did not write."""
    for path in copy.glob(".freight/**/*.json"):
        record = json.loads(path.read_bytes())
        if record.pop("seal", None):
            record["format_version"] = 2 if path.name == "manifest.json" else 1
        for part in record.get("parts", ()):
            del part["digest"]
        path.write_text(json.dumps(record))
    for path in copy.glob(".freight/**/*.md5"):
        path.write_bytes(path.read_bytes()[:-16])
