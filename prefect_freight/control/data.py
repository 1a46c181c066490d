"""What lies at a destination beside our records: data, and markers by their names."""

from collections.abc import Iterator

import pyarrow as pa
import pyarrow.compute as pc

from prefect_freight.model import CONTROL_AREA, MARKER_PATTERN
from prefect_freight.stores import Store


def list_data(destination: Store) -> Iterator[pa.Table]:
    """Yield what lies at the destination apart from our control area and the markers."""
    for page, is_marker in _list(destination):
        yield page.filter(pc.invert(is_marker))


def list_markers(destination: Store) -> Iterator[str]:
    """Yield the keys of all objects that are called like markers, whoever put them."""
    for page, is_marker in _list(destination):
        yield from page["key"].filter(is_marker).to_pylist()


def _list(destination: Store) -> Iterator[tuple[pa.Table, pa.ChunkedArray]]:
    for page in destination.list(without=f"{CONTROL_AREA}/"):
        table = pa.Table.from_batches([page])
        yield table, pc.match_substring_regex(table["key"], MARKER_PATTERN)
