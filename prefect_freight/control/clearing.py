"""Removing records: of a run that was refused, and of old ones that nothing refers to."""

import itertools
from collections.abc import Iterable, Iterator

from prefect_freight.control.manifest import Manifest, read_manifest
from prefect_freight.control.runs import list_runs, run_area, run_of
from prefect_freight.model import Job
from prefect_freight.retry import retrying
from prefect_freight.stores import Store

KEYS_PER_DELETE = 1_000


def remove_old_runs(destination: Store, job: Job) -> int:
    """Remove what is recorded of runs before a whole one, but of the last ones and those needed.

    `job.options.keep_runs` runs keep their records. Of any older one the manifest stays as long as
    sections of the copy lie in it. Returns how many runs lost theirs. What this export does not
    come to remove, the next one does.
    """
    manifest = read_manifest(destination, job.area)
    if manifest is None:
        return 0
    # Only this manifest counts: older ones list sections of copies that lie there no more.
    needed = needed_areas(manifest)
    # Of another export nothing is at risk: this one holds the lock, and has just become the last.
    newest_old = job.sequence - job.options.keep_runs
    old = [run for run in list_runs(destination) if run.sequence <= newest_old]
    unneeded = [run for run in old if run.area not in needed]
    for run in unneeded:
        # The record goes last: as long as it lies there, it is known that there is more to remove.
        _delete(destination, list(_keys_below(destination, f"{run.area}/")))
        _delete(destination, [run.key])
    return len(unneeded)


def forget_run(destination: Store, job: Job) -> None:
    """Remove all that a run wrote, one that moved nothing."""
    _delete(destination, list(_keys_below(destination, f"{job.area}/")))
    _delete(destination, [run_of(job, "open").key])


def needed_areas(manifest: Manifest) -> set[str]:
    """Return the folders of the runs whose manifests hold sections of a copy."""
    areas = {manifest.area, *(area for section in manifest.sections for area in section.areas)}
    return {run_area(area) for area in areas}


def _keys_below(destination: Store, prefix: str) -> Iterator[str]:
    for page in destination.list(prefix):
        yield from page["key"].to_pylist()


def _delete(destination: Store, keys: Iterable[str]) -> None:
    # A DeleteObjects request takes a thousand keys.
    for batch in itertools.batched(keys, KEYS_PER_DELETE):
        retrying(lambda batch=batch: destination.delete(batch))  # type: ignore[misc]
