"""Each task works alone, in a flow of somebody's own."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from histories import History, create, data, delete, write
from prefect import flow

from prefect_freight import export, tasks
from prefect_freight.control.lock import hold_lock
from prefect_freight.model import Job, Options, Outcome, Plan, Round
from prefect_freight.plan.differences import Differences
from prefect_freight.sources import Source
from prefect_freight.sources.icechunk.source import IcechunkSource
from prefect_freight.steps.compute_diff import compute_diff
from prefect_freight.steps.move_unit import move_unit
from prefect_freight.steps.open_job import look_at_job, open_job
from prefect_freight.steps.write_manifest import write_manifest
from prefect_freight.stores import Store
from prefect_freight.stores.urls import open_store

pytestmark = pytest.mark.usefixtures("prefect_server")
OPTIONS = Options(settle_s=0)


@pytest.fixture
def source(tmp_path: Path) -> Source:
    history = History(tmp_path / "repository")
    history.commit(create("a"), create("g/b", 7))
    return IcechunkSource(str(history.path))


@pytest.fixture
def destination(tmp_path: Path) -> Store:
    return open_store(str(tmp_path / "copy"))


@pytest.fixture
def job(source: Source, destination: Store) -> Job:
    return open_job(source, destination, source.resolve("main"), OPTIONS)


@pytest.fixture
def plan(source: Source, destination: Store, job: Job) -> Plan:
    return compute_diff(destination, job, write_manifest(source, destination, job))


def alone(task: Callable[..., Any], *args: object, **options: object) -> Any:
    """Run a task as all that a flow does."""

    @flow
    def mine() -> Any:
        return task(*args, **options)

    return mine()


def test_resolve(source: Source) -> None:
    assert alone(tasks.resolve, source, "main") == source.resolve("main")


def test_look_at_job_and_open_job(source: Source, destination: Store, tmp_path: Path) -> None:
    snapshot = source.resolve("main")
    looked = alone(tasks.look_at_job, source, destination, snapshot, OPTIONS)
    assert not (tmp_path / "copy").exists()
    opened = alone(tasks.open_job, source, destination, snapshot, OPTIONS)
    assert opened.area == looked.area
    assert look_at_job(source, destination, snapshot, OPTIONS).resumed


def test_write_manifest_and_compute_diff(source: Source, destination: Store, job: Job) -> None:
    manifest = alone(tasks.write_manifest, source, destination, job)
    plan = alone(tasks.compute_diff, destination, job, manifest)
    assert plan == compute_diff(destination, job, write_manifest(source, destination, job))
    assert (plan.totals["arrays"], len(plan.of(Round.CHUNKS))) == (2, 1)


def test_move_unit(
    source: Source, destination: Store, job: Job, plan: Plan, tmp_path: Path
) -> None:
    (unit,) = plan.of(Round.CHUNKS)
    outcome = alone(tasks.move_unit, source, destination, job, unit)
    assert outcome.done == outcome.transferred == unit.objects == len(data(tmp_path / "copy"))


def test_a_unit_that_is_not_done_fails_its_task(
    source: Source, destination: Store, job: Job, plan: Plan
) -> None:
    (unit,) = plan.of(Round.CHUNKS)
    attempts = tasks.Attempts()
    attempts.stop()
    with pytest.raises(tasks.UnitIncompleteError, match="when 0 objects were done"):
        alone(tasks.move_unit, source, destination, job, unit, attempts=attempts)


def test_verify_copy_and_finish(source: Source, destination: Store, job: Job, plan: Plan) -> None:
    missing = alone(tasks.verify_copy, source, destination, job)
    assert missing.missing == plan.objects
    outcome = sum(
        (move_unit(source, destination, job, unit, threads=2) for unit in plan.units), Outcome()
    )
    assert alone(tasks.verify_copy, source, destination, job) == Differences()
    report = alone(tasks.finish, destination, job, plan, outcome, Differences())
    assert destination.read(report.marker)


def test_a_flow_of_all_of_them_makes_what_an_export_makes(
    source: Source, destination: Store, tmp_path: Path
) -> None:
    there = destination

    @flow
    def mine() -> bool:
        snapshot = tasks.resolve(source, "main")
        with hold_lock(there) as lock:
            destination = lock.destination
            job = tasks.open_job(source, destination, snapshot, OPTIONS)
            manifest = tasks.write_manifest(source, destination, job)
            plan, outcome = tasks.compute_diff(destination, job, manifest), Outcome()
            for round_ in Round:
                for units in plan.phases(round_):
                    futures = [
                        tasks.move_unit.submit(source, destination, job, unit) for unit in units
                    ]
                    for future in futures:
                        outcome += future.result()
            differences = tasks.verify_copy(source, destination, job)
            return tasks.finish(destination, job, plan, outcome, differences).whole

    assert mine()
    export(source, tmp_path / "other")
    assert data(tmp_path / "copy") == data(tmp_path / "other")


def test_a_pipeline_learns_what_changed_between_two_snapshots(tmp_path: Path) -> None:
    history = History(tmp_path / "repository")
    first = history.commit(create("a", 30), create("b"))
    history.commit(write("a", slice(3, 6), 9), delete("b"))

    @flow
    def mine() -> tuple[Plan, list[dict[str, str]]]:
        source, scratch = IcechunkSource(str(history.path)), open_store(str(tmp_path / "scratch"))
        options = Options(from_ref=first, on_existing="merge")
        job = tasks.look_at_job(source, scratch, tasks.resolve(source, "main"), options)
        plan = tasks.compute_diff(scratch, job, tasks.write_manifest(source, scratch, job))
        changed = [table.select(["key", "action"]) for table in tasks.read_entries(scratch, job)]
        return plan, [row for table in changed for row in table.to_pylist()]

    plan, rows = mine()
    assert {"key": "a/1", "action": "put"} in rows
    assert {row["key"] for row in rows if row["action"] == "delete"} >= {"b/0", "b/.zarray"}
    assert not {"a/0", "a/.zarray"} & {row["key"] for row in rows}
    assert plan.objects == len(rows)
