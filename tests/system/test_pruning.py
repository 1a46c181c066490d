"""Records that nothing refers to go, and whatever is exported next is as it would have been."""

import functools
import json
from pathlib import Path
from typing import Any

import pytest
from command import freight
from folders import BASE, overwrite, put
from histories import create, data, write
from moving import LAYOUTS, Moving
from runners import export_at_once

from prefect_freight.control.lock import hold_lock
from prefect_freight.errors import InputError, LockedError, UnsoundError
from prefect_freight.pruning import prune
from prefect_freight.stores.urls import open_store
from prefect_freight.verifying import verify

NIGHTS = 4


def night(moving: Moving, n: int) -> tuple[Any, ...]:
    if moving.objects:
        return (overwrite("a"), put(f"n/{n}", b"new"))
    # Of one array a chunk, the other one anew.
    return (write("a", slice(n, n + 1), 9), create("b", 3 + n))


@pytest.fixture(params=LAYOUTS)
def moving(tmp_path: Path, request: pytest.FixtureRequest) -> Moving:
    """Return a source and its copy after some nights."""
    moving = Moving(tmp_path, request.param, export_at_once)
    moving.commit(*(BASE if moving.objects else (create("a", 40, chunks=(1,)),)))
    moving.export()
    for n in range(NIGHTS):
        moving.commit(*night(moving, n))
        moving.export(from_ref="last")
    return moving


def areas(moving: Moving) -> set[str]:
    """Return the names of the runs of which anything is recorded."""
    below = moving.copy / ".freight"
    recorded = {path.stem for path in (below / "runs").iterdir()}
    return recorded | {path.name for path in below.iterdir() if path.name[0].isdigit()}


@pytest.mark.usually("objects")
def test_what_the_next_difference_needs_stays(moving: Moving) -> None:
    moving.commit(*night(moving, 6))
    moving.export()  # all of it, so that nothing lies in the manifests of the nights before
    moving.commit(*night(moving, 5))
    moving.export(from_ref="last")
    before = areas(moving)
    pruning = prune(moving.copy)
    gone = {one.area.rpartition("/")[2] for one in pruning.found}
    assert gone
    assert areas(moving) == before - gone
    assert verify(moving.copy, source=moving.url).whole
    moving.commit(*night(moving, 7))
    report = moving.export(from_ref="last", verify="checksums")
    assert report.objects_transferred < 8
    assert data(moving.copy) == moving.fresh()
    assert verify(moving.copy).to_dict()["unchecked"] == 0


@pytest.mark.usually("objects")
def test_a_dry_run_shows_it_and_removes_nothing(moving: Moving) -> None:
    before = areas(moving)
    shown = prune(moving.copy, dry_run=True)
    assert areas(moving) == before
    assert not shown.removed
    assert shown.found == prune(moving.copy).found
    assert prune(moving.copy).found == ()


@pytest.mark.usually("objects")
@pytest.mark.parametrize(("keep", "fewer"), [(1, 1), (NIGHTS, NIGHTS)])
def test_the_last_runs_may_be_kept(moving: Moving, keep: int, fewer: int) -> None:
    newest = sorted(areas(moving))[-1 - keep :]
    prune(moving.copy, keep=keep)
    assert areas(moving) >= {*newest}


@pytest.mark.usually("objects", "8")
@pytest.mark.usually("zarr2", "8")
@pytest.mark.parametrize("changes", [5, 8, 11])
def test_an_unfinished_run_is_resumed_after_it(moving: Moving, changes: int) -> None:
    moving.commit(*night(moving, 7))
    assert not moving.cut_off(changes, from_ref="last")
    prune(moving.copy)
    assert moving.export(from_ref="last").resumed
    assert data(moving.copy) == moving.fresh()


@pytest.mark.usually("objects")
def test_what_has_no_record_goes(moving: Moving) -> None:
    left = moving.copy / ".freight" / "000099-0123456789abcdef" / "manifest"
    left.mkdir(parents=True)
    (left / "chunks-00000000.parquet").write_bytes(b"left")
    found = prune(moving.copy).found
    assert [(one.objects, one.bytes) for one in found if not one.recorded] == [(1, 4)]
    assert not left.parent.exists()


@pytest.mark.usually("objects")
def test_beside_an_export_it_is_refused(moving: Moving) -> None:
    before = areas(moving)
    with hold_lock(open_store(str(moving.copy))), pytest.raises(LockedError):
        prune(moving.copy)
    assert areas(moving) == before


@pytest.mark.usually("objects")
def test_where_it_is_not_known_what_is_needed_nothing_goes(moving: Moving) -> None:
    for index in moving.copy.glob(".freight/*/manifest/manifest.json"):
        index.unlink()
    before = areas(moving)
    with pytest.raises(UnsoundError, match="tells what is needed"):
        prune(moving.copy)
    assert areas(moving) == before


def test_where_nothing_was_exported_nothing_goes(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("somebody's")
    with pytest.raises(InputError, match="no record of any export"):
        prune(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]
    with pytest.raises(InputError, match="at least 0"):
        prune(tmp_path, keep=-1)


@pytest.mark.usually("zarr2")
def test_the_command_shows_and_removes(moving: Moving) -> None:
    run = functools.partial(freight, "prune", moving.copy)
    shown = run("--dry-run")
    assert "Would remove the records of" in shown.stdout
    removed = json.loads(run("--json").stdout)
    assert removed["removed"]
    assert len(shown.stdout.splitlines()) == len(removed["runs"]) + 1
    assert "Removed the records of 0 runs" in run().stdout
