"""What failed is counted exactly, and named up to a bound."""

import json
from pathlib import Path

import pytest
from histories import History, create, data
from layouts import LayoutCase, over_layouts
from runners import Run
from scripted import ScriptedStore, by_the_book

from prefect_freight.errors import AccessError, IncompleteError
from prefect_freight.model import Action, Failure, Outcome
from prefect_freight.stores.urls import open_store

CHUNKS = 20_400
FAILED = CHUNKS // 2
"""Every other one: many in a row would stop the export."""
NAMED = 10_000
"""Lines of a failure marker, which lakeFS's users know as that many."""


def failure(key: str, *, transient: bool = False) -> Failure:
    return Failure(key, Action.DELETE, "the manifest", "access", "may not", transient)


def test_a_hundred_thousand_failures_are_counted_and_ten_thousand_named() -> None:
    total = Outcome()
    for number in range(100_000):
        total += Outcome(failures=(failure(str(number)),))
    assert (total.failed, len(total.failures)) == (100_000, NAMED)
    assert (total.failures[-1].key, total.transient) == (str(NAMED - 1), False)
    both = total + total + Outcome(failures=(failure("last", transient=True),))
    assert (both.failed, len(both.failures), both.transient) == (200_001, NAMED, True)


@pytest.mark.slow
def test_more_failures_than_are_named_are_moved_by_the_next_run(
    export: Run, tmp_path: Path
) -> None:
    history = History(tmp_path / "repository")
    history.commit(create("a", CHUNKS, chunks=(1,)))
    store = ScriptedStore(open_store(str(tmp_path / "copy")))

    def refuse(operation: str, key: str) -> None:
        if operation == "write" and key.startswith("a/") and key[-1] in "02468":
            raise AccessError("may not write")

    store.script = refuse
    with pytest.raises(IncompleteError, match=f"and {FAILED - 1:,} more: may not") as caught:
        export(str(history.path), store)
    report = caught.value.report
    assert report is not None
    assert report.objects_failed == FAILED
    lines = store.inner.read(report.marker).decode().splitlines()
    named = [line for line in lines if line.startswith("Unable to copy file ")]
    assert (len(named), lines[NAMED]) == (
        NAMED,
        f"and {FAILED - NAMED:,} more failed",
    )
    (recorded,) = (tmp_path / "copy").glob(".freight/*/report.json")
    assert json.loads(recorded.read_text())["objects_failed"] == FAILED
    store.script = by_the_book
    again = export(str(history.path), store)
    assert again.objects_skipped == CHUNKS - FAILED
    assert len(data(tmp_path / "copy")) >= CHUNKS


@pytest.mark.by_flow_too("zarr2")
@over_layouts
def test_a_marker_that_could_not_be_written_is_told_as_that(
    export: Run, tmp_path: Path, layout: LayoutCase
) -> None:
    subject = layout.make(tmp_path)
    subject.visit(0)

    def refuse(operation: str, key: str) -> None:
        if operation == "write" and not key.startswith(".freight/"):
            raise AccessError("may not write")

    store = ScriptedStore(open_store(str(tmp_path / "copy")), refuse)
    with pytest.raises(IncompleteError) as caught:
        export(subject.url, store, **subject.options)
    report = caught.value.report
    assert report
    assert (report.whole, report.marker) == (False, "")
    unwritten = f"EXPORT_{report.snapshot}_FAILURE could not be written"
    assert report.notes[-1].startswith(unwritten)
    assert not list((tmp_path / "copy").glob("EXPORT_*"))
    store.script = by_the_book
    assert export(subject.url, store, **subject.options).whole
