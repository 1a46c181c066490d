"""Listings in columns."""

import itertools
from collections.abc import Iterable, Iterator

import pyarrow as pa

from prefect_freight.stores import LISTING_SCHEMA, Store

ROWS_PER_PAGE = 5_000

Row = tuple[str, int, str | None]
"""Key, size in bytes, entity tag."""


def list_keys(store: Store, prefix: str) -> Iterator[str]:
    """Yield the keys of all objects below a prefix: for records, which are few."""
    for page in store.list(prefix):
        yield from page["key"].to_pylist()


def what_lies_there(store: Store) -> str:
    """Say what a place holds that is not what was looked for there."""
    keys: list[str] = next((page["key"].to_pylist() for page in store.list() if page.num_rows), [])
    if not keys:
        return "nothing"
    # The shortest of a page tells most: a document at the root, not a chunk far below it.
    example = min(keys, key=lambda key: (key.count("/"), key))
    return f"other objects, such as {example!r}"


def to_pages(rows: Iterable[Row]) -> Iterator[pa.RecordBatch]:
    """Yield the rows in pages of up to `ROWS_PER_PAGE`, as they come."""
    for page in itertools.batched(rows, ROWS_PER_PAGE):
        yield to_page(page)


def to_page(rows: Iterable[Row]) -> pa.RecordBatch:
    """Return the rows as one page.

    >>> to_page([("a", 1, None)]).to_pylist()
    [{'key': 'a', 'size': 1, 'etag': None}]
    """
    columns = list(zip(*rows, strict=True)) or [(), (), ()]
    arrays = [
        pa.array(column, field.type) for column, field in zip(columns, LISTING_SCHEMA, strict=True)
    ]
    return pa.RecordBatch.from_arrays(arrays, schema=LISTING_SCHEMA)
