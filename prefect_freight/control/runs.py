"""What exports a destination has seen: one record per run, in the order of the runs.

`.freight/runs/<sequence>-<export id>.json` tells what a run is and how it ended, and
`.freight/last.json` names the last one that ended whole. A run's manifest and ledger lie in
`.freight/<sequence>-<export id>/`, so a later run of the same export never meets an older ledger.
"""

import dataclasses
import getpass
import os
import socket
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from prefect_freight.control.sealed import read_record, write_record
from prefect_freight.errors import UnsoundError
from prefect_freight.model import CONTROL_AREA, EVERYTHING, Format, Job, Selection
from prefect_freight.stores import Store
from prefect_freight.stores.pages import list_keys

LAST = f"{CONTROL_AREA}/last.json"
RUNS = f"{CONTROL_AREA}/runs/"

RunState = Literal["open", "whole", "failed", "unsound"]
"""`unsound`: what it recorded was found not to be what lies there; never resumed, nor relied on."""


@dataclass(frozen=True, slots=True)
class Run:
    """One run of an export, as the destination's control area records it."""

    sequence: int
    export_id: str
    state: RunState
    source: str
    ref: str
    snapshot: str
    format: str
    started_at: float
    """Seconds since the epoch."""
    host: str
    pid: int
    user: str
    ended_at: float | None = None
    objects: int | None = None
    """Objects that it was to put and delete, once it has ended."""
    done: int | None = None
    """Those of them that are recorded as done."""
    base_assumed: bool = False
    """It took the user's word that a copy lay there, whose manifest is in its area too."""
    is_damaged: bool = False
    """Its record cannot be read: no more is known of it than the record's name tells."""
    was_whole: bool = False
    """It had ended whole, before it was found unsound."""
    selection: Selection = EVERYTHING
    """What of the snapshot it exported."""
    is_planned: bool = False
    """It has written down what it does; without that record, nobody knows what it did."""

    @property
    def was_planned(self) -> bool:
        """The same, of runs of old versions too, which said so when they had ended."""
        return self.is_planned or self.objects is not None

    @property
    def ended_whole(self) -> bool:
        """Its manifest says what lay there, in whatever state that was found later."""
        return self.state == "whole" or self.was_whole

    @property
    def key(self) -> str:
        """Where the record lies."""
        return f"{RUNS}{self.sequence:06d}-{self.export_id}.json"

    @property
    def area(self) -> str:
        """The folder of the run's manifest and ledger."""
        return f"{CONTROL_AREA}/{self.sequence:06d}-{self.export_id}"


def run_of(job: Job, state: RunState, objects: int | None = None, done: int | None = None) -> Run:
    """Return the record of a job's run on this machine, by this user, now."""
    return Run(
        objects=objects,
        done=done,
        sequence=job.sequence,
        export_id=job.export_id,
        state=state,
        source=job.snapshot.source,
        ref=job.snapshot.ref,
        snapshot=job.snapshot.id,
        format=job.options.format.value,
        started_at=job.started_at if job.first_began_at is None else job.first_began_at,
        host=socket.gethostname(),
        pid=os.getpid(),
        user=user_name(),
        ended_at=None if state == "open" else time.time(),
        base_assumed=job.base_assumed,
        selection=job.options.selection,
        is_planned=job.is_planned or objects is not None,
    )


def write_run(destination: Store, run: Run) -> None:
    """Write the run's record, and point `last.json` at it if it ended whole.

    The pointer goes first: it alone decides that the run is whole. A record that claims it without
    the pointer would be a finished export that no later one takes as its base.
    """
    if run.state == "whole":
        write_record(destination, LAST, dataclasses.asdict(run))
    write_record(destination, run.key, dataclasses.asdict(run))


def mark_planned(destination: Store, job: Job) -> None:
    """Record of an open run that what it does is written down from now on."""
    write_run(destination, dataclasses.replace(run_of(job, "open"), is_planned=True))


def mark_unsound(destination: Store, run: Run) -> None:
    """Record of a run that ended whole that what lies there is not what it recorded.

    The pointer goes first, which is what the next export reads: whatever is killed afterwards, none
    relies on that run again until another one has ended whole.
    """
    found = dataclasses.replace(run, state="unsound", was_whole=True)
    for key in (LAST, run.key):
        write_record(destination, key, dataclasses.asdict(found))


def read_last(destination: Store) -> Run | None:
    """Return the last run that ended whole, though it may have been found unsound since.

    Where the pointer is gone or damaged, the runs' own records tell it: a run claims that it ended
    whole only after the pointer did, so none is taken for it wrongly.
    """
    last = _read(destination, LAST)
    if last is not None and not last.is_damaged:
        return last
    # Newest first: an older whole run's copy was changed by the ones after it.
    whole = (run for run in reversed(read_runs(destination)) if run.ended_whole)
    return next(whole, None)


@dataclass(frozen=True, slots=True)
class RunKey:
    """What the name of a run's record tells, without reading it."""

    key: str

    @property
    def sequence(self) -> int:
        """Number of the run; -1 if this is no name of ours."""
        number = self.key.removeprefix(RUNS).partition("-")[0]
        return int(number) if number.isdigit() else -1

    @property
    def area(self) -> str:
        """The folder of the run's manifest, diff and ledger."""
        return f"{CONTROL_AREA}/{self.key.removeprefix(RUNS).removesuffix('.json')}"


def list_runs(destination: Store) -> list[RunKey]:
    """Return the names of all runs that are recorded, in their order."""
    runs = map(RunKey, sorted(list_keys(destination, RUNS)))
    return [run for run in runs if run.sequence >= 0]


def run_area(area: str) -> str:
    """Return the folder of the run that an area belongs to: itself, or one above it.

    >>> run_area(".freight/000001-0123/base")
    '.freight/000001-0123'
    """
    return "/".join(area.split("/")[:2])


def read_runs(destination: Store, after: int = -1, newest: int | None = None) -> list[Run]:
    """Return the runs with a sequence number above `after`, in their order: all or the `newest`."""
    keys = [run.key for run in list_runs(destination) if run.sequence > after]
    keys = keys if newest is None else keys[-newest:]
    # None where `forget_run` removed the record after the listing.
    runs = [_read(destination, key) for key in keys]
    return [run for run in runs if run is not None]


def runs_since_whole(destination: Store) -> tuple[Run | None, list[Run]]:
    """Return the last run that ended whole, and the runs from it on: they left what lies there."""
    last = read_last(destination)
    since = read_runs(destination, after=last.sequence if last else 0)
    return last, [last, *since] if last else since


def earlier_runs(destination: Store, job: Job) -> list[Run]:
    """Return the runs before the job's own that left what lies at the destination."""
    return [run for run in runs_since_whole(destination)[1] if run.sequence < job.sequence]


def _read(destination: Store, key: str) -> Run | None:
    # Not skipped, as a bad ledger record is: without its run, what it put would not be ours to
    # delete, and the copy would keep objects of another snapshot.
    try:
        record = read_record(destination, key, {1: Run})
        if record is None:
            return None
        selection = _selection(record.values.get("selection", {}))
    except (UnsoundError, TypeError):
        return _damaged(RunKey(key))
    names = {field.name for field in dataclasses.fields(Run)}
    values = record.values | {"selection": selection}
    run = Run(**{name: value for name, value in values.items() if name in names})
    is_another = key not in (LAST, run.key) or run.format not in [*Format]
    return _damaged(RunKey(key)) if is_another else run


def _selection(values: Mapping[str, Any]) -> Selection:
    """Return a recorded selection; raises `TypeError` for one that only a later version knows."""
    # Of a run's other fields unknown ones are skipped; here that would be another selection.
    fields = {name: v if isinstance(v, str) else tuple(v) for name, v in values.items()}
    return Selection(**fields)  # type: ignore[arg-type]


def _damaged(key: RunKey) -> Run:
    """Return what the name of a record tells of its run; nothing is relied on that it recorded."""
    export_id = key.area.rpartition("/")[2].partition("-")[2]
    return Run(
        key.sequence,
        export_id,
        "unsound",
        source="?",
        ref="?",
        snapshot="?",
        format="?",
        started_at=0,
        host="?",
        pid=0,
        user="?",
        is_damaged=True,
    )


def user_name() -> str:
    """Return the name of the user that this process runs as."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return str(os.getuid())
