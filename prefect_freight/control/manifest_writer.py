"""Writing a manifest: entries of changed sections go into parts as they come."""

from collections.abc import Iterable, Mapping

import pyarrow as pa
import pyarrow.compute as pc

from prefect_freight.control.manifest import MANIFEST_SCHEMA, Manifest, Part, Slice, fill_key
from prefect_freight.control.sealed import write_record
from prefect_freight.control.tables import write_table
from prefect_freight.model import Kind, Round
from prefect_freight.plan.batches import batch_totals
from prefect_freight.plan.entries import delete_entries, digest, no_rows
from prefect_freight.plan.sections import Section, inline_bytes
from prefect_freight.retry import retrying
from prefect_freight.stores import Store

ROWS_PER_PART = 64_000
INLINE_BYTES_PER_PART = 32 * 2**20


class ManifestWriter:
    """Takes sections in their order, and the entries of those that are new or changed.

    At most one part's entries of each round are held in memory.
    """

    def __init__(self, destination: Store, area: str) -> None:
        self._destination = destination
        self.area = area
        self._pending: dict[Round, PendingRows] = {}
        self.sections: list[Section] = []
        """All up to now; one may be replaced before the end."""
        self._parts: list[Part] = []
        self._fills: dict[str, bytes] = {}

    def add_section(self, section: Section) -> None:
        """Append a section; its entries have been added, or lie in the areas that it names."""
        self.sections.append(section)

    def add(
        self, name: str, start: str, round_: Round, entries: pa.RecordBatch, kept: pa.BooleanArray
    ) -> None:
        """Append entries (`ENTRY_SCHEMA`) of a section, and which of them its base has too."""
        rows = entries.append_column(MANIFEST_SCHEMA.field("kept"), kept)
        # Before the entries that name it: a part that is there must be complete.
        self._write_fills(entries)
        pending = self._pending.setdefault(round_, PendingRows())
        for portion in pending.portions(rows):
            pending.add((name, start), portion)
            if pending.full:
                self._flush(round_)

    def add_gone(self, name: str, start: str, gone: pa.Table) -> None:
        """Append the keys (with their nodes) that a section has no more."""
        # In parts of their own, so that those of puts can be moved as they stand, uncopied.
        entries = delete_entries(gone["key"].combine_chunks(), gone["node"].combine_chunks())
        self.add(name, start, Round.DELETES, entries, no_rows(len(entries)))

    def offer_fill(self, fill: bytes) -> None:
        """Take a chunk of fill values, which is written if entries that refer to it are added."""
        self._fills = {digest(fill): fill}

    def close(self, totals: Mapping[str, int], notes: Iterable[str] = ()) -> Manifest:
        """Write what is left, and the index; return the manifest."""
        for round_ in self._pending:
            self._flush(round_)
        manifest = Manifest(
            self.area, tuple(self.sections), tuple(self._parts), dict(totals), tuple(notes)
        )
        # Last: as long as it is not there, no run that comes later takes the parts for a manifest.
        write_record(self._destination, f"{self.area}/manifest/manifest.json", manifest.to_index())
        return manifest

    def _write_fills(self, entries: pa.RecordBatch) -> None:
        # Only then: most arrays have no missing chunk, and their fill would be written for nothing.
        if not self._fills or not pc.any(pc.equal(entries["kind"], Kind.FILL.value)).as_py():
            return
        for identity, fill in self._fills.items():
            key = fill_key(self.area, identity)
            retrying(lambda key=key, fill=fill: self._destination.write(key, fill))  # type: ignore[misc]
        self._fills = {}

    def _flush(self, round_: Round) -> None:
        pending = self._pending[round_]
        if not pending.rows:
            return
        table, slices = pending.take()
        key = f"manifest/{round_}-{len(self._parts):08d}.parquet"
        digest = write_table(self._destination, f"{self.area}/{key}", table.cast(MANIFEST_SCHEMA))
        self._parts.append(
            Part(
                key,
                round_,
                batch_totals(table["size"].to_numpy()),
                tuple(Slice(name, start, first, stop) for (name, start), first, stop in slices),
                pc.sum(table["kept"]).as_py(),
                digest,
            )
        )


class PendingRows:
    """Rows that are not written yet, with what they belong to."""

    def __init__(self) -> None:
        self._batches: list[pa.RecordBatch] = []
        self._slices: list[tuple[tuple[str, ...], int, int]] = []
        self.rows = self._bytes = 0

    @property
    def full(self) -> bool:
        """They make a part."""
        return self.rows >= ROWS_PER_PART or self._bytes >= INLINE_BYTES_PER_PART

    def portions(self, rows: pa.RecordBatch) -> Iterable[pa.RecordBatch]:
        """Yield rows so many at a time that a part is not much larger than it should be."""
        size = max(1, inline_bytes(rows))
        # By bytes as well: a batch of inline chunks may be hundreds of times a part's size.
        step = max(1, min(ROWS_PER_PART, rows.num_rows * INLINE_BYTES_PER_PART // size))
        for first in range(0, rows.num_rows, step):
            yield rows.slice(first, step)

    def add(self, owner: tuple[str, ...], rows: pa.RecordBatch) -> None:
        """Append rows of an owner."""
        first, stop = self.rows, self.rows + rows.num_rows
        # One range for what comes in many batches: an index of thousands of ranges is slow to read.
        if self._slices and self._slices[-1][0] == owner:
            first = self._slices.pop()[1]
        self._slices.append((owner, first, stop))
        self._batches.append(rows)
        self.rows, self._bytes = stop, self._bytes + inline_bytes(rows)

    def take(self) -> tuple[pa.Table, list[tuple[tuple[str, ...], int, int]]]:
        """Return all rows, and (owner, first row, row after the last) of each owner; keep none."""
        table, slices = pa.Table.from_batches(self._batches), self._slices
        self._batches, self._slices, self.rows, self._bytes = [], [], 0, 0
        return table, slices
