"""Verifying a copy later and on its own, from the manifest that lies beside it."""

import sys
from dataclasses import asdict, dataclass, replace
from pathlib import PurePath
from shlex import quote
from typing import Any

from prefect_freight.config import StoreConfig
from prefect_freight.control.runs import Run, read_last, read_runs
from prefect_freight.errors import InputError
from prefect_freight.model import (
    EVERYTHING,
    FORMAT_VERSION,
    Format,
    Job,
    Options,
    Selection,
    Snapshot,
    VerifyLevel,
)
from prefect_freight.plan.differences import Differences
from prefect_freight.plan.report import unchecked_note
from prefect_freight.plan.selection import to_text
from prefect_freight.sources import Source
from prefect_freight.sources.kinds import open_source
from prefect_freight.steps.compare_unchecked import compare_unchecked
from prefect_freight.steps.preview import preview
from prefect_freight.steps.verify_copy import compare
from prefect_freight.stores import Store
from prefect_freight.stores.urls import open_store

FOUND_UNSOUND = (
    "an export found that this copy was not what its record said, and did not come to the end of "
    "its repair"
)


@dataclass(frozen=True, slots=True)
class Verification:
    """What lies at a destination, compared with what should."""

    destination: str
    source: str
    ref: str
    snapshot: str
    format: str
    level: str
    """The level that was compared: `checksums`, or `values`."""
    differences: Differences
    notes: tuple[str, ...] = ()
    selection: Selection = EVERYTHING
    """What of the snapshot the copy holds."""

    @property
    def whole(self) -> bool:
        """All of the snapshot lies there as it is; objects beside it, which are not ours, may."""
        return self.differences.whole

    @property
    def cure(self) -> str:
        """What mends the copy; an empty text if it is whole and its record is sound."""
        if self.whole and FOUND_UNSOUND not in self.notes:
            return ""
        command = f"freight export {quote(self.source)} {quote(self.destination)}"
        command += f" --ref {self.snapshot} --format {self.format} --verify checksums"
        if self.selection != EVERYTHING:  # without it, it would be refused
            command += f" {to_text(self.selection)}"
        if self.differences.taken:  # without it, whatever else is to be mended would be refused
            command += " --on-existing replace"
        if self.differences.is_only_taken:
            return f"Remove what is not of the copy, or have it deleted by: {command}"
        return f"Mend it by: {command}"

    def to_dict(self) -> dict[str, Any]:
        """Return the verification as plain JSON values."""
        differences = self.differences
        return {
            "format_version": FORMAT_VERSION,
            "destination": self.destination,
            "source": self.source,
            "ref": self.ref,
            "snapshot": self.snapshot,
            "format": self.format,
            "selection": asdict(self.selection),
            "level": self.level,
            "whole": self.whole,
            "missing": differences.missing_keys,
            "wrong": [{"key": key, "found": reason} for key, reason in differences.wrong_keys],
            "foreign": differences.foreign_keys,
            "unchecked": differences.unchecked,
            "notes": list(self.notes),
            "cure": self.cure,
        }


def verify(
    destination: str | PurePath | Store,
    *,
    source: str | PurePath | Source | None = None,
    values: bool = False,
    config: StoreConfig | None = None,
    source_config: StoreConfig | None = None,
) -> Verification:
    """Compare a copy with its manifest: keys, sizes, and every object's checksum.

    With `source` the manifest is compared with the snapshot too, objects that no checksum was ever
    recorded of with the source's bytes, and with `values` what zarr decodes of both. Raises
    `InputError` if no whole export is recorded there.
    """
    if isinstance(destination, str | PurePath):
        destination = open_store(str(destination), config)
    last = read_last(destination)
    if last is None:
        raise InputError(_nothing_whole(destination))
    # The record names it, but not its credentials: those of the environment have to do.
    if values and source is None:
        source = last.source
    if isinstance(source, str | PurePath):
        source = open_source(str(source), source_config)
    job = _job(last, destination, "values" if values else "checksums")
    differences = compare(destination, job, "checksums")
    if source is not None:
        compare_unchecked(source, destination, job, differences, keep=False)
        _compare_source(source, destination, job, differences)
        if values:
            from prefect_freight.formats.choice import compare_values

            compare_values(source, destination, job, differences)
    # What began later may have changed the copy, whatever this manifest says of it.
    later = [run for run in read_runs(destination, after=last.sequence) if run.state != "whole"]
    unsound = (FOUND_UNSOUND,) if last.state == "unsound" else ()
    unchecked = (
        (unchecked_note(differences.unchecked, destination.url, last.source),)
        if differences.unchecked
        else ()
    )
    return Verification(
        destination.url,
        last.source,
        last.ref,
        last.snapshot,
        last.format,
        job.options.verify,
        differences,
        (*differences.notes, *unsound, *unchecked, *(_note(run) for run in later)),
        last.selection,
    )


def _compare_source(source: Source, destination: Store, job: Job, differences: Differences) -> None:
    """Add what an export of the snapshot's difference to its own copy would still have to do."""
    later = replace(job, sequence=job.sequence + 1)
    expected = preview(source, destination, later, minding_others=False)
    for path, counts in expected.nodes.items():
        if counts["puts"] or counts["deletes"]:
            differences.add_wrong(
                path or "/",
                f"the manifest is not that of the snapshot: {counts['puts']} objects differ, "
                f"{counts['deletes']} are too many",
            )


def _nothing_whole(destination: Store) -> str:
    unfinished = read_runs(destination)
    if unfinished:
        return (
            f"expected a whole export at {destination.url}, found run {unfinished[-1].sequence} "
            f"({unfinished[-1].state}). Run the export again, which goes on where it stopped"
        )
    return (
        f"expected a whole export at {destination.url}, found no record of any. Only a copy that "
        "prefect-freight made can be verified"
    )


def _job(run: Run, destination: Store, level: VerifyLevel) -> Job:
    return Job(
        export_id=run.export_id,
        sequence=run.sequence,
        snapshot=Snapshot(run.source, run.ref, run.snapshot),
        destination=destination.url,
        # What the copy holds was written: there is nothing left to refuse.
        options=Options(
            Format(run.format), level, max_fill_chunks=sys.maxsize, selection=run.selection
        ),
        started_at=run.started_at,
        resumed=False,
        base=run.snapshot,
    )


def _note(run: Run) -> str:
    return (
        f"run {run.sequence}, of {run.ref} (snapshot {run.snapshot}), began later and is "
        f"{run.state}: what it changed is not what this manifest says"
    )
