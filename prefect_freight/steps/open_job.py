"""Opening an export at its destination: new, unfinished (then resumed), or whole already."""

import itertools
import os
import time
from collections.abc import Sequence
from dataclasses import replace
from urllib.parse import unquote, urlsplit

from prefect_freight.control.manifest import is_manifest, read_manifest
from prefect_freight.control.runs import Run, read_last, read_runs, run_of, write_run
from prefect_freight.errors import DestinationError, UnsoundError
from prefect_freight.formats.choice import check_format
from prefect_freight.model import Job, Options, Snapshot
from prefect_freight.plan.report import plan_export_id
from prefect_freight.sources import Source
from prefect_freight.steps.verify_copy import compare, list_data
from prefect_freight.stores import Store
from prefect_freight.stores.remembering import Remembering

KEYS_IN_MESSAGE = 3
ASSUMED = (
    "that a copy of {ref} (snapshot {snapshot}) lay there was taken on the user's word: nothing "
    "there recorded it"
)
VERSION1 = "an export of an earlier version was left unfinished there, so all of it was copied"
UNSOUND = "what lay there was not what its record said, so all of it was copied"


def open_job(source: Source, destination: Store, snapshot: Snapshot, options: Options) -> Job:
    """Return the job that `look_at_job` returns, recorded at the destination as begun."""
    job = look_at_job(source, destination, snapshot, options)
    if not job.already_whole:
        write_run(destination, run_of(job, "open"))
    return job


def look_at_job(source: Source, destination: Store, snapshot: Snapshot, options: Options) -> Job:
    """Return the job of this export at this destination; nothing is written.

    The same export, left unfinished, is resumed; one that is whole, and still lies there whole, is
    `already_whole`. Raises `DestinationError` if the destination lies inside the source, holds
    anything not ours (unless told to merge), or a copy of another kind; `InputError` for a format
    that the source has nothing of.
    """
    # Several questions are asked of the same manifest, and each would cost a request.
    destination = Remembering(destination, is_manifest)
    check_format(source, options.format)
    _refuse_overlap(source, destination)
    last = read_last(destination)
    since = read_runs(destination, after=last.sequence if last else 0)
    earlier = [last, *since] if last else since
    if not earlier:
        _refuse_occupied(destination, options)
    _refuse_other_copy(earlier, snapshot, options, destination)
    sound = all(run.state != "unsound" for run in earlier) and _is_recorded(last, destination)
    if _is_whole(earlier, snapshot):
        job = _whole_job(earlier[-1], snapshot, options, destination)
        if _still_whole(destination, job):
            return job
        sound = False
    base = _plan_base(source, options, last, destination)
    # Where the record was found wrong, no difference to it can be relied on.
    job = _plan_job(earlier, snapshot, options, destination, base if sound else (None, False))
    if not sound:
        job = replace(job, notes=(UNSOUND,))
    elif _is_after_version1(earlier, job, destination):
        job = _plan_job(earlier, snapshot, options, destination, (None, False))
        job = replace(job, notes=(VERSION1,))
    if job.base_assumed:
        job = replace(job, notes=(ASSUMED.format(ref=options.from_ref, snapshot=job.base),))
    return job


def _is_recorded(last: Run | None, destination: Store) -> bool:
    """Say whether the manifest of the last whole copy can be read, if there is such a copy."""
    return last is None or read_manifest(destination, last.area) is not None


def _is_after_version1(earlier: Sequence[Run], job: Job, destination: Store) -> bool:
    """Say whether an earlier version left a run unfinished that this job does not resume.

    What such a run touched is known by its keys alone, and not what they were part of.
    """
    unfinished = [run for run in earlier if run.state != "whole" and run.sequence < job.sequence]
    manifests = (read_manifest(destination, run.area) for run in unfinished)
    return job.base is not None and any(m is not None and m.version == 1 for m in manifests)


def _is_whole(earlier: Sequence[Run], snapshot: Snapshot) -> bool:
    return bool(
        earlier
        and earlier[-1].state == "whole"
        and (earlier[-1].source, earlier[-1].snapshot) == (snapshot.source, snapshot.id)
    )


def _whole_job(run: Run, snapshot: Snapshot, options: Options, destination: Store) -> Job:
    return Job(
        export_id=run.export_id,
        sequence=run.sequence,
        snapshot=snapshot,
        destination=destination.url,
        options=options,
        started_at=time.time(),
        resumed=False,
        already_whole=True,
    )


def _plan_base(
    source: Source, options: Options, last: Run | None, destination: Store
) -> tuple[str | None, bool]:
    """Return the snapshot whose copy lies there, and whether only the user says so."""
    if options.from_ref is None or (options.from_ref == "last" and last is None):
        return None, False
    if options.from_ref == "last" and last is not None:
        return last.snapshot, False
    wanted = source.resolve(options.from_ref).id
    if last is None and options.on_existing != "merge":
        raise DestinationError(
            f"expected a copy of {options.from_ref} (snapshot {wanted}) at {destination.url}, "
            "found no record of any, so exporting only the difference would leave holes. Export "
            "without --from-ref; or, if such a copy does lie there, add --on-existing merge"
        )
    if last is not None and last.snapshot != wanted:
        raise DestinationError(
            f"expected a copy of {options.from_ref} (snapshot {wanted}) at {destination.url}, "
            f"found one of {last.ref} (snapshot {last.snapshot}). Say --from-ref last for the "
            "difference to that, or leave --from-ref out to copy all"
        )
    return wanted, last is None


def _plan_job(
    earlier: Sequence[Run],
    snapshot: Snapshot,
    options: Options,
    destination: Store,
    base: tuple[str | None, bool],
) -> Job:
    base_id, assumed = base
    export_id = plan_export_id(snapshot, base_id, options)
    newest = earlier[-1] if earlier else None
    # An older unfinished run is not resumed: a later one may have changed what it recorded.
    resumed = (
        newest is not None and newest.export_id == export_id and newest.state in ("open", "failed")
    )
    sequence = newest.sequence if newest else 0
    return Job(
        export_id=export_id,
        sequence=sequence if resumed else sequence + 1,
        snapshot=snapshot,
        destination=destination.url,
        options=options,
        started_at=time.time(),
        resumed=resumed,
        base=base_id,
        base_assumed=assumed,
    )


def _still_whole(destination: Store, job: Job) -> bool:
    if read_manifest(destination, job.area) is None:
        return False
    # The record of a finished export is not taken for the copy, not even by who asks for no check.
    level = "sizes" if job.options.verify == "none" else job.options.verify
    try:
        return compare(destination, job, level).whole
    except UnsoundError:  # what says that it is whole cannot be read
        return False


def _refuse_overlap(source: Source, destination: Store) -> None:
    inner, outer = _comparable(destination.url), _comparable(source.storage_url)
    if f"{inner}/".startswith(f"{outer}/") or f"{outer}/".startswith(f"{inner}/"):
        raise DestinationError(
            f"expected a destination apart from the source, found {destination.url} and "
            f"{source.storage_url}, of which one lies inside the other. Choose another destination"
        )


def _comparable(url: str) -> str:
    parts = urlsplit(url)
    return os.path.realpath(unquote(parts.path)) if parts.scheme == "file" else url


def _refuse_occupied(destination: Store, options: Options) -> None:
    if options.on_existing == "merge":
        return
    keys = (key for table in list_data(destination) for key in table["key"].to_pylist())
    names = list(itertools.islice(keys, KEYS_IN_MESSAGE + 1))
    if names:
        shown = ", ".join(map(repr, names[:KEYS_IN_MESSAGE])) + (
            ", …" if len(names) > KEYS_IN_MESSAGE else ""
        )
        raise DestinationError(
            f"expected {destination.url} to be empty or a copy of ours, found {shown}. Nothing was "
            "touched. Choose another destination, or write beside what is there with "
            "--on-existing merge"
        )


def _refuse_other_copy(
    earlier: Sequence[Run], snapshot: Snapshot, options: Options, destination: Store
) -> None:
    for run in earlier:
        if run.format != options.format:
            raise DestinationError(
                f"expected a copy in format {options.format} at {destination.url}, found one in "
                f"format {run.format}. Export to another destination, or remove that copy first"
            )
        if run.source != snapshot.source and options.on_existing != "merge":
            raise DestinationError(
                f"expected a copy of {snapshot.source} at {destination.url}, found one of "
                f"{run.source}. Export to another destination, or replace that copy with "
                "--on-existing merge"
            )
