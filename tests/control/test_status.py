"""What a destination tells of the exports that it has seen."""

from pathlib import Path

import pytest
from dying import DyingStore
from faulty import FaultyStore
from histories import History, create, write
from memory import MemoryStore
from runners import export_at_once

from prefect_freight.control.status import MAX_RUNS, read_status
from prefect_freight.errors import AccessError, FreightError, IncompleteError, InputError
from prefect_freight.events import Event, Planned


@pytest.fixture
def history(tmp_path: Path) -> History:
    return History(tmp_path / "repository")


def test_a_place_that_no_export_was_at_is_named() -> None:
    with pytest.raises(InputError, match=r"no record of any export at memory://store\. Check"):
        read_status(MemoryStore({"data": b"somebody's"}))


def test_each_run_says_how_far_it_came_and_which_one_lies_there(history: History) -> None:
    copy = MemoryStore()
    history.commit(create("a", 5, chunks=(1,)))
    whole = export_at_once(history.path, copy)
    history.commit(write("a", slice(0, 2), 9))
    with pytest.raises(FreightError):
        export_at_once(history.path, DyingStore(copy, 6), from_ref="last")
    first, second = read_status(copy).runs
    assert (first.run.state, first.is_current, first.objects) == ("whole", True, first.done)
    assert first.objects == whole.objects_transferred
    assert (second.run.state, second.is_current, second.done) == ("open", False, 0)


def test_of_a_batch_that_was_stopped_what_was_put_counts(history: History) -> None:
    copy = MemoryStore()
    history.commit(create("a", 5, chunks=(1,)))

    def fault(key: str, attempt: int) -> Exception | None:
        # As if it had been killed after that: its record stays open.
        ends = key.startswith(".freight/runs/") and attempt > 2
        return AccessError("may not write") if key == "a/3" or ends else None

    with pytest.raises(FreightError):
        export_at_once(history.path, FaultyStore(copy, fault))
    (run,) = read_status(copy).runs
    assert (run.run.state, run.done) == ("open", 4)


def test_what_earlier_attempts_did_counts_though_the_last_came_to_nothing(history: History) -> None:
    copy = MemoryStore()
    history.commit(create("a", 5, chunks=(1,)))
    broken = FaultyStore(copy, lambda key, _: AccessError("no") if key == "a/.zarray" else None)
    with pytest.raises(IncompleteError) as first:
        export_at_once(history.path, broken)

    def interrupt(event: Event) -> None:
        if isinstance(event, Planned):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        export_at_once(history.path, copy, on_event=interrupt)
    (run,) = read_status(copy).runs
    assert first.value.report
    assert (run.run.state, run.done) == ("failed", first.value.report.objects_transferred)


def test_the_copy_that_lies_there_is_listed_however_many_failed_since(history: History) -> None:
    copy = MemoryStore()
    history.commit(create("a", 5))
    export_at_once(history.path, copy)
    broken = FaultyStore(
        copy, lambda key, _: AccessError("may not write") if key.endswith(".zattrs") else None
    )
    for number in range(MAX_RUNS + 1):
        history.commit(create("a", 5, attributes={"n": number}))
        with pytest.raises(FreightError):
            export_at_once(history.path, broken, from_ref="last")
    runs = read_status(copy).runs
    assert [runs[0].is_current, len(runs)] == [True, MAX_RUNS + 1]
    assert not any(run.is_current for run in runs[1:])
