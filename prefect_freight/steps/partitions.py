"""Comparing two tables of keys that may be larger than memory.

Rows are spread over partitions by a hash of their key, on local disk when there are many, so that
a comparison needs the memory of one partition however many rows there are.
"""

import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Self

import pyarrow as pa

ROWS_PER_PARTITION = 1_000_000


class Partitions:
    """Rows of one table, spread by the hash of `key`; one partition is held in memory whole."""

    def __init__(self, schema: pa.Schema, count: int, folder: str, name: str) -> None:
        self._schema, self._count = schema, count
        self._memory: list[pa.RecordBatch] = []
        self._paths = [os.path.join(folder, f"{name}-{n}.arrow") for n in range(count)]
        self._writers = (
            [pa.ipc.new_stream(path, schema) for path in self._paths] if count > 1 else []
        )

    def add(self, rows: pa.Table | pa.RecordBatch) -> None:
        """Add rows, of which the schema's columns are taken."""
        table = pa.table({name: rows[name] for name in self._schema.names}, self._schema)
        if self._count == 1:
            self._memory += table.to_batches()
            return
        # Python's hash of a text is another one in each process: good for nothing that stays.
        hashes = [hash(key) % self._count for key in table["key"].to_pylist()]
        number = pa.array(hashes, pa.int32())
        for n, writer in enumerate(self._writers):
            writer.write_table(table.filter(pa.compute.equal(number, n)))

    def close(self) -> Self:
        """End the adding."""
        for writer in self._writers:
            writer.close()
        return self

    def read(self, number: int) -> pa.Table:
        """Return the rows of a partition."""
        if self._count == 1:
            return pa.Table.from_batches(self._memory, self._schema)
        with pa.memory_map(self._paths[number]) as file, pa.ipc.open_stream(file) as reader:
            return reader.read_all()


@dataclass(frozen=True, slots=True)
class Pairs:
    """Pairs of partitions of two tables; they can be gone through more than once."""

    left: Partitions
    right: Partitions
    count: int

    def __iter__(self) -> Iterator[tuple[pa.Table, pa.Table]]:
        return ((self.left.read(n), self.right.read(n)) for n in range(self.count))


@contextmanager
def partitioned(
    schemas: tuple[pa.Schema, pa.Schema],
    rows: int,
    left: Iterable[pa.Table],
    right: Iterable[pa.Table],
    rows_per_partition: int = ROWS_PER_PARTITION,
) -> Iterator[Pairs]:
    """Give pairs of partitions of two tables: equal keys are in the same pair.

    `schemas` are the columns that are taken of each; `rows` is how many are expected on the larger
    side, and more only cost memory.
    """
    count = max(1, -(-rows // rows_per_partition))
    folder = tempfile.mkdtemp(prefix="freight-")
    try:
        sides = [
            Partitions(schema, count, folder, name)
            for schema, name in zip(schemas, ("left", "right"), strict=True)
        ]
        for side, tables in zip(sides, (left, right), strict=True):
            for table in tables:
                side.add(table)
            side.close()
        yield Pairs(sides[0], sides[1], count)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
