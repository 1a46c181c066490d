"""The manifest file: written whole before the first object moves, read back batch by batch.

It is a folder of Parquet files at the destination's control area, each holding whole batches of
one round, and an index, `manifest.json`, written last: a manifest without it is no manifest.
"""

import dataclasses
import io
import json
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from prefect_freight.errors import IntegrityError, NotFoundError
from prefect_freight.formats.zarr.withdraw import Reading
from prefect_freight.model import (
    ENTRY_SCHEMA,
    FORMAT_VERSION,
    MANIFEST_SCHEMA,
    Job,
    Plan,
    Round,
    Unit,
)
from prefect_freight.plan.batches import BATCHES_PER_PHASE, Part, plan_batches, plan_units
from prefect_freight.plan.entries import digest
from prefect_freight.retry import retrying
from prefect_freight.stores import Store

ROWS_PER_PART = 64_000
INLINE_BYTES_PER_PART = 32 * 2**20
CHECKSUM_BYTES = 16
NO_CHECKSUM = bytes(CHECKSUM_BYTES)
MOVED = tuple(round_ for round_ in Round if not round_.startswith("kept-"))


@dataclass(frozen=True, slots=True)
class ArrayRecord:
    """Where the entries of an array lie, and what they were made from."""

    area: str
    """The run whose manifest has them: this one, or an earlier one since which nothing changed."""
    chunks: str
    """Equal if the array's chunk entries are."""
    reading: Reading
    """How its document has its chunks read."""


class ManifestWriter:
    """Takes entries of any round and writes them out as they come.

    At most one part's entries of each round are held in memory.
    """

    def __init__(self, destination: Store, area: str) -> None:
        self._destination = destination
        self._folder = f"{area}/manifest/"
        self._pending: dict[tuple[Round, int], _Pending] = {}
        self._parts: list[Part] = []

    def add(self, round_: Round, entries: pa.RecordBatch, phase: int = 0) -> None:
        """Append entries (`ENTRY_SCHEMA`) to a phase of a round."""
        pending = self._pending.setdefault((round_, phase), _Pending(phase * BATCHES_PER_PHASE))
        for start in range(0, entries.num_rows, ROWS_PER_PART):
            pending.add(entries.slice(start, ROWS_PER_PART))
            if pending.full:
                self._flush(round_, phase)

    def add_fill(self, fill: bytes) -> None:
        """Write a chunk of fill values, which entries name by its digest."""
        retrying(lambda: self._destination.write(f"{self._folder}fill-{digest(fill)}", fill))

    def close(
        self, arrays: Mapping[str, ArrayRecord], groups: int, notes: Iterable[str] = ()
    ) -> None:
        """Write what is left, and the index; then `manifest` is the whole of it."""
        for round_, phase in self._pending:
            self._flush(round_, phase)
        parts = tuple(self._parts)
        self.manifest = Manifest(self._folder, parts, dict(arrays), groups, tuple(notes))
        data = json.dumps(self.manifest.to_index()).encode()
        retrying(lambda: self._destination.write(f"{self._folder}manifest.json", data))

    def _flush(self, round_: Round, phase: int) -> None:
        pending = self._pending[round_, phase]
        if not pending.rows:
            return
        table = pa.Table.from_batches(pending.batches, ENTRY_SCHEMA)
        sizes = table["size"].to_numpy()
        numbers = plan_batches(sizes)
        column = pa.array(numbers + pending.next_batch, pa.int64())
        table = table.append_column(MANIFEST_SCHEMA.field("batch"), column)
        objects = np.bincount(numbers).tolist()
        size = np.add.reduceat(sizes, np.flatnonzero(np.diff(numbers, prepend=-1))).tolist()
        part = Part(
            key=f"{round_}-{pending.next_batch:08d}.parquet",
            round=round_,
            batches=tuple(zip(objects, size, strict=True)),
            first_batch=pending.next_batch,
            nodes=tuple(pc.unique(table["node"]).to_pylist()),
            phase=phase,
        )
        buffer = io.BytesIO()
        pq.write_table(table.cast(MANIFEST_SCHEMA), buffer, compression="zstd")
        data = buffer.getvalue()
        retrying(lambda: self._destination.write(f"{self._folder}{part.key}", data))
        self._parts.append(part)
        pending.clear(len(part.batches))


class _Pending:
    """The entries of a phase of a round that are not written yet."""

    def __init__(self, first_batch: int) -> None:
        self.batches: list[pa.RecordBatch] = []
        self.rows = self._inline_bytes = 0
        self.next_batch = first_batch

    def add(self, entries: pa.RecordBatch) -> None:
        self.batches.append(entries)
        self.rows += entries.num_rows
        self._inline_bytes += entries["data"].nbytes

    @property
    def full(self) -> bool:
        return self.rows >= ROWS_PER_PART or self._inline_bytes >= INLINE_BYTES_PER_PART

    def clear(self, batches: int) -> None:
        self.batches, self.rows, self._inline_bytes = [], 0, 0
        self.next_batch += batches


@dataclass(frozen=True, slots=True)
class Manifest:
    """A written manifest."""

    folder: str
    parts: tuple[Part, ...]
    arrays: Mapping[str, ArrayRecord]
    """All arrays of the copy by their path, those included whose entries an earlier run has."""
    groups: int
    notes: tuple[str, ...] = ()
    """What the format could not say of the snapshot, for the user."""

    @property
    def area(self) -> str:
        """The folder of the run."""
        return self.folder.removesuffix("/manifest/")

    @property
    def plan(self) -> Plan:
        """What is to be moved, summed up."""
        units: tuple[Unit, ...] = ()
        for round_, phase in sorted({(MOVED.index(p.round), p.phase) for p in self._moved}):
            parts = [p for p in self._moved if (MOVED.index(p.round), p.phase) == (round_, phase)]
            batches = [batch for part in parts for batch in part.batches]
            units += plan_units(MOVED[round_], batches, phase)
        return Plan(
            units,
            objects=sum(unit.objects for unit in units),
            bytes=sum(unit.bytes for unit in units),
            arrays=len(self.arrays),
            groups=self.groups,
            notes=self.notes,
        )

    @property
    def _moved(self) -> list[Part]:
        return [part for part in self.parts if part.round in MOVED]

    def count(self, rounds: Collection[Round]) -> int:
        """Return the number of entries of some rounds."""
        return sum(n for p in self.parts if p.round in rounds for n, _ in p.batches)

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
            first_rows = np.searchsorted(table["batch"].to_numpy(), here)
            for number, row in zip(here, first_rows, strict=True):
                yield number, table.slice(row, part.batches[number - part.first_batch][0])

    def read_entries(
        self,
        destination: Store,
        rounds: Collection[Round],
        columns: list[str],
        nodes: Collection[str] | None = None,
    ) -> Iterator[pa.Table]:
        """Yield the given columns of all entries of some rounds (of some nodes), by the part."""
        for part in self.parts:
            if part.round not in rounds or (nodes is not None and not {*part.nodes} & {*nodes}):
                continue
            table = read_part(destination, self.folder + part.key, [*columns, "node"])
            if "checksum" in columns and part.round in MOVED:
                table = _with_checksums(table, self._read_checksums(destination, part))
            if nodes is not None:
                table = table.filter(pc.is_in(table["node"], pa.array(list(nodes), pa.string())))
            yield table.select(columns)

    def read_fill(self, destination: Store, identity: str) -> bytes:
        """Return a chunk of fill values."""
        return destination.read(f"{self.folder}fill-{identity}")

    def write_checksums(self, destination: Store, part: Part, checksums: Iterable[str]) -> None:
        """Keep the MD5 (hexadecimal) of each entry of a part beside it, as 16 bytes a row."""
        data = b"".join(bytes.fromhex(c) if c else NO_CHECKSUM for c in checksums)
        retrying(lambda: destination.write(f"{self.folder}{part.key}.md5", data))

    def _read_checksums(self, destination: Store, part: Part) -> bytes:
        try:
            return retrying(lambda: destination.read(f"{self.folder}{part.key}.md5"))
        except NotFoundError:
            return b""

    def to_index(self) -> dict[str, Any]:
        """Return what `manifest.json` holds."""
        return {"format_version": FORMAT_VERSION} | dataclasses.asdict(self)


def read_manifest(destination: Store, job: Job) -> Manifest | None:
    """Return the job's manifest, or None where none was written whole."""
    return manifest_of(destination, job.area)


def manifest_of(destination: Store, area: str) -> Manifest | None:
    """Return the manifest in the folder of a run, or None where none was written whole."""
    try:
        index: Any = json.loads(
            retrying(lambda: destination.read(f"{area}/manifest/manifest.json"))
        )
    except (NotFoundError, ValueError):
        return None
    return Manifest(
        f"{area}/manifest/",
        tuple(_part(part) for part in index["parts"]),
        {path: _record(said) for path, said in index["arrays"].items()},
        index["groups"],
        tuple(index["notes"]),
    )


def _record(said: dict[str, Any]) -> ArrayRecord:
    reading = Reading(said["reading"]["identity"], tuple(said["reading"]["shape"]))
    return ArrayRecord(said["area"], said["chunks"], reading)


def _part(said: dict[str, Any]) -> Part:
    batches = tuple((n, size) for n, size in said["batches"])
    return Part(
        said["key"],
        Round(said["round"]),
        batches,
        said["first_batch"],
        tuple(said["nodes"]),
        said.get("phase", 0),
    )


def _with_checksums(table: pa.Table, data: bytes) -> pa.Table:
    if len(data) != CHECKSUM_BYTES * table.num_rows:
        return table
    column = pa.FixedSizeBinaryArray.from_buffers(
        pa.binary(CHECKSUM_BYTES), table.num_rows, [None, pa.py_buffer(data)]
    ).cast(pa.binary())
    known = pc.if_else(pc.equal(column, NO_CHECKSUM), pa.scalar(None, pa.binary()), column)
    return table.set_column(table.schema.get_field_index("checksum"), "checksum", known)


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
