"""Removing records: of a run that was refused, and of old ones that nothing refers to."""

import dataclasses
import itertools
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from prefect_freight.control.manifest import Manifest, read_manifest
from prefect_freight.control.runs import RunKey, list_runs, read_last, run_area, run_of
from prefect_freight.errors import UnsoundError
from prefect_freight.model import CONTROL_AREA, Job
from prefect_freight.retry import retrying
from prefect_freight.stores import Store
from prefect_freight.stores.pages import list_keys

KEYS_PER_DELETE = 1_000
AREA = re.compile(rf"({re.escape(CONTROL_AREA)}/\d{{6,}}-[0-9a-f]+)/.")


@dataclass(frozen=True, slots=True)
class Removable:
    """What is recorded of one run, and needed by nothing."""

    area: str
    """The folder of its manifest, diff and ledger."""
    recorded: bool
    """It has a record; else it is what was left of a run that was refused or removed."""
    objects: int
    bytes: int

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain JSON values."""
        return dataclasses.asdict(self)


def remove_old_runs(destination: Store, job: Job) -> int:
    """Remove what is recorded of runs before a whole one, but of the last ones and those needed.

    `job.options.keep_runs` runs keep their records. Of any older one the manifest stays as long as
    sections of the copy lie in it. Returns how many runs lost theirs. What this export does not
    come to remove, the next one does.
    """
    manifest = read_manifest(destination, job.area)
    if manifest is None:
        return 0
    # Of another export nothing is at risk: this one holds the lock, and has just become the last.
    newest_old = job.sequence - job.options.keep_runs
    unneeded = _unneeded(list_runs(destination), newest_old, manifest)
    for run in unneeded:
        _remove(destination, run.area, run.key)
    return len(unneeded)


def find_removable(destination: Store, keep: int) -> list[Removable]:
    """Return what nothing at a destination needs, apart from the last `keep` runs before the last.

    Needed are the last whole run and those whose manifests hold parts of its copy; and all since,
    which may be resumed, and tell what may lie there. What has no record is what removals that were
    cut off have left. Raises `UnsoundError` if it cannot be read what is needed.
    """
    last = read_last(destination)
    runs = list_runs(destination)
    areas = {run.area for run in runs}
    removable: list[str] = []
    needed: set[str] = set()
    if last is not None:
        manifest = read_manifest(destination, last.area)
        if manifest is None:
            raise UnsoundError(
                f"expected the manifest of the last whole export at {destination.url}/{last.area}, "
                "which tells what is needed, found none that can be read"
            )
        # The last one itself does not count among those that are kept.
        removable = [run.area for run in _unneeded(runs, last.sequence - 1 - keep, manifest)]
        needed = needed_areas(manifest)
    sizes = _sizes(destination)
    # The record of a run goes last, so an area without one is what a removal has left.
    leftovers = sizes.keys() - areas - needed
    return [
        Removable(area, area in areas, *sizes.get(area, (0, 0)))
        for area in sorted({*removable, *leftovers})
    ]


def remove(destination: Store, found: Removable) -> None:
    """Remove what `find_removable` found."""
    keys = {run.area: run.key for run in list_runs(destination)} if found.recorded else {}
    _remove(destination, found.area, keys.get(found.area))


def forget_run(destination: Store, job: Job) -> None:
    """Remove all that a run wrote, one that moved nothing."""
    _remove(destination, job.area, run_of(job, "open").key)


def needed_areas(manifest: Manifest) -> set[str]:
    """Return the folders of the runs whose manifests hold sections of a copy."""
    areas = {manifest.area, *(area for section in manifest.sections for area in section.areas)}
    return {run_area(area) for area in areas}


def _unneeded(runs: Sequence[RunKey], newest_old: int, manifest: Manifest) -> list[RunKey]:
    """Return the runs up to a sequence number that a copy does not lie in."""
    # Only its own manifest counts: older ones list sections of copies that lie there no more.
    needed = needed_areas(manifest)
    return [run for run in runs if run.sequence <= newest_old and run.area not in needed]


def _sizes(destination: Store) -> dict[str, tuple[int, int]]:
    """Return (objects, bytes) of each run's folder, whether it has a record or not."""
    objects, sizes = Counter[str](), Counter[str]()
    for page in destination.list(f"{CONTROL_AREA}/"):
        for key, size in zip(page["key"].to_pylist(), page["size"].to_pylist(), strict=True):
            if match := AREA.match(key):
                objects[match[1]] += 1
                sizes[match[1]] += size
    return {area: (objects[area], sizes[area]) for area in objects}


def _remove(destination: Store, area: str, record: str | None) -> None:
    _delete(destination, list(list_keys(destination, f"{area}/")))
    # The record goes last: as long as it lies there, it is known that there is more to remove.
    if record is not None:
        _delete(destination, [record])


def _delete(destination: Store, keys: Iterable[str]) -> None:
    # A DeleteObjects request takes a thousand keys.
    for batch in itertools.batched(keys, KEYS_PER_DELETE):
        retrying(lambda batch=batch: destination.delete(batch))  # type: ignore[misc]
