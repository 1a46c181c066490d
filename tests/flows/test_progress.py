"""The progress of a flow run moves while its units move, wherever they do."""

import logging
import threading
from pathlib import Path

import pytest
from histories import History, create
from prefect.task_runners import ProcessPoolTaskRunner
from scripted import ScriptedObjectStore, ScriptedStore
from slow_store import SlowObjectStore
from told import percent, until

from prefect_freight.control.ledger import BatchRecord, Ledger
from prefect_freight.flows import export_repo
from prefect_freight.flows.progress import LINE_EVERY_S, Progress
from prefect_freight.model import Job, Options, Outcome, Plan, Round, Unit
from prefect_freight.sources.icechunk.source import IcechunkSource
from prefect_freight.steps.open_job import open_job
from prefect_freight.stores import Store
from prefect_freight.stores.urls import open_store
from prefect_freight.tasks import Tally

pytestmark = pytest.mark.usefixtures("prefect_server")
CHUNKS, NTH = 300, 100
BATCH = 250


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    history = History(tmp_path_factory.mktemp("progress") / "repository")
    history.commit(create("a", CHUNKS, chunks=(1,)))
    return history.path


@pytest.fixture
def destination(tmp_path: Path) -> Store:
    return open_store(str(tmp_path / "copy"))


@pytest.fixture
def job(source: Path, destination: Store) -> Job:
    repository = IcechunkSource(str(source))
    return open_job(repository, destination, repository.resolve("main"), Options())


def test_the_artifact_moves_while_a_unit_moves(source: Path, destination: Store) -> None:
    store, seen, numbers = ScriptedStore(destination), [], iter(range(CHUNKS))

    def script(operation: str, key: str) -> None:
        if operation == "write" and key.startswith("a/") and next(numbers, 0) == NTH:
            seen.append(until(lambda: percent(store.url)))  # while this one is held up

    store.script = script
    export_repo(str(source), ScriptedObjectStore.of(store), concurrency=1, settle_s=0)
    (moved,) = seen
    assert moved is not None
    assert 0 < moved <= 100 * (NTH + 1) / CHUNKS
    assert percent(store.url) == 100


@pytest.mark.slow
def test_the_artifact_moves_while_units_move_in_other_processes(
    source: Path, tmp_path: Path
) -> None:
    block = SlowObjectStore(url=str(tmp_path / "copy"), pause_s=0.05)
    flow = export_repo.with_options(task_runner=ProcessPoolTaskRunner(max_workers=1))
    ended, seen = threading.Event(), set()

    def look() -> None:
        while not ended.wait(0.5):
            seen.add(percent(f"file://{tmp_path / 'copy'}"))

    looking = threading.Thread(target=look)
    looking.start()
    try:
        report = flow(str(source), block, concurrency=1, settle_s=0)
    finally:
        ended.set()
        looking.join()
    assert report.whole
    between = [moved for moved in seen if moved is not None and 0 < moved < 100]
    assert between, seen  # the first of two batches is in the ledger


def test_a_tally_counts_what_is_recorded_of_some_units(job: Job, destination: Store) -> None:
    units = (Unit(Round.CHUNKS, 0, 2, 2 * BATCH, 0), Unit(Round.CHUNKS, 2, 3, BATCH, 0))
    tally, ledger = Tally(destination, job, units), Ledger(destination, job.area, "")
    tally.look()
    assert tally.of(units) == Outcome()
    ledger.write(Round.CHUNKS, 0, BatchRecord(BATCH, 1000))
    ledger.write(Round.CHUNKS, 2, BatchRecord(BATCH, 1000, failed=("a/7", "a/8")))
    tally.look()
    assert tally.of(units[:1]) == Outcome(transferred=BATCH, bytes=1000)
    assert tally.of(units).done == 2 * BATCH - 2
    ledger.write(Round.CHUNKS, 2, BatchRecord(BATCH, 1000))  # its retry
    tally.look()
    assert tally.of(units).done == 2 * BATCH


def test_what_an_earlier_run_recorded_is_there_already(
    source: Path, job: Job, destination: Store
) -> None:
    ledger, units = Ledger(destination, job.area, ""), (Unit(Round.CHUNKS, 0, 2, 2 * BATCH, 0),)
    ledger.write(Round.CHUNKS, 0, BatchRecord(BATCH, 1000))
    repository = IcechunkSource(str(source))
    again = open_job(repository, destination, repository.resolve("main"), Options())
    tally = Tally(destination, again, units)
    tally.look()
    ledger.write(Round.CHUNKS, 1, BatchRecord(BATCH, 500))
    tally.look()
    assert tally.of(units) == Outcome(transferred=BATCH, bytes=500, skipped=BATCH)


def test_a_line_now_and_then_has_rate_and_time_left(
    job: Job, caplog: pytest.LogCaptureFixture
) -> None:
    now, plan = [0.0], Plan((), 400, 4000)
    log = logging.getLogger("freight-progress")
    with caplog.at_level(logging.INFO, log.name):
        progress = Progress(job, plan, log, lambda: now[0])
        for second in range(1, 2 * int(LINE_EVERY_S) + 2):
            now[0] = float(second)
            progress.show(Outcome(10 * second, 100 * second))
    first, second = (record.getMessage() for record in caplog.records)
    assert first == "100 of 400 objects done, 1.0 kB moved, 100 B/s, 30 s left"
    assert second == "200 of 400 objects done, 2.0 kB moved, 100 B/s, 20 s left"


def test_what_is_shown_never_falls_until_the_end_says_what_was_moved(
    job: Job, caplog: pytest.LogCaptureFixture
) -> None:
    log = logging.getLogger("freight-progress")
    with caplog.at_level(logging.INFO, log.name):
        progress = Progress(job, Plan((), 400, 4000), log)
        progress.show(Outcome(200))
        progress.show(Outcome(100))
        assert percent(job.destination) == 50
        progress.show(Outcome(180, 4), last=True)
    assert percent(job.destination) == 45
    assert caplog.messages[-1].startswith("180 of 400 objects done, 4 B moved")
    assert "left" not in caplog.messages[-1]
