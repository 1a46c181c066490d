"""The main path: one export, its steps in order, and the plain loop that runs them.

Each step is a function of small picklable arguments; the Prefect flow runs the same steps as tasks.
"""

import time
from collections.abc import Callable
from pathlib import PurePath
from typing import get_args

from prefect_freight.config import StoreConfig
from prefect_freight.control.lock import Lock, hold_lock
from prefect_freight.errors import FreightError, IncompleteError, InputError, UnsoundError
from prefect_freight.events import (
    Event,
    Notice,
    OnEvent,
    Planned,
    StepFinished,
    StepStarted,
    ignore_event,
)
from prefect_freight.model import (
    ExportReport,
    Format,
    Job,
    OnExisting,
    Options,
    Outcome,
    Plan,
    Preview,
    Round,
    Snapshot,
    Unit,
    VerifyLevel,
)
from prefect_freight.plan.phases import Phases, check_phases
from prefect_freight.sources import Source
from prefect_freight.sources.kinds import open_source
from prefect_freight.steps.compute_diff import compute_diff
from prefect_freight.steps.finish import (
    fail,
    finish,
    report_finished,
    require_whole,
    verify_copy,
)
from prefect_freight.steps.move_unit import move_unit
from prefect_freight.steps.open_job import look_at_job, open_job
from prefect_freight.steps.preview import preview
from prefect_freight.steps.write_manifest import write_manifest
from prefect_freight.stores import Store
from prefect_freight.stores.urls import open_store, with_checksums

__all__ = [
    "ROUND_TEXT",
    "checked",
    "compute_diff",
    "dry_run",
    "export",
    "fail",
    "finish",
    "hold_lock",
    "look_at_job",
    "move_unit",
    "open_job",
    "plan_options",
    "report_finished",
    "require_whole",
    "resolve",
    "settle",
    "verify_copy",
    "write_manifest",
]

MAX_CONCURRENCY = 256
ROUND_TEXT = {
    Round.WITHDRAW: "Taking changed arrays out of view",
    Round.CLEAR: "Making room for them",
    Round.CHUNKS: "Copying chunks",
    Round.OBJECTS: "Copying objects",
    Round.DOCUMENTS: "Writing metadata",
    Round.ROOT: "Writing consolidated metadata",
    Round.DELETES: "Deleting what is gone",
}


def export(
    source: str | PurePath | Source,
    destination: str | PurePath | Store,
    *,
    ref: str = "main",
    from_ref: str | None = None,
    rounds: Phases = (),
    settle_s: float = 2.0,
    format: str = "zarr2",  # noqa: A002 - the option's name
    concurrency: int = 64,
    verify: VerifyLevel = "sizes",
    on_existing: OnExisting = "refuse",
    config: StoreConfig | None = None,
    source_config: StoreConfig | None = None,
    on_event: OnEvent = ignore_event,
) -> ExportReport:
    """Make the destination a plain copy of a snapshot, and return the report of it.

    With `from_ref` only the difference to the copy of that ref is moved, which must lie there;
    `last` is whichever does, or nothing. Before anything goes that a reader may have just opened,
    the export waits `settle_s` seconds. `config` and `source_config` are the credentials of
    destination and source, where these are given as URLs. Running it again after a failure moves
    only what is missing.

    `rounds` orders chunks: those whose key matches the first expression move when all that match
    none are there, and so on; see `prefect_freight.plan.phases.plan_phases`.

    Raises `InputError` for what the caller can mend, with nothing written; `IncompleteError`, with
    the report, if objects could not be moved or the copy does not verify; `AccessError` and
    `TransientError` if a store cannot be used.
    """
    options = plan_options(
        format,
        concurrency,
        verify,
        on_existing,
        from_ref=from_ref,
        rounds=rounds,
        settle_s=settle_s,
        on_event=on_event,
    )
    source, destination = _opened(source, source_config, destination, config)
    destination = checked(destination, options)
    step = _Steps(on_event)
    snapshot = step(f"Resolving {ref}", lambda: resolve(source, ref))
    job = step(
        f"Checking {destination.url}", lambda: look_at_job(source, destination, snapshot, options)
    )
    if job.finished:
        return report_finished(destination, job)
    with hold_lock(destination, on_event) as lock:
        # Looked at again: another export may have ended between the look and the lock.
        job = open_job(source, destination, snapshot, options)
        if job.finished:
            return report_finished(destination, job)
        try:
            return _Export(source, destination, job, concurrency, step, lock).run()
        except UnsoundError as error:
            on_event(Notice(f"{error}: doing so, all of it is copied anew"))
            job = open_job(source, destination, snapshot, options)
            return _Export(source, destination, job, concurrency, step, lock).run()


def dry_run(
    source: str | PurePath | Source,
    destination: str | PurePath | Store,
    *,
    ref: str = "main",
    from_ref: str | None = None,
    format: str = "zarr2",  # noqa: A002 - the option's name
    on_existing: OnExisting = "refuse",
    config: StoreConfig | None = None,
    source_config: StoreConfig | None = None,
    on_event: OnEvent = ignore_event,
) -> Preview:
    """Return what `export` with the same arguments would do; nothing is written anywhere.

    Raises what `export` would raise before it moves anything.
    """
    options = plan_options(format, 1, "sizes", on_existing, from_ref=from_ref, on_event=on_event)
    source, destination = _opened(source, source_config, destination, config)
    step = _Steps(on_event)
    snapshot = step(f"Resolving {ref}", lambda: resolve(source, ref))
    job = step(
        f"Checking {destination.url}", lambda: look_at_job(source, destination, snapshot, options)
    )
    return step("Comparing", lambda: preview(source, destination, job))


def _opened(
    source: str | PurePath | Source,
    source_config: StoreConfig | None,
    destination: str | PurePath | Store,
    config: StoreConfig | None,
) -> tuple[Source, Store]:
    if isinstance(source, str | PurePath):
        source = open_source(str(source), source_config)
    if isinstance(destination, str | PurePath):
        destination = open_store(str(destination), config)
    return source, destination


def plan_options(
    format_: str,
    concurrency: int,
    verify: str,
    on_existing: str,
    *,
    from_ref: str | None = None,
    rounds: Phases = (),
    settle_s: float = 2.0,
    on_event: OnEvent = ignore_event,
) -> Options:
    """Return the options if they are possible; raises `InputError` that names the wrong one."""
    if not 1 <= concurrency <= MAX_CONCURRENCY:
        raise InputError(f"expected concurrency from 1 to {MAX_CONCURRENCY}, found {concurrency}")
    if format_ == "zarr3alpha":
        on_event(Notice("format 'zarr3alpha' is called 'zarr3' now, and is taken as that"))
        format_ = "zarr3"
    check_phases(rounds)
    if format_ not in set(Format):
        raise InputError(f"expected format {' or '.join(Format)}, found {format_!r}")
    if verify not in get_args(VerifyLevel):
        raise InputError(f"expected verify {' or '.join(get_args(VerifyLevel))}, found {verify!r}")
    if on_existing not in ("refuse", "merge"):
        raise InputError(f"expected on_existing refuse or merge, found {on_existing!r}")
    return Options(Format(format_), verify, on_existing, from_ref, rounds, settle_s)  # type: ignore[arg-type]


def checked(destination: Store, options: Options) -> Store:
    """Return the destination as the options want it written: with checksums or without."""
    return destination if options.verify in ("none", "sizes") else with_checksums(destination)


def resolve(source: Source, ref: str) -> Snapshot:
    """Pin the ref: return the snapshot that it names now."""
    return source.resolve(ref)


def settle(job: Job, plan: Plan, ended: Round) -> None:
    """Wait after a round, if the next one takes away what a reader may have just opened."""
    if ended is Round.WITHDRAW or (ended is Round.ROOT and plan.of(Round.DELETES)):
        time.sleep(job.options.settle_s)


class _Steps:
    """Runs steps one after the other and tells of each."""

    def __init__(self, on_event: OnEvent) -> None:
        self.tell: Callable[[Event], None] = on_event

    def __call__[T](self, text: str, step: Callable[[], T]) -> T:
        self.tell(StepStarted(text))
        result = step()
        self.tell(StepFinished(text))
        return result


class _Export:
    """An opened export, run in this process."""

    def __init__(
        self, source: Source, destination: Store, job: Job, threads: int, step: _Steps, lock: Lock
    ) -> None:
        self._source, self._destination, self._job = source, destination, job
        self._threads, self._step, self._lock = threads, step, lock
        self._outcome = Outcome()
        self._plan: Plan | None = None

    def run(self) -> ExportReport:
        try:
            return self._steps()
        except InputError:
            raise
        except BaseException as error:
            # An interrupt too: whatever stopped the export, the destination must say so.
            report = fail(self._destination, self._job, self._plan, self._outcome, error)
            if isinstance(error, FreightError) and not isinstance(error, UnsoundError):
                raise IncompleteError(str(error), report) from error
            raise

    def _steps(self) -> ExportReport:
        source, destination, job, step = self._source, self._destination, self._job, self._step
        text = f"Generating the manifest of snapshot {job.snapshot.id}"
        manifest = step(text, lambda: write_manifest(source, destination, job))
        text = "Computing the difference"
        plan = self._plan = step(text, lambda: compute_diff(destination, job, manifest))
        step.tell(Planned(plan.objects, plan.bytes))
        for round_, text in ROUND_TEXT.items():
            if plan.of(round_):
                step(text, lambda round_=round_: self._move(plan.phases(round_)))  # type: ignore[misc]
                settle(job, plan, round_)
        differences = step("Verifying the copy", lambda: verify_copy(source, destination, job))
        self._lock.check()
        return step(
            "Writing the marker",
            lambda: finish(destination, job, plan, self._outcome, differences),
        )

    def _move(self, phases: list[tuple[Unit, ...]]) -> None:
        for units in phases:
            self._move_units(units)
            require_whole(self._outcome)

    def _move_units(self, units: tuple[Unit, ...]) -> None:
        for unit in units:
            self._lock.check()
            self._outcome += move_unit(
                self._source,
                self._destination,
                self._job,
                unit,
                threads=self._threads,
                on_event=self._step.tell,
            )
