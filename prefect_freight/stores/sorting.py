"""Pages of rows in the order of their keys, however many there are.

They wait in a file of the local disk; what is held in memory is the number of each row, and only if
they came in another order.
"""

import tempfile
from collections.abc import Iterable, Iterator

import pyarrow as pa
import pyarrow.compute as pc

ROWS_PER_PAGE = 50_000


def in_key_order(pages: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Yield all rows in the order of `key`, by code points."""
    with tempfile.NamedTemporaryFile(prefix="freight-", suffix=".arrow") as file:
        schema, ordered = _spill(pages, file.name)
        if schema is None:
            return
        with pa.memory_map(file.name) as mapped, pa.ipc.open_file(mapped) as reader:
            if ordered:
                for number in range(reader.num_record_batches):
                    yield reader.get_batch(number)
                return
            table = reader.read_all()
            order = pc.sort_indices(table["key"])
            for first in range(0, len(order), ROWS_PER_PAGE):
                page = table.take(order.slice(first, ROWS_PER_PAGE)).combine_chunks()
                yield from page.to_batches()


def _spill(pages: Iterable[pa.RecordBatch], path: str) -> tuple[pa.Schema | None, bool]:
    """Write the pages to a file; return their schema, and whether they are in order already."""
    writer, ordered, last = None, True, ""
    try:
        for page in pages:
            if not page.num_rows:
                continue
            if writer is None:
                schema = page.schema
                writer = pa.ipc.new_file(path, schema)
            writer.write_batch(page)
            keys = page["key"]
            rising = pc.all(pc.less(keys.slice(0, len(keys) - 1), keys.slice(1)), min_count=0)
            ordered = ordered and rising.as_py() and keys[0].as_py() >= last
            last = keys[-1].as_py()
    finally:
        if writer is not None:
            writer.close()
    return (schema, ordered) if writer is not None else (None, True)
