"""The diff says what is put, kept and deleted; after any end of it the next one is right."""

from pathlib import Path

import pytest
from histories import History, create, delete, write
from memory import MemoryStore
from recorded import close_night, plan_night

from prefect_freight.control.diff import read_diff
from prefect_freight.control.ledger import Ledger
from prefect_freight.formats.zarr.names import METADATA
from prefect_freight.model import Job, Round
from prefect_freight.steps.compute_diff import read_entries


@pytest.fixture
def history(tmp_path: Path) -> History:
    return History(tmp_path / "repository")


def begin_all(copy: MemoryStore, job: Job) -> None:
    """Record that all that a job's diff plans may have been begun."""
    for round_ in Round:
        Ledger(copy, job.area, "").begin(round_, 0)


def moves(copy: MemoryStore, job: Job) -> dict[str, set[str]]:
    """Return the keys of what is put and deleted."""
    keys: dict[str, set[str]] = {"put": set(), "delete": set()}
    for entries in read_entries(copy, job):
        for key, action in zip(
            entries["key"].to_pylist(), entries["action"].to_pylist(), strict=True
        ):
            keys[action].add(key)
    return keys


def test_it_says_what_is_put_kept_and_deleted(history: History) -> None:
    copy = MemoryStore()
    history.commit(create("a", 4, chunks=(1,)), create("b", 2, chunks=(1,)))
    job, manifest, plan = plan_night(history.path, copy)
    assert (plan.objects, plan.kept) == (13, 0)
    close_night(copy, job, manifest)
    history.commit(write("a", slice(1, 2), 9), write("a", slice(2, 3), 0))
    job, _, plan = plan_night(history.path, copy)
    assert moves(copy, job) == {"put": {"a/1"}, "delete": {"a/2"}}
    assert (plan.objects, plan.kept) == (2, 11)


def test_without_a_base_all_is_put_and_what_the_copy_has_not_is_deleted(history: History) -> None:
    copy = MemoryStore()
    history.commit(create("a", 4, chunks=(1,)), create("b", 2, chunks=(1,)))
    job, manifest, _ = plan_night(history.path, copy)
    close_night(copy, job, manifest)
    history.commit(delete("b"))
    job, manifest, plan = plan_night(history.path, copy, from_ref=None)
    gone = {"b/0", "b/1", "b/.zarray", "b/.zattrs"}
    assert moves(copy, job)["delete"] == gone
    assert len(moves(copy, job)["put"]) == sum(s.rows for s in manifest.sections)
    assert plan.kept == 0


def test_what_an_unfinished_export_may_have_deleted_is_put_again(history: History) -> None:
    copy = MemoryStore()
    first = history.commit(create("a", 4, chunks=(1,)), create("b", 2, chunks=(1,)))
    job, manifest, _ = plan_night(history.path, copy, first)
    close_night(copy, job, manifest)
    second = history.commit(delete("b"))
    unfinished, _, _ = plan_night(history.path, copy, second, from_ref=None)
    begin_all(copy, unfinished)
    written = read_diff(copy, unfinished.area)
    assert written is not None
    owners = {
        rows.name for part in written.parts if part.round == Round.DELETES for rows in part.slices
    }
    assert owners == {"b", METADATA}
    job, _, _ = plan_night(history.path, copy, first)  # back to what the base was
    assert moves(copy, job)["delete"] == set()
    assert moves(copy, job)["put"] >= {"b/0", "b/1", "b/.zarray", "b/.zattrs"}


@pytest.mark.parametrize("section_rows", [1, 3, 100])
def test_keys_that_an_unfinished_export_added_are_deleted(
    history: History, section_rows: int
) -> None:
    copy = MemoryStore()
    first = history.commit(create("a", 12, chunks=(1,)))
    job, manifest, _ = plan_night(history.path, copy, first, section_rows=section_rows)
    close_night(copy, job, manifest)
    second = history.commit(create("n", 2, chunks=(1,)))
    unfinished, _, _ = plan_night(history.path, copy, second, section_rows=section_rows)
    begin_all(copy, unfinished)
    job, _, plan = plan_night(history.path, copy, first, section_rows=section_rows)
    assert moves(copy, job)["delete"] == {"n/0", "n/1", "n/.zarray", "n/.zattrs"}
    assert moves(copy, job)["put"] == {".zmetadata"}
    assert plan.kept == sum(s.rows for s in manifest.sections) - 1


def test_a_diff_that_is_written_is_read_again(history: History) -> None:
    copy = MemoryStore()
    history.commit(create("a", 4, chunks=(1,)))
    job, _, plan = plan_night(history.path, copy)
    before = dict(copy.objects)
    resumed, _, same = plan_night(history.path, copy)
    assert (resumed.area, same) == (job.area, plan)
    assert {k: v for k, v in copy.objects.items() if "/runs/" not in k} == {
        k: v for k, v in before.items() if "/runs/" not in k
    }
