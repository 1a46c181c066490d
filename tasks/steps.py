"""The steps of `prefect_freight.exporting` as tasks.

What they are given is small and picklable, so that they run on any task runner. Each may run twice
with the same result.
"""

from collections.abc import Callable

from prefect import task

from prefect_freight import exporting
from prefect_freight.control.manifest import Manifest
from prefect_freight.model import ExportReport, Job, Options, Outcome, Plan, Snapshot, Unit
from prefect_freight.plan.differences import Differences
from prefect_freight.sources import Source
from prefect_freight.steps.move_unit import OPEN_BATCHES
from prefect_freight.stores import Store
from prefect_freight.tasks.attempts import Attempts, UnitIncompleteError
from prefect_freight.tasks.retries import STEP


@task(**STEP, task_run_name="resolve {ref}")
def resolve(source: Source, ref: str) -> Snapshot:
    """Pin the ref: return the snapshot that it names now."""
    return exporting.resolve(source, ref)


@task(**STEP, task_run_name="look at destination")
def look_at_job(source: Source, destination: Store, snapshot: Snapshot, options: Options) -> Job:
    """Return the job of this export at this destination; nothing is written."""
    return exporting.look_at_job(source, destination, snapshot, options)


@task(**STEP, task_run_name="open destination")
def open_job(source: Source, destination: Store, snapshot: Snapshot, options: Options) -> Job:
    """Return the job of this export at this destination, recorded there as begun."""
    return exporting.open_job(source, destination, snapshot, options)


@task(**STEP, task_run_name="write manifest")
def write_manifest(source: Source, destination: Store, job: Job) -> Manifest:
    """Write the job's manifest at the destination, or read the one that an earlier run left."""
    return exporting.write_manifest(source, destination, job)


@task(**STEP, task_run_name="compute diff")
def compute_diff(destination: Store, job: Job, manifest: Manifest) -> Plan:
    """Write down what must be done."""
    return exporting.compute_diff(destination, job, manifest)


@task(**STEP, task_run_name="{unit.round} {unit.first}-{unit.stop}")
def move_unit(
    source: Source,
    destination: Store,
    job: Job,
    unit: Unit,
    *,
    threads: int,
    open_batches: int = OPEN_BATCHES,
    attempts: Attempts | None = None,
) -> Outcome:
    """Move the unit's objects that the ledger does not have yet.

    Raises `UnitIncompleteError`, with the outcome, if some could not be moved. `attempts` adds up
    what the task's retries move; without it the outcome is that of the last attempt.
    """

    def attempt(stopped: Callable[[], bool]) -> Outcome:
        return exporting.move_unit(
            source,
            destination,
            job,
            unit,
            threads=threads,
            open_batches=open_batches,
            stopped=stopped,
        )

    outcome = (attempts or Attempts()).run(attempt)
    if outcome.failures:
        raise UnitIncompleteError(outcome)
    return outcome


@task(**STEP, task_run_name="verify {job.options.verify}")
def verify_copy(source: Source, destination: Store, job: Job) -> Differences:
    """Compare what lies at the destination with the manifest, as far as the job asks for it."""
    return exporting.verify_copy(source, destination, job)


@task(**STEP, task_run_name="write marker")
def finish(
    destination: Store, job: Job, plan: Plan, outcome: Outcome, differences: Differences
) -> ExportReport:
    """Write report and marker; raises `IncompleteError` if the differences say it is not whole."""
    return exporting.finish(destination, job, plan, outcome, differences)
