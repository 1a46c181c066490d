"""Writing the manifest of an export: what the copy holds, section by section."""

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial

import pyarrow as pa
import pyarrow.compute as pc

from prefect_freight.control.clearing import forget_run
from prefect_freight.control.diff import read_diff
from prefect_freight.control.manifest import Manifest, read_fill, read_manifest
from prefect_freight.control.manifest_reader import ManifestReader
from prefect_freight.control.manifest_writer import ManifestWriter
from prefect_freight.control.runs import earlier_runs
from prefect_freight.control.state import base_area
from prefect_freight.errors import FreightError, InputError, UnsoundError
from prefect_freight.formats import Component, Layout
from prefect_freight.formats.choice import open_layout
from prefect_freight.model import ENTRY_SCHEMA, Job, Kind, Round, Snapshot
from prefect_freight.plan.entries import no_rows
from prefect_freight.plan.join import STATE_SCHEMA, Join
from prefect_freight.plan.sections import Piece, Section, cut, section_content
from prefect_freight.retry import retrying
from prefect_freight.sources import Source
from prefect_freight.steps.attributes import KeptAttributes
from prefect_freight.stores import Store

WHOLE_AGAIN = 10
"""A section is written down whole when one row in so many of it has changed since it was,"""
MAX_AREAS = 16
"""or when it would have to be read from more manifests than that."""
MAX_HOMES = 32
"""Manifests that a copy is read from."""


def write_manifest(source: Source, destination: Store, job: Job) -> Manifest:
    """Write the job's manifest at the destination, or read the one that an earlier run left.

    Raises `UnsupportedNodeError` if the format cannot express what the snapshot holds, `InputError`
    if nothing of it is selected; then nothing of this run is left at the destination.
    """
    written = read_manifest(destination, job.area)
    if written is not None:  # by an earlier attempt: the snapshot is the same, and so is it
        return written
    if job.resumed and read_diff(destination, job.area) is not None:
        # Its rows are those of the manifest; another one, written now, may have others.
        raise UnsoundError(
            f"expected the manifest of an unfinished export at {destination.url}/{job.area}, found "
            "its diff and no manifest that can be read"
        )
    try:
        if job.base_assumed:
            _assume_base(source, destination, job)
        return _write(source, job.snapshot, destination, job, job.area, _base_of(destination, job))
    except InputError:
        if not job.resumed:
            with suppress(FreightError):  # which would hide why the export is refused
                forget_run(destination, job)
        raise


def _base_of(destination: Store, job: Job) -> Manifest | None:
    """Return the manifest of the copy that the job relies on, None if it relies on none."""
    if job.base is None:
        return None
    area = base_area(earlier_runs(destination, job), job)
    return None if area is None else ManifestReader(destination).manifest(area)


def _assume_base(source: Source, destination: Store, job: Job) -> None:
    """Write down what the user says lies there, so that it is like any other base."""
    if read_manifest(destination, job.assumed_area) is None:
        base = Snapshot(source.url, job.options.from_ref or "", job.base or "")
        _write(source, base, destination, job, job.assumed_area, None)


def _write(
    source: Source,
    snapshot: Snapshot,
    destination: Store,
    job: Job,
    area: str,
    base: Manifest | None,
) -> Manifest:
    options = job.options
    layout = open_layout(
        source, snapshot, options.format, options.max_fill_chunks, options.selection
    )
    writer = ManifestWriter(destination, area)
    records = ManifestReader(destination)
    if base is not None:
        records.add(base)
    kept = KeptAttributes(destination)
    for component in layout.components:
        recorded = base.by_name.get(component.name, []) if base is not None else []
        one = _ComponentWriter(writer, records, area, component, recorded, options.section_rows)
        one.write(layout, kept)
    _write_gone(writer, records, base, {component.name for component in layout.components})
    _bring_home(writer, records, destination)
    return writer.close(layout.totals, (*layout.notes, *kept.notes))


def _bring_home(writer: ManifestWriter, records: ManifestReader, destination: Store) -> None:
    """Write down again what lies in many small manifests, so that a copy never needs too many.

    Of a thousand arrays of which another one changes each night, each is at home in another run.
    The manifests that hold least are brought together, and few rows are written again for it.
    """
    rows = Counter[str]()
    for section in writer.sections:
        rows.update(dict.fromkeys(section.areas, section.rows))
    if len(rows) <= MAX_HOMES:
        return
    smallest = {area for area, _ in rows.most_common()[MAX_HOMES // 2 :]}
    for number, section in enumerate(writer.sections):
        # What has changed now is at home here already, or will be.
        if writer.area not in section.areas and smallest & {*section.areas}:
            _bring_section(writer, records, destination, section)
            writer.sections[number] = replace(section, areas=(writer.area,), changes=0)


def _bring_section(
    writer: ManifestWriter, records: ManifestReader, destination: Store, section: Section
) -> None:
    """Write all entries of a section, as ones that the base has too."""
    table = records.entries(section, (*ENTRY_SCHEMA.names, "round"))
    fills = table.filter(pc.equal(table["kind"], Kind.FILL.value))
    for row in fills.group_by(["layer", "location"]).aggregate([]).to_pylist():
        home, identity = section.areas[row["layer"]], row["location"]
        read = partial(read_fill, destination, home, identity)
        writer.offer_fill(retrying(read))
    for round_ in pc.unique(table["round"]).to_pylist():
        chosen = table.filter(pc.equal(table["round"], round_)).select(ENTRY_SCHEMA.names)
        for entries in chosen.combine_chunks().to_batches():
            kept = pc.invert(no_rows(len(entries)))
            writer.add(section.name, section.start, Round(round_), entries, kept)


def _write_gone(
    writer: ManifestWriter, records: ManifestReader, base: Manifest | None, names: set[str]
) -> None:
    """Write down what of the base the copy has no more, where a whole component is gone."""
    for name, sections in (base.by_name if base is not None else {}).items():
        if name not in names:
            for section in sections:
                gone = records.entries(section, STATE_SCHEMA.names)
                writer.add_gone(name, section.start, gone)


class _ComponentWriter:
    """The sections of one component, beside those that the base has of it."""

    def __init__(
        self,
        writer: ManifestWriter,
        records: ManifestReader,
        area: str,
        component: Component,
        recorded: Sequence[Section],
        max_rows: int,
    ) -> None:
        self._writer, self._records, self._area = writer, records, area
        self._component, self._recorded, self._max_rows = component, recorded, max_rows

    def write(self, layout: Layout, kept: KeptAttributes) -> None:
        """Give all sections to the writer, and the entries of those that have changed."""
        origins = {section.origin for section in self._recorded}
        if self._component.origin and origins == {self._component.origin}:
            for section in self._recorded:  # nothing of it need be read
                self._add_section(section)
            return
        stretches = kept.counting(layout.entries(self._component.name, self._writer.offer_fill))
        ranges = self._ranges()
        bounds = [sections[0].start if sections else "" for sections in ranges]
        pieces = cut(stretches, bounds, self._max_rows)
        while self._write_range(pieces, ranges):
            pass

    def _ranges(self) -> list[list[Section]]:
        """Return the recorded sections behind each bound that new ones are cut at."""
        spaces = {section.space for section in self._recorded}
        if spaces == {self._component.space}:
            return [[section] for section in self._recorded]
        return [list(self._recorded)]

    def _write_range(self, pieces: Iterator[Piece], ranges: list[list[Section]]) -> bool:
        """Write all pieces behind a bound; return whether there were any."""
        piece = next(pieces, None)
        if piece is None:
            return False
        content, recorded = _content(piece), ranges[piece.bound]
        if piece.last and len(recorded) == 1 and content and content == recorded[0].content:
            self._add_section(recorded[0])
            return True
        join = Join(pa.concat_tables([self._entries(section) for section in recorded] or [EMPTY]))
        if piece.last and len(recorded) == 1:
            self._write_over(piece, content, recorded[0], join)
            return True
        # All pieces share one join: what an earlier piece has not wanted, a later one may. So only
        # behind the last is it known what is gone.
        self._write_whole(piece, content, self._compare(piece, join))
        start, last = piece.start, piece.last
        while not last:
            # Never two at a time: a piece is all rows of a section, most of what memory holds.
            del piece
            piece = next(pieces)
            self._write_whole(piece, _content(piece), self._compare(piece, join))
            start, last = piece.start, piece.last
        self._writer.add_gone(self._component.name, start, join.gone())
        return True

    def _write_over(self, piece: Piece, content: str, over: Section, join: Join) -> None:
        """Write down the changes of a section alone, unless they have become too many."""
        compared = self._compare(piece, join)
        gone = join.gone()
        changed = piece.rows - sum(pc.sum(kept).as_py() or 0 for kept, _ in compared)
        changes = over.changes + changed + gone.num_rows
        # Each area is a manifest to be read: what is saved in writing must not be lost in reading.
        if changes * WHOLE_AGAIN > piece.rows or len(over.areas) >= MAX_AREAS:
            self._write_whole(piece, content, compared)
            self._writer.add_gone(self._component.name, piece.start, gone)
            return
        areas = over.areas
        if changed or gone.num_rows:
            areas = (*areas, self._area)
            for stretch, (kept, _) in zip(piece.stretches, compared, strict=True):
                entries = stretch.entries.filter(pc.invert(kept))
                self._add(piece.start, stretch.round, entries, no_rows(len(entries)))
            self._writer.add_gone(self._component.name, piece.start, gone)
        self._add_section(
            Section(self._component.name, piece.start, content, {}, areas, piece.rows, changes)
        )

    def _write_whole(
        self, piece: Piece, content: str, compared: list[tuple[pa.Array, pa.Array]]
    ) -> None:
        for stretch, (kept, checksums) in zip(piece.stretches, compared, strict=True):
            column = stretch.entries.schema.get_field_index("checksum")
            column_values = pc.coalesce(stretch.entries["checksum"], checksums)
            entries = stretch.entries.set_column(column, "checksum", column_values)
            self._add(piece.start, stretch.round, entries, kept)
        areas = (self._area,)
        self._add_section(
            Section(self._component.name, piece.start, content, {}, areas, piece.rows)
        )

    def _add_section(self, section: Section) -> None:
        """Give a section to the writer, with what is known of its component now."""
        component = self._component
        self._writer.add_section(
            replace(section, facts=component.facts, origin=component.origin, space=component.space)
        )

    def _add(
        self, start: str, round_: Round, entries: pa.RecordBatch, kept: pa.BooleanArray
    ) -> None:
        self._writer.add(self._component.name, start, round_, entries, kept)

    def _compare(self, piece: Piece, join: Join) -> list[tuple[pa.Array, pa.Array]]:
        """Return kept rows and their checksums of each stretch; the join hashes only once."""
        if not piece.stretches:
            return []
        table = pa.Table.from_batches(
            [stretch.entries.select(["key", "content"]) for stretch in piece.stretches]
        ).combine_chunks()
        kept, checksums = join.compare(
            table["key"].combine_chunks(), table["content"].combine_chunks()
        )
        compared, first = [], 0
        for stretch in piece.stretches:
            n = stretch.entries.num_rows
            compared.append((kept.slice(first, n), checksums.slice(first, n)))
            first += n
        return compared

    def _entries(self, section: Section) -> pa.Table:
        return self._records.entries(section, STATE_SCHEMA.names).select(STATE_SCHEMA.names)


EMPTY = STATE_SCHEMA.empty_table()


def _content(piece: Piece) -> str:
    return section_content(stretch.entries for stretch in piece.stretches)
