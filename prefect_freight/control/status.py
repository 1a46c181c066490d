"""What exports a destination has seen: finished and unfinished, and the one that lies there."""

import dataclasses
from dataclasses import dataclass
from typing import Any

from prefect_freight.control.diff import read_diff
from prefect_freight.control.doings import count_done
from prefect_freight.control.holder import Holder, read_holder
from prefect_freight.control.runs import Run, read_last, read_runs
from prefect_freight.errors import InputError, UnsoundError
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
    """Those of them that are recorded as done."""
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

    That costs a request a run; and of one that has not ended, or that may be resumed, as many as
    its ledger has records. Raises `InputError` for a place that no export was at.
    """
    last = read_last(destination)
    runs = _newest_runs(destination, last)
    told = tuple(_status(destination, run, last, is_newest=run is runs[-1]) for run in runs)
    holder = read_holder(destination)
    if not told and holder is None:
        raise nothing_recorded(destination)
    return Status(destination.url, told, holder)


def nothing_recorded(destination: Store) -> InputError:
    """Return the error of a place that no export was at: a mistyped one, as a rule."""
    return InputError(
        f"expected a place that something was exported to, found no record of any export at "
        f"{destination.url}. Check the path or URL"
    )


def _newest_runs(destination: Store, last: Run | None) -> list[Run]:
    runs = read_runs(destination, newest=MAX_RUNS)
    # The record of what lies there is its pointer's too, and may be older than all of these.
    is_older = last is not None and last.sequence not in {run.sequence for run in runs}
    return [last, *runs] if last is not None and is_older else runs


def _status(destination: Store, run: Run, last: Run | None, *, is_newest: bool) -> RunStatus:
    is_current = last is not None and run.sequence == last.sequence
    if run.objects is not None and run.state == "whole":
        return RunStatus(run, run.objects, run.objects, is_current)
    # The record of a run that failed has what its last attempt came to; what earlier ones had done
    # and this one did not come to is in the ledger alone. Only the newest is ever resumed.
    if run.objects is not None and not is_newest:
        return RunStatus(run, run.objects, run.done, is_current)
    try:
        diff = read_diff(destination, run.area)
    except UnsoundError:
        diff = None
    if diff is None:
        return RunStatus(run, run.objects, run.done, is_current)
    objects = diff.plan.objects
    done = objects if run.state == "whole" else count_done(destination, diff)
    return RunStatus(run, objects, done, is_current)
