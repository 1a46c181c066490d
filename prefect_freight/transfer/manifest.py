"""The manifest file: written whole before the first object moves, read back batch by batch.

It is a folder of Parquet files at the destination's control area, each holding whole batches of
one round, and an index, `manifest.json`, written last: a manifest without it is no manifest.
"""

import dataclasses
import io
import json
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from prefect_freight.errors import IntegrityError, NotFoundError
from prefect_freight.model import (
    ENTRY_SCHEMA,
    FORMAT_VERSION,
    MANIFEST_SCHEMA,
    Job,
    Plan,
    Round,
    Unit,
)
from prefect_freight.plan.batches import Part, plan_batches, plan_units
from prefect_freight.retry import retrying
from prefect_freight.stores import Store

ROWS_PER_PART = 64_000
INLINE_BYTES_PER_PART = 32 * 2**20


def manifest_folder(area: str) -> str:
    """Return the key prefix of a run's manifest, with its trailing `/`."""
    return f"{area}/manifest/"


class ManifestWriter:
    """Takes entries in the order of the rounds and writes them out as they come.

    At most one part's entries are held in memory.
    """

    def __init__(self, destination: Store, job: Job) -> None:
        self._destination = destination
        self._folder = manifest_folder(job.area)
        self._parts: list[Part] = []
        self._round = Round.CHUNKS
        self._pending: list[pa.RecordBatch] = []
        self._rows = self._inline_bytes = 0
        self._next_batch = 0

    def add(self, round_: Round, entries: pa.RecordBatch) -> None:
        """Append entries (`ENTRY_SCHEMA`) to a round, which is the current one or a later one."""
        if round_ != self._round:
            self._flush()
            self._round, self._next_batch = round_, 0
        for start in range(0, entries.num_rows, ROWS_PER_PART):
            piece = entries.slice(start, ROWS_PER_PART)
            self._pending.append(piece)
            self._rows += piece.num_rows
            self._inline_bytes += piece["data"].nbytes
            if self._rows >= ROWS_PER_PART or self._inline_bytes >= INLINE_BYTES_PER_PART:
                self._flush()

    def flushed(self) -> "Manifest":
        """Write what is held in memory; return what the manifest holds so far, to be read."""
        self._flush()
        return Manifest(self._folder, tuple(self._parts), {"arrays": 0, "groups": 0})

    def close(self, **counts: int) -> Plan:
        """Write the last part and the index; return what the manifest holds."""
        self._flush()
        index = {
            "format_version": FORMAT_VERSION,
            "parts": [dataclasses.asdict(part) for part in self._parts],
            "counts": counts,
        }
        data = json.dumps(index, indent=1).encode()
        retrying(lambda: self._destination.write(f"{self._folder}manifest.json", data))
        return _plan(self._parts, counts)

    def _flush(self) -> None:
        if not self._rows:
            return
        table = pa.Table.from_batches(self._pending, ENTRY_SCHEMA)
        sizes = table["size"].to_numpy()
        numbers = plan_batches(sizes)
        table = table.append_column(MANIFEST_SCHEMA.field("batch"), [numbers + self._next_batch])
        key = f"{self._round}-{self._next_batch:08d}.parquet"
        objects = np.bincount(numbers).tolist()
        size = np.add.reduceat(sizes, np.flatnonzero(np.diff(numbers, prepend=-1))).tolist()
        batches = tuple(zip(objects, size, strict=True))
        buffer = io.BytesIO()
        pq.write_table(table.cast(MANIFEST_SCHEMA), buffer, compression="zstd")
        retrying(lambda: self._destination.write(f"{self._folder}{key}", buffer.getvalue()))
        self._parts.append(Part(key, self._round, batches, self._next_batch))
        self._next_batch += len(batches)
        self._pending, self._rows, self._inline_bytes = [], 0, 0


@dataclasses.dataclass(frozen=True, slots=True)
class Manifest:
    """A written manifest."""

    folder: str
    parts: tuple[Part, ...]
    counts: dict[str, int]

    @property
    def plan(self) -> Plan:
        """What the manifest holds, summed up."""
        return _plan(self.parts, self.counts)

    def read_batches(
        self, destination: Store, unit: Unit, numbers: Iterable[int]
    ) -> Iterator[tuple[int, pa.Table]]:
        """Yield the unit's batches of the given numbers, one part in memory at a time."""
        wanted = sorted(numbers)
        for part in self.parts:
            stop = part.first_batch + len(part.batches)
            here = [n for n in wanted if part.first_batch <= n < stop]
            if part.round != unit.round or not here:
                continue
            table = read_part(destination, self.folder + part.key)
            first_rows = np.searchsorted(table["batch"].to_numpy(), [*here, stop])
            for number, row in zip(here, first_rows, strict=False):
                yield number, table.slice(row, part.batches[number - part.first_batch][0])

    def read_entries(
        self, destination: Store, rounds: Iterable[Round], columns: list[str]
    ) -> Iterator[pa.Table]:
        """Yield the given columns of all entries of some rounds, a part at a time."""
        rounds = set(rounds)
        for part in self.parts:
            if part.round in rounds:
                yield read_part(destination, self.folder + part.key, columns)


def read_manifest(destination: Store, job: Job) -> Manifest | None:
    """Return the job's manifest, or None where none was written whole."""
    return manifest_of(destination, job.area)


def manifest_of(destination: Store, area: str) -> Manifest | None:
    """Return the manifest in the folder of a run, or None where none was written whole."""
    folder = manifest_folder(area)
    try:
        index: Any = json.loads(retrying(lambda: destination.read(f"{folder}manifest.json")))
    except (NotFoundError, ValueError):
        return None
    parts = tuple(
        Part(
            part["key"],
            Round(part["round"]),
            tuple((n, size) for n, size in part["batches"]),
            part["first_batch"],
        )
        for part in index["parts"]
    )
    return Manifest(folder, parts, index["counts"])


def read_part(destination: Store, key: str, columns: list[str] | None = None) -> pa.Table:
    """Return the entries of one file of a manifest."""
    data = retrying(lambda: destination.read(key))
    try:
        return pq.read_table(io.BytesIO(data), columns=columns)
    except pa.ArrowInvalid as error:
        raise IntegrityError(
            f"expected a Parquet file of an export's manifest at {destination.url}/{key}, "
            f"found {len(data)} bytes that are none. Remove the export's folder and export again"
        ) from error


def _plan(parts: Iterable[Part], counts: dict[str, int]) -> Plan:
    parts = list(parts)
    units: tuple[Unit, ...] = ()
    for round_ in Round:
        batches = [batch for part in parts if part.round == round_ for batch in part.batches]
        units += plan_units(round_, batches)
    return Plan(
        units,
        objects=sum(unit.objects for unit in units),
        bytes=sum(unit.bytes for unit in units),
        arrays=counts["arrays"],
        groups=counts["groups"],
    )
