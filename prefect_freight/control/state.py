"""What lies at a destination, as the records of the runs that wrote it say.

It is the copy of the base, and, with unknown content, every key that runs since then may have
touched. A run without a diff has touched nothing, since that is written before anything moves.

What a run planned it may have done, whether or not a record of its beginning lies there: records
may be lost, and a key that was doubted for nothing is put again, no more. But what lies there is
ours to delete only where a record says that it was begun.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any

import pyarrow as pa

from prefect_freight.control.diff import Diff, DiffPart, read_diff
from prefect_freight.control.doings import COLUMNS, read_doings, trusted_runs
from prefect_freight.control.ledger import begun_phases, recorded_batches
from prefect_freight.control.manifest import Manifest, read_manifest
from prefect_freight.control.manifest_reader import ManifestReader, no_manifest
from prefect_freight.control.runs import Run, run_area
from prefect_freight.errors import NotFoundError, UnsoundError
from prefect_freight.model import ENTRY_SCHEMA, Job
from prefect_freight.plan.join import STATE_SCHEMA
from prefect_freight.plan.sections import Section
from prefect_freight.plan.touched import BASE, whatever
from prefect_freight.retry import retrying
from prefect_freight.stores import Store

KEYS_SCHEMA = pa.schema([STATE_SCHEMA.field("key"), STATE_SCHEMA.field("node")])


class State:
    """What the control area of a destination records."""

    def __init__(
        self,
        destination: Store,
        earlier: Sequence[Run],
        base_area: str | None,
        *,
        source: str = "",
        relies: bool = True,
    ) -> None:
        self._destination = destination
        self.records = ManifestReader(destination)
        self._base = read_manifest(destination, base_area) if base_area is not None else None
        if self._base is not None:
            self.records.add(self._base)
        self.is_damaged = (
            base_area is not None and self._base is None and not self._was_never_assumed(base_area)
        )
        """A record that was needed could not be read."""
        # What a run did before the last whole one is part of that one's manifest, or undone by it.
        last = max((n for n, run in enumerate(earlier) if run.ended_whole), default=-1)
        self._since = earlier[last + 1 :]
        self._trusted = trusted_runs(self._since, source)
        self._relies = relies or any(self._trusted)

    def _was_never_assumed(self, area: str) -> bool:
        """Say whether an earlier run ended before it had written down what it assumed.

        It touched nothing, so nothing is ours by it.
        """
        above = run_area(area)
        return above != area and not begun_phases(self._destination, above)

    @property
    def sections(self) -> Mapping[str, Sequence[Section]]:
        """The sections of the base's copy, by name."""
        return self._base.by_name if self._base is not None else {}

    @cached_property
    def unfinished(self) -> tuple[Diff, ...]:
        """What runs since then may have done."""
        return tuple(diff for _, diff in self._unfinished)

    @cached_property
    def _unfinished(self) -> list[tuple[int, Diff]]:
        """The same, with the number of the run."""
        diffs = ((number, self._read_diff(run)) for number, run in enumerate(self._since))
        return [(number, diff) for number, diff in diffs if diff is not None]

    @cached_property
    def _begun(self) -> dict[str, tuple[DiffPart, ...]]:
        """What each unfinished run is recorded to have begun, by its area: the rest is not ours."""
        return {diff.area: begun_parts(self._destination, diff) for diff in self.unfinished}

    def _read_diff(self, run: Run) -> Diff | None:
        try:
            diff = read_diff(self._destination, run.area)
            if diff is None:
                require_nothing_done(self._destination, run.area, planned=run.was_planned)
        except UnsoundError:
            if self._relies:
                raise
            self.is_damaged = True
            return None
        return diff

    @property
    def doubtful(self) -> set[str]:
        """Names of which some keys may hold anything."""
        return {
            rows.name for diff in self.unfinished for part in diff.parts for rows in part.slices
        }

    @property
    def is_empty(self) -> bool:
        """Nothing lies there that we know of."""
        return self._base is None and not any(diff.parts for diff in self.unfinished)

    def facts(self) -> Iterator[tuple[str, Mapping[str, Any]]]:
        """Yield name and facts of all sections that may lie there, of unfinished runs too."""
        manifests = [self._manifest_of(diff) for diff in self.unfinished]
        for manifest in (self._base, *manifests):
            for section in manifest.sections if manifest is not None else ():
                yield section.name, section.facts

    def _manifest_of(self, diff: Diff) -> Manifest | None:
        manifest = read_manifest(self._destination, diff.area)
        if manifest is None:
            if self._relies:
                raise no_manifest(self._destination, diff.area)
            self.is_damaged = True
        return manifest

    def entries(self, section: Section) -> pa.Table:
        """Return what the copy holds of a section (`STATE_SCHEMA`)."""
        return self.records.entries(section, STATE_SCHEMA.names).select(STATE_SCHEMA.names)

    @property
    def has_trusted_ledgers(self) -> bool:
        """Of some of what unfinished runs did it may be known what lies there now."""
        return any(self._trusted[number] for number, _ in self._unfinished)

    @property
    def touched_rows(self) -> int:
        """Objects that unfinished runs planned to put or delete."""
        return sum(diff.plan.objects for diff in self.unfinished)

    def touched(self, name: str | None = None) -> Iterator[pa.Table]:
        """Yield the keys (and nodes) of a name, or all, that unfinished runs began to touch."""
        for diff in self.unfinished:
            for part in self._begun[diff.area]:
                own = [rows for rows in part.slices if name in (None, rows.name)]
                if name is None and not part.slices:
                    yield self._read(diff, part, KEYS_SCHEMA.names)
                if own:
                    table = self._read(diff, part, KEYS_SCHEMA.names)
                    for rows in own:
                        yield table.slice(rows.first, rows.stop - rows.first).cast(KEYS_SCHEMA)

    def doings(self) -> Iterator[pa.Table]:
        """Yield what unfinished runs planned, and what of it is recorded (`TOUCHED_SCHEMA`)."""
        for number, diff in self._unfinished:
            trusted = self._trusted[number]
            for part in diff.parts:
                table = self._read(diff, part, COLUMNS)
                begun = part in self._begun[diff.area]
                yield from read_doings(
                    self._destination, number, diff, part, table, trusted=trusted, begun=begun
                )

    def _read(self, diff: Diff, part: DiffPart, columns: list[str]) -> pa.Table:
        try:
            return diff.read_part(self._destination, part, columns)
        except UnsoundError:
            if self._relies:
                raise
            self.is_damaged = True
            return ENTRY_SCHEMA.empty_table().select(columns)

    def base_rows(self) -> Iterator[pa.Table]:
        """Yield the keys of the base's copy, whatever lies there under them (`TOUCHED_SCHEMA`)."""
        for name in self.sections:
            for keys in self.keys({name}):
                yield whatever(keys, name, BASE)

    def ours(self) -> Iterator[pa.Table]:
        """Yield the keys (and nodes) under which no object is anybody else's."""
        yield from self.keys()
        yield from self.touched()

    def keys(self, names: Collection[str] | None = None) -> Iterator[pa.Table]:
        """Yield the keys (and nodes) of the base's copy, all or of some names.

        Where nothing is relied on, of all that can be read: afterwards `is_damaged` tells whether
        something could not be.
        """
        for name, sections in self.sections.items():
            if names is None or name in names:
                for section in sections:
                    try:
                        yield self.entries(section).select(KEYS_SCHEMA.names)
                    except UnsoundError:
                        if self._relies:
                            raise
                        self.is_damaged = True

    def read(self, key: str) -> bytes | None:
        """Return an object of the copy, None if it is not there."""
        try:
            return retrying(lambda: self._destination.read(key))
        except NotFoundError:
            return None


def begun_parts(destination: Store, diff: Diff) -> tuple[DiffPart, ...]:
    """Return what of a diff is recorded as begun: what lies under the rest is not ours.

    A phase is recorded as begun before it begins, and begins when all before it are done. A record
    of a batch says the same, should the other have been lost.
    """
    if any(not part.slices for part in diff.parts):  # version 1 recorded no beginnings
        return diff.parts
    recorded = {*recorded_batches(destination, diff.area)}
    begun = begun_phases(destination, diff.area)
    places = {
        part.place
        for part in diff.parts
        if (part.round, part.phase) in begun
        or any((part.round, number) in recorded for number in part.numbers)
    }
    last = max(places, default=(-1, 0))
    return tuple(part for part in diff.parts if part.place <= last)


def require_nothing_done(destination: Store, area: str, *, planned: bool) -> None:
    """Raise `UnsoundError` unless a run without a diff has done nothing, as that comes first.

    It has not if it had not `planned` anything yet, by its record.
    """
    if planned or begun_phases(destination, area) or recorded_batches(destination, area):
        raise UnsoundError(
            f"expected the record of what an export does at {destination.url}/{area}/diff, found "
            "that it was written, and no such record"
        )


def base_area(earlier: Sequence[Run], job: Job) -> str | None:
    """Return the area whose manifest says what lay there last: of a whole run, or as assumed.

    What was assumed once is ours from then on, also for whoever relies on none of its content.
    """
    if job.base_assumed:
        return job.assumed_area
    # In the order of the runs, so that the newest of both kinds decides.
    areas = [
        run.area if run.ended_whole else f"{run.area}/base"
        for run in earlier
        if run.ended_whole or run.base_assumed
    ]
    return areas[-1] if areas else None
