"""Whoever listens to an export can neither stop it nor have it hang; an interrupt does stop it."""

import logging
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from engine import run_engine
from faulty import FaultyStore
from folders import Folder, put
from histories import data
from layouts import LayoutCase, over_layouts

from prefect_freight import ExportReport, export
from prefect_freight.control.runs import read_runs
from prefect_freight.errors import AccessError, IncompleteError
from prefect_freight.events import Event, Moved, Planned, StepStarted, ignore_event
from prefect_freight.model import Format, Options, Outcome, Round
from prefect_freight.sources.kinds import open_source
from prefect_freight.steps.compute_diff import compute_diff
from prefect_freight.steps.move_unit import move_unit
from prefect_freight.steps.open_job import open_job
from prefect_freight.steps.resolve import resolve
from prefect_freight.steps.write_manifest import write_manifest
from prefect_freight.stores.urls import open_store

ONE_OF_EACH = {"a/1", "a/c/1", "d/x"}
"""A key of each layout's data."""
ONCE = "this is said once"
type Engine = Callable[..., ExportReport]


@pytest.fixture(params=["plain", pytest.param("flow", marks=pytest.mark.slow)])
def engine(request: pytest.FixtureRequest) -> Engine:
    """Return an export by one of the runners, which is told who listens."""
    if request.param == "flow":
        request.getfixturevalue("prefect_server")
    return lambda *given, **options: run_engine(request.param, *given, **options)


@pytest.fixture
def source(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Return what can be exported in the test's format, of more objects than move at a time."""
    if request.node.callspec.params.get("format_") != "objects":
        return str(request.getfixturevalue("many_local"))
    folder = Folder(tmp_path / "folder")
    folder.change(*(put(f"f/{n}", b"%d" % n) for n in range(1200)))
    return folder.url


class Failing:
    """A listener that raises something, at what it is to raise it at; it knows how often."""

    def __init__(self, error: BaseException, at: Callable[[Event], bool] = lambda _: True) -> None:
        self._error, self._at = error, at
        self.times = 0

    def __call__(self, event: Event) -> None:
        if self._at(event):
            self.times += 1
            raise self._error


@pytest.mark.parametrize(
    ("format_", "error"),
    [("zarr2", BrokenPipeError()), ("zarr3", RuntimeError("no")), ("objects", ValueError())],
)
def test_a_listener_that_always_fails_stops_nothing_and_is_named_once(
    engine: Engine,
    source: str,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    format_: str,
    error: Exception,
) -> None:
    listener = Failing(error)
    report = within(
        60, lambda: engine(source, tmp_path / "copy", listener=listener, format=format_)
    )
    assert report.whole
    assert listener.times >= 5
    named = [record for record in caplog.records if ONCE in record.getMessage()]
    assert [type(error).__name__ in record.getMessage() for record in named] == [True]
    assert not (tmp_path / "copy/.freight/lock").exists()
    assert report.objects_transferred == len(data(tmp_path / "copy"))


def within(seconds: float, call: Callable[[], ExportReport]) -> ExportReport:
    """Return what a call returns, which must not take longer: an export that hangs says nothing."""
    reports: list[ExportReport] = []
    thread = threading.Thread(target=lambda: reports.append(call()), daemon=True)
    thread.start()
    thread.join(seconds)
    assert reports, "it hangs, or has failed"
    return reports[0]


@pytest.mark.parametrize(
    "at",
    [
        lambda event: isinstance(event, Moved),
        lambda event: isinstance(event, StepStarted) and "Copying" in event.text,
    ],
    ids=["in a thread that moves", "between steps"],
)
def test_an_interrupt_that_hits_in_a_listener_is_one(
    many_local: Path, tmp_path: Path, at: Callable[[Event], bool]
) -> None:
    copy = tmp_path / "copy"
    with pytest.raises(KeyboardInterrupt):
        run_engine("plain", many_local, copy, listener=Failing(KeyboardInterrupt(), at))
    (marker,) = copy.glob("EXPORT_*")
    assert marker.name.endswith("_FAILURE")
    assert "interrupted when " in marker.read_text()
    assert [run.state for run in read_runs(open_store(str(copy)))] == ["failed"]
    assert not (copy / ".freight/lock").exists()
    assert export(many_local, copy, settle_s=0).whole


@over_layouts
def test_what_of_a_batch_was_done_before_is_told_as_done(
    tmp_path: Path, layout: LayoutCase
) -> None:
    subject = layout.make(tmp_path)
    subject.visit(0)
    place = open_store(str(tmp_path / "copy"))

    def refuse_one(key: str, _: int) -> Exception | None:
        return AccessError("no") if key in ONE_OF_EACH else None

    with pytest.raises(IncompleteError):
        run_engine("plain", subject.url, FaultyStore(place, refuse_one), **subject.options)
    told: list[Event] = []
    report = run_engine("plain", subject.url, place, listener=told.append, **subject.options)
    assert report.resumed
    (planned,) = (event for event in told if isinstance(event, Planned))
    moved = [event for event in told if isinstance(event, Moved)]
    assert sum(event.objects for event in moved) == planned.objects
    assert sum(event.bytes for event in moved) == planned.bytes


def test_a_step_of_its_own_takes_listeners_that_fail(
    many_local: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    source, destination = open_source(str(many_local)), open_store(str(tmp_path / "copy"))
    job = open_job(source, destination, resolve(source, "main"), Options(format=Format.ZARR2))
    plan = compute_diff(destination, job, write_manifest(source, destination, job))
    (unit,) = plan.of(Round.CHUNKS)
    outcomes: dict[str, Outcome] = {}
    for name, listener in (("failing", Failing(OSError("closed"))), ("again", ignore_event)):
        outcomes[name] = move_unit(source, destination, job, unit, threads=4, on_event=listener)
    assert outcomes["failing"].transferred == unit.objects
    assert outcomes["again"].skipped == unit.objects, "all of it was recorded"
    assert [ONCE in record.getMessage() for record in caplog.records] == [True]
    assert caplog.records[0].levelno == logging.WARNING
