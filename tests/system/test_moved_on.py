"""An export that is cut off, and followed by one of what the source has become meanwhile."""

import random
from pathlib import Path
from typing import Any

import pytest
from changes import RANDOM_CHANGE
from folders import BASE as FILES
from folders import RANDOM_CHANGE as RANDOM_FILE_CHANGE
from folders import many, overwrite
from histories import Change, create, data, write
from hypothesis import given, settings
from hypothesis import strategies as st
from moving import LAYOUTS, Moving
from runners import Run, export_at_once
from visits import quietly

from prefect_freight.model import ExportReport
from prefect_freight.verifying import verify

OBJECTS = 300
ROUNDS = ("[2-3]$", "[4-5]$", "[6-7]$", "[8-9]$")
"""Phases have batches of their own: these are five of 60 objects."""
LATE = 220
"""Changes after which three of them are recorded."""
ARRAYS: tuple[Change, ...] = (create("a"), create("g/b", 7), create("g/h/c"))


@pytest.fixture(params=LAYOUTS)
def moving(export: Run, tmp_path: Path, request: pytest.FixtureRequest) -> Moving:
    """Return a source of many objects."""
    moving = Moving(tmp_path, request.param, export)
    moving.commit(many("d/", OBJECTS, 4) if moving.objects else create("a", OBJECTS, chunks=(1,)))
    return moving


def move_on(moving: Moving, n: int) -> None:
    """Change an object."""
    moving.commit(overwrite(f"d/{n:03d}") if moving.objects else write("a", slice(n, n + 1), 9))


@pytest.mark.usually("plain-None")
@pytest.mark.by_flow_too("zarr2", "last")
@pytest.mark.parametrize("from_ref", [None, "last"])
def test_what_was_recorded_is_not_moved_again_when_the_source_has_moved_on(
    moving: Moving, from_ref: str | None
) -> None:
    assert not moving.cut_off(LATE, from_ref=from_ref, rounds=ROUNDS)
    move_on(moving, 7)
    report = moving.export(from_ref=from_ref, verify="checksums")
    copy = data(moving.copy)
    assert copy == moving.fresh()
    assert not report.resumed
    assert report.objects_skipped > OBJECTS // 2
    assert report.objects_transferred + report.objects_skipped == len(copy)
    assert verify(moving.copy, source=moving.url).to_dict()["unchecked"] == 0


def test_nor_where_it_moves_on_again_and_again(moving: Moving) -> None:
    moving.cut_off(LATE, rounds=ROUNDS)
    move_on(moving, 7)
    moving.cut_off(40, rounds=ROUNDS)
    move_on(moving, 8)
    report = moving.export(from_ref="last")
    assert data(moving.copy) == moving.fresh()
    assert report.objects_skipped > OBJECTS // 2


def test_nor_in_a_difference_to_a_copy(moving: Moving) -> None:
    moving.export()
    moving.commit(
        many("d/", OBJECTS, 5) if moving.objects else write("a", slice(0, OBJECTS), 5)  # type: ignore[arg-type]
    )
    assert not moving.cut_off(LATE, from_ref="last", rounds=ROUNDS)
    move_on(moving, 7)
    report = moving.export(from_ref="last")
    assert data(moving.copy) == moving.fresh()
    assert report.objects_skipped > OBJECTS // 2


def test_a_ledger_that_is_wrong_is_found_out_whatever_the_verification(moving: Moving) -> None:
    moving.cut_off(LATE, rounds=ROUNDS)
    move_on(moving, 7)
    moving.chunks[0].unlink()
    report = moving.export(verify="none")
    assert data(moving.copy) == moving.fresh()
    assert report.objects_skipped == 0
    runs = sorted(moving.copy.glob(".freight/runs/*"))
    assert ['"unsound"' in run.read_text() for run in runs] == [False, True, False]


DIGITS = (), ("1$", "2$", "3$", "[4-9]$")
"""Phases have batches of their own, so that of a few objects some are recorded."""
STEPS = st.lists(
    st.tuples(
        st.randoms(use_true_random=False),
        st.sampled_from([None, "last"]),
        st.none() | st.integers(0, 45),
        st.sampled_from(DIGITS),
        st.sampled_from(["none", "sizes", "checksums"]),
        st.sampled_from(["", "", "", "ledger", "ledger cut", "diff", "manifest", "object"]),
    ),
    min_size=2,
    max_size=6,
)
"""Of each export: the damage done before it, its options, and where it is cut off if it is."""
CHANGES = st.lists(st.lists(RANDOM_CHANGE, max_size=2), min_size=6, max_size=6)
FILE_CHANGES = st.lists(st.lists(RANDOM_FILE_CHANGE, max_size=3), min_size=6, max_size=6)


def damage(moving: Moving, kind: str, dice: random.Random) -> None:
    """Remove or cut short a record, or remove an object of the copy."""
    patterns = {
        "ledger": "*/ledger/*/*/*.json",
        "ledger cut": "*/ledger/*/*/*.json",
        "diff": "*/diff/*",
        "manifest": "*/manifest/*",
    }
    if kind == "object":
        found = [moving.copy / key for key in sorted(data(moving.copy))]
    else:
        found = sorted(moving.copy.glob(f".freight/{patterns[kind]}"))
    if found:
        one = dice.choice(found)
        one.write_bytes(one.read_bytes()[:40]) if kind == "ledger cut" else one.unlink()


def walk(moving: Moving, changes: list[list[Any]], steps: list[Any]) -> None:
    """Export after each change, some of it cut off, some over damaged records, and compare."""
    unknown = False
    for (dice, base, limit, rounds, level, kind), some in zip(steps, changes, strict=False):
        moving.commit(*some)
        if kind:
            damage(moving, kind, dice)
            # What an earlier export put is not known any more where its records are gone.
            unknown |= kind in ("manifest", "diff")
            # What asks for no verification may believe what somebody has damaged.
            level = "sizes"
        # Nor whether what is left over is somebody else's: here it is said to be.
        existing = "merge" if unknown else "refuse"
        options = {"from_ref": base, "rounds": rounds, "verify": level, "on_existing": existing}
        if limit is not None:
            moving.cut_off(limit, **options)
        else:
            exact(moving, moving.export(**options), unknown=unknown)
    existing = "merge" if unknown else "refuse"
    report = moving.export(from_ref=steps[-1][1], on_existing=existing)
    exact(moving, report, unknown=unknown)


def exact(moving: Moving, report: ExportReport, *, unknown: bool) -> None:
    """The copy is that of a fresh export; what is left over may only be what is not known of."""
    copy, fresh = data(moving.copy), moving.fresh()
    left = copy.keys() - fresh.keys()
    assert not left or unknown
    assert {key: copy[key] for key in copy if key not in left} == fresh
    moved = report.objects_transferred and report.verified != "none"
    assert not left or not moved or any("left" in note for note in report.notes)


def start(folder: Path, format_: str) -> Moving:
    moving = Moving(folder, format_, export_at_once)
    moving.commit(*((*FILES, many("m/", 30)) if moving.objects else ARRAYS))
    return moving


@settings(quietly, max_examples=2)
@given(changes=CHANGES, steps=STEPS, format_=st.sampled_from(["zarr2", "zarr3"]))
def test_any_walk_of_kills_moves_and_damage_is_exact(
    tmp_path_factory: pytest.TempPathFactory, changes: list[Any], steps: list[Any], format_: str
) -> None:
    walk(start(tmp_path_factory.mktemp("walk"), format_), changes, steps)


@settings(quietly, max_examples=2)
@given(changes=FILE_CHANGES, steps=STEPS)
def test_any_walk_over_plain_objects_is_exact(
    tmp_path_factory: pytest.TempPathFactory, changes: list[Any], steps: list[Any]
) -> None:
    walk(start(tmp_path_factory.mktemp("walk"), "objects"), changes, steps)


@pytest.mark.slow
@settings(quietly, max_examples=20)
@given(changes=CHANGES, steps=STEPS, format_=st.sampled_from(["zarr2", "zarr3"]))
def test_any_of_many_walks_of_kills_moves_and_damage_is_exact(
    tmp_path_factory: pytest.TempPathFactory, changes: list[Any], steps: list[Any], format_: str
) -> None:
    walk(start(tmp_path_factory.mktemp("walk"), format_), changes, steps)


@pytest.mark.slow
@settings(quietly, max_examples=40)
@given(changes=FILE_CHANGES, steps=STEPS)
def test_any_of_many_walks_over_plain_objects_is_exact(
    tmp_path_factory: pytest.TempPathFactory, changes: list[Any], steps: list[Any]
) -> None:
    walk(start(tmp_path_factory.mktemp("walk"), "objects"), changes, steps)
