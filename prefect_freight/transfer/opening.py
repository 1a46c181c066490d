"""Opening an export at its destination: new, unfinished (then resumed), or whole already."""

import itertools
import os
import time
from collections.abc import Sequence
from urllib.parse import unquote, urlsplit

from prefect_freight.errors import DestinationError
from prefect_freight.model import Job, Options, Snapshot
from prefect_freight.plan.report import plan_export_id
from prefect_freight.retry import retrying
from prefect_freight.sources import Source
from prefect_freight.stores import Store
from prefect_freight.transfer.manifest import read_manifest
from prefect_freight.transfer.runs import Run, read_last, read_runs, run_of, write_run
from prefect_freight.transfer.verify import compare_sizes, list_data

NAMED = 3


def open_job(source: Source, destination: Store, snapshot: Snapshot, options: Options) -> Job:
    """Return the job of this export at this destination, recorded there as begun.

    The same export, left unfinished, is resumed; one that is whole, and still lies there whole, is
    `finished`. Raises `DestinationError`, with nothing written, if the destination lies inside the
    source, holds anything not ours (unless told to merge), or a copy of another kind.
    """
    _refuse_overlap(source, destination)
    last = retrying(lambda: read_last(destination))
    since = read_runs(destination, after=last.sequence if last else 0)
    earlier = [last, *since] if last else since
    if not earlier:
        _refuse_occupied(destination, options)
    _refuse_other_copy(earlier, snapshot, options, destination)
    job = _plan_job(earlier, snapshot, options, destination)
    if job.finished and not _still_whole(destination, job):
        job = _plan_job(earlier, snapshot, options, destination, anew=True)
    if not job.finished:
        write_run(destination, run_of(job, "open"))
    return job


def earlier_runs(destination: Store, job: Job) -> list[Run]:
    """Return the runs that left what lies at the destination: the last whole one and all since."""
    last = read_last(destination)
    since = read_runs(destination, after=last.sequence if last else 0)
    return [run for run in [*([last] if last else []), *since] if run.sequence < job.sequence]


def _plan_job(
    earlier: Sequence[Run],
    snapshot: Snapshot,
    options: Options,
    destination: Store,
    *,
    anew: bool = False,
) -> Job:
    export_id = plan_export_id(snapshot, options)
    newest = earlier[-1] if earlier else None
    same = newest is not None and newest.export_id == export_id and not anew
    finished = same and newest is not None and newest.state == "whole"
    # An older unfinished run is not resumed: a later one may have changed what it recorded.
    resumed = same and newest is not None and newest.state in ("open", "failed")
    sequence = newest.sequence if newest else 0
    return Job(
        export_id=export_id,
        sequence=sequence if finished or resumed else sequence + 1,
        snapshot=snapshot,
        destination=destination.url,
        options=options,
        started_at=time.time(),
        resumed=resumed,
        finished=finished,
    )


def _still_whole(destination: Store, job: Job) -> bool:
    manifest = read_manifest(destination, job)
    if manifest is None:
        return False
    return job.options.verify == "none" or compare_sizes(destination, job).whole


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
    names = list(itertools.islice(keys, NAMED + 1))
    if names:
        shown = ", ".join(map(repr, names[:NAMED])) + (", …" if len(names) > NAMED else "")
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
