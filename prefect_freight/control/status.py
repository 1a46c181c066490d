"""What exports a destination has seen: finished and unfinished, and the one that lies there."""

import dataclasses
from dataclasses import dataclass
from typing import Any

from prefect_freight.control.diff import read_diff
from prefect_freight.control.holder import Holder, read_holder
from prefect_freight.control.ledger import recorded_batches
from prefect_freight.control.runs import Run, read_last, read_runs
from prefect_freight.errors import UnsoundError
from prefect_freight.model import FORMAT_VERSION
from prefect_freight.stores import Store

MAX_RUNS = 20


@dataclass(frozen=True, slots=True)
class RunStatus:
    """One run and how far it came."""

    run: Run
    objects: int | None
    """Entries of its manifest; None where none was written whole."""
    done: int | None
    """Those of them in batches that the ledger has."""
    is_current: bool
    """Its copy is what lies there, unless a later run has begun to change it."""


@dataclass(frozen=True, slots=True)
class Status:
    """All runs that a destination has seen."""

    destination: str
    runs: tuple[RunStatus, ...]
    holder: Holder | None
    """Who exports there now."""

    def to_dict(self) -> dict[str, Any]:
        """Return the status as plain JSON values."""
        return {"format_version": FORMAT_VERSION} | dataclasses.asdict(self)


def read_status(destination: Store) -> Status:
    """Return what exports the destination has seen, oldest first: the newest `MAX_RUNS`.

    That costs a request a run, and of one that has not ended a listing of its ledger.
    """
    last = read_last(destination)
    runs = tuple(_status(destination, run, last) for run in _newest_runs(destination, last))
    return Status(destination.url, runs, read_holder(destination))


def _newest_runs(destination: Store, last: Run | None) -> list[Run]:
    runs = read_runs(destination, newest=MAX_RUNS)
    # The record of what lies there is its pointer's too, and may be older than all of these.
    is_older = last is not None and last.sequence not in {run.sequence for run in runs}
    return [last, *runs] if last is not None and is_older else runs


def _status(destination: Store, run: Run, last: Run | None) -> RunStatus:
    is_current = last is not None and run.sequence == last.sequence
    # Its record has the numbers from when it ended; then nothing else need be read.
    if run.objects is not None:
        done = run.objects if run.state == "whole" else run.done
        return RunStatus(run, run.objects, done, is_current)
    try:
        diff = read_diff(destination, run.area)
    except UnsoundError:
        diff = None
    if diff is None:
        return RunStatus(run, None, None, is_current)
    objects = diff.plan.objects
    done = objects if run.state == "whole" else diff.count(recorded_batches(destination, run.area))
    return RunStatus(run, objects, done, is_current)
