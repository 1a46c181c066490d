"""The steps of an export as tasks: compose them in flows of your own.

A task is its step (`prefect_freight.steps`) under the step's name, with Prefect's retries around
it; `export_repo` is all of them in their order. What they are given is small and picklable, so that
they run on any task runner, and each may run twice with the same result. The lock is not theirs: a
flow whose tasks write at a destination holds `prefect_freight.control.lock.hold_lock` meanwhile
and gives them `lock.destination`, which refuses to be written once the lock is lost. Their work is
done aside, so that a flow that is cancelled need not wait for a store.

In the examples, which go on from one another, `source` and `destination` are what
`prefect_freight.sources.kinds.open_source` and `prefect_freight.stores.urls.open_store` return, and
`options` are `prefect_freight.model.Options()`.
"""

from collections.abc import Callable

from prefect import get_run_logger, task

from prefect_freight.control.lock import Lock
from prefect_freight.control.manifest import Manifest
from prefect_freight.model import ExportReport, Job, Options, Outcome, Plan, Snapshot, Unit
from prefect_freight.plan.differences import Differences
from prefect_freight.sources import Source
from prefect_freight.steps.compute_diff import compute_diff as run_compute_diff
from prefect_freight.steps.finish import finish as run_finish
from prefect_freight.steps.finish import mark_again as run_mark_again
from prefect_freight.steps.finish import report_already_whole as run_report_already_whole
from prefect_freight.steps.move_unit import OPEN_BATCHES
from prefect_freight.steps.move_unit import move_unit as run_move_unit
from prefect_freight.steps.open_job import look_at_job as run_look_at_job
from prefect_freight.steps.open_job import open_job as run_open_job
from prefect_freight.steps.resolve import resolve as run_resolve
from prefect_freight.steps.take_lock import require_lock as run_require_lock
from prefect_freight.steps.take_lock import take_lock as run_take_lock
from prefect_freight.steps.verify_copy import verify_copy as run_verify_copy
from prefect_freight.steps.write_manifest import write_manifest as run_write_manifest
from prefect_freight.stores import Store
from prefect_freight.tasks.attempts import Attempts, UnitIncompleteError
from prefect_freight.tasks.retries import STEP
from prefect_freight.tasks.texts import diff_text, manifest_text
from prefect_freight.threads import aside


@task(**STEP, task_run_name="resolve {ref}")
def resolve(source: Source, ref: str) -> Snapshot:
    """Pin the ref: return the snapshot that it names now.

    A flow that only wants to know whether there is anything new needs no more than that::

        snapshot = resolve(source, "main")
    """
    return aside(lambda: run_resolve(source, ref))


@task(**STEP, task_run_name="look at destination")
def look_at_job(source: Source, destination: Store, snapshot: Snapshot, options: Options) -> Job:
    """Return the job of this export at this destination; nothing is written.

    For instance, to do something else where the copy is whole already::

        job = look_at_job(source, destination, snapshot, options)
        if not job.already_whole:
            ...
    """
    return aside(lambda: run_look_at_job(source, destination, snapshot, options))


@task(**STEP, task_run_name="take lock")
def take_lock(take: Callable[[], None]) -> None:
    """Take the destination's lock; `hold_lock` gives it up.

    It says what is called to take it::

    with hold_lock(destination, take=take_lock) as lock:
        ...
    """
    run_take_lock(take)


@task(**STEP, task_run_name="check lock")
def require_lock(lock: Lock) -> None:
    """Fail if it is known that the lock is lost: `export_repo` calls it where that is so."""
    run_require_lock(lock)


@task(**STEP, task_run_name="open destination")
def open_job(source: Source, destination: Store, snapshot: Snapshot, options: Options) -> Job:
    """Return the job of this export at this destination, recorded there as begun.

    All from here on holds the lock::

        with hold_lock(destination, take=take_lock) as lock:
            destination = lock.destination
            job = open_job(source, destination, snapshot, options)
            ...  # and all that is below
    """
    return aside(lambda: run_open_job(source, destination, snapshot, options))


@task(**STEP, task_run_name="write manifest")
def write_manifest(source: Source, destination: Store, job: Job) -> Manifest:
    """Write down what the copy holds, section by section, or read what an earlier run wrote down.

    In a flow of your own::

        manifest = write_manifest(source, destination, job)
        print(manifest.totals, len(manifest.sections), manifest.changed_names)
    """
    manifest = aside(lambda: run_write_manifest(source, destination, job))
    get_run_logger().info("%s", manifest_text(manifest))
    return manifest


@task(**STEP, task_run_name="compute difference")
def compute_diff(destination: Store, job: Job, manifest: Manifest) -> Plan:
    """Write down what is put, kept and deleted, and return it summed up, in units, round by round.

    Where a copy lies its marker is gone after this, since what it vouches for may now change. To
    learn what has changed between two snapshots, without a copy of either: a folder takes the
    records, and `read_entries` gives the table of what would be put and deleted::

        scratch = open_store("/tmp/what-changed")
        options = Options(from_ref="v1", on_existing="merge")
        job = look_at_job(source, scratch, resolve(source, "main"), options)
        plan = compute_diff(scratch, job, write_manifest(source, scratch, job))
        print(plan.objects, plan.bytes, plan.kept)
        for table in read_entries(scratch, job):
            print(table.select(["key", "action", "size"]))
    """
    plan = aside(lambda: run_compute_diff(destination, job, manifest))
    get_run_logger().info("%s", diff_text(plan))
    return plan


@task(**STEP, task_run_name="{unit.round} {unit.first}-{unit.stop}")
def move_unit(
    source: Source,
    destination: Store,
    job: Job,
    unit: Unit,
    *,
    threads: int = 16,
    open_batches: int = OPEN_BATCHES,
    attempts: Attempts | None = None,
) -> Outcome:
    """Move the unit's objects that the ledger does not have yet.

    Raises `UnitIncompleteError`, with the outcome, if some are not moved or not recorded.
    `attempts` adds up what the task's retries move; without it the outcome is that of the last
    attempt. A phase's units may move side by side, and all of it must be done before the next one
    begins::

        for round_ in Round:
            for units in plan.phases(round_):
                futures = [move_unit.submit(source, destination, job, unit) for unit in units]
                for future in futures:
                    outcome += future.result()
    """
    attempts = attempts or Attempts()

    def attempt(stopped: Callable[[], bool]) -> Outcome:
        return run_move_unit(
            source,
            destination,
            job,
            unit,
            threads=threads,
            open_batches=open_batches,
            stopped=stopped,
            watch=attempts.watch,
        )

    outcome = attempts.run(attempt)
    # Raised, though the outcome says it all: by a failed attempt alone Prefect tries again.
    if outcome.failures or outcome.gave_up or outcome.done < unit.objects:
        raise UnitIncompleteError(outcome)
    return outcome


@task(**STEP, task_run_name="verify {job.options.verify}")
def verify_copy(source: Source, destination: Store, job: Job) -> Differences:
    """Compare what lies at the destination with the manifest, as far as the job asks for it.

    In a flow of your own::

        differences = verify_copy(source, destination, job)
        print(differences.whole, differences.missing_keys)
    """
    return aside(lambda: run_verify_copy(source, destination, job))


@task(**STEP, task_run_name="write marker")
def finish(
    destination: Store, job: Job, plan: Plan, outcome: Outcome, differences: Differences
) -> ExportReport:
    """Write report and marker; raises `IncompleteError` if the differences say it is not whole.

    The last step of an export, with what all units came to together::

        report = finish(destination, job, plan, outcome, differences)
    """
    return aside(lambda: run_finish(destination, job, plan, outcome, differences))


@task(**STEP, task_run_name="write marker again")
def mark_again(destination: Store, job: Job) -> None:
    """Put the marker of a copy that lies there whole and has lost it; the lock is held."""
    aside(lambda: run_mark_again(destination, job))


@task(**STEP, task_run_name="read report")
def report_already_whole(destination: Store, job: Job) -> ExportReport:
    """Return the report of an export whose copy lies there whole already.

    Nothing was moved then::

        if job.already_whole:
            report = report_already_whole(destination, job)
    """
    return aside(lambda: run_report_already_whole(destination, job))
