"""What was found wrong stays found, however often its repair is cut off."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from folders import BASE, overwrite, put, remove
from histories import create, data, delete, write
from moving import LAYOUTS, Moving, flip
from runners import Run

from prefect_freight.control.runs import list_runs, read_last
from prefect_freight.stores.urls import open_store
from prefect_freight.verifying import verify

ARRAYS = (create("a", 9), create("g/b", 7))
NEXT: dict[str, tuple[Any, ...]] = {
    "zarr2": (write("g/b", slice(0, 3), 9),),
    "zarr3": (write("g/b", slice(0, 3), 9),),
    "objects": (put("d/x", b"another"),),
}


@pytest.fixture(params=LAYOUTS)
def moving(export: Run, tmp_path: Path, request: pytest.FixtureRequest) -> Moving:
    """Return a source, and its whole copy."""
    moving = Moving(tmp_path, request.param, export)
    moving.commit(*(BASE if moving.objects else ARRAYS))
    moving.export()
    return moving


def same(moving: Moving) -> dict[str, Any]:
    return {}


def difference(moving: Moving) -> dict[str, Any]:
    return {"from_ref": "last"}


def another(moving: Moving) -> dict[str, Any]:
    moving.commit(*NEXT[moving.format])
    return {"from_ref": "last", "verify": "none"}


FOLLOWING = [same, difference, another]


@pytest.mark.parametrize("following", FOLLOWING)
def test_a_repair_that_was_cut_off_is_taken_up_by_whatever_follows(
    moving: Moving, tmp_path: Path, following: Callable[[Moving], dict[str, Any]]
) -> None:
    # Of the same size: only an export that asks for checksums can find it.
    flip(moving.chunks[0])
    # After the lock, and the two records that it is unsound.
    assert not moving.cut_off(3, verify="checksums")
    moving.export(**following(moving))
    assert data(moving.copy) == moving.fresh()
    assert verify(moving.copy).notes == ()


@pytest.mark.slow
@pytest.mark.parametrize("following", FOLLOWING)
def test_a_repair_that_was_cut_off_anywhere_is_taken_up_by_whatever_follows(
    moving: Moving, tmp_path: Path, following: Callable[[Moving], dict[str, Any]]
) -> None:
    for changes in range(0, 60, 2):
        flip(moving.chunks[0])
        store = open_store(str(moving.copy))
        before, runs = read_last(store), len(list_runs(store))
        ended = moving.cut_off(changes, verify="checksums")
        if read_last(store) == before:  # nothing is said, so nothing of the repair may have begun
            assert len(list_runs(store)) == runs
            flip(moving.chunks[0])
            continue
        moving.export(**following(moving))
        assert data(moving.copy) == moving.fresh(), f"cut off after {changes} changes"
        if ended:
            return
    pytest.fail("the repair never ended")


def test_until_it_is_repaired_status_and_verify_say_so(moving: Moving) -> None:
    moving.chunks[0].unlink()
    moving.cut_off(4)
    runs = [json.loads(p.read_text()) for p in sorted(moving.copy.glob(".freight/runs/*"))]
    assert [run["state"] for run in runs] == ["unsound", "open"]
    found = verify(moving.copy)
    assert any("repair" in note for note in found.notes)
    assert found.cure.startswith("Mend it by: ")


def test_a_copy_whose_repair_was_cut_off_loses_what_the_next_snapshot_has_not(
    moving: Moving,
) -> None:
    flip(moving.chunks[0])
    moving.cut_off(3, verify="checksums")
    if moving.objects:
        moving.commit(remove("d"), overwrite("a"))
    else:
        moving.commit(delete("g"))
    moving.export(from_ref="last")
    assert data(moving.copy) == moving.fresh()
