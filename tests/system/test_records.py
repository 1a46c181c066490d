"""What is recorded at a destination is believed only if it is what was written there."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import zarr
from dying import DyingStore
from folders import put, remove
from histories import create, data, delete, write
from layouts import OBJECTS, Arrays, LayoutCase, Subject, over_layouts, ship
from runners import Run, export_at_once

from prefect_freight.errors import FreightError, IncompleteError
from prefect_freight.plan.numbers import format_objects
from prefect_freight.stores.urls import open_store
from prefect_freight.verifying import verify

N = 24
"""Objects, all of one batch."""


def subject_of(layout: LayoutCase, folder: Path) -> Subject:
    """Return a source of two states whose objects have the same sizes, and other bytes."""
    if layout is OBJECTS:
        one, other = ([put(f"d/{n}", b"%d%03d" % (k, n)) for n in range(N)] for k in (1, 2))
    else:
        one = [create("a", N, chunks=(1,), compressors=None)]
        other = [write("a", slice(0, N), 7)]
    return layout.made_of(folder, one, other)


def areas(copy: Path) -> list[Path]:
    """Return the folders of the runs, in their order."""
    return sorted(copy.glob(".freight/0*"))


def swaps(copy: Path, pattern: str) -> Iterator[Callable[[Path], None]]:
    """Yield what puts a record of the first run in the place of that of the newest, each once."""
    first, *_, newest = areas(copy)
    for path in sorted(path for path in first.glob(pattern) if path.is_file()):
        place = newest.relative_to(copy) / path.relative_to(first)
        if not (copy / place).exists() or (copy / place).read_bytes() != path.read_bytes():

            def swap(folder: Path, path: Path = path, place: Path = place) -> None:
                (folder / place).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(path, folder / place)

            yield swap


def killed_in_its_first_batch(run: Run, subject: Subject, copy: Path) -> None:
    """Export the second state up to the middle of its first batch."""
    with pytest.raises(FreightError):
        ship(run, subject, DyingStore(open_store(str(copy)), N // 2), 1)
    (copy / ".freight" / "lock").unlink()


def lose_beginnings(copy: Path) -> None:
    shutil.rmtree(areas(copy)[-1] / "begun")


def lose_all_of_the_run(copy: Path) -> None:
    shutil.rmtree(areas(copy)[-1])


@pytest.mark.parametrize("lose", [lose_beginnings, lose_all_of_the_run])
@pytest.mark.parametrize("from_ref", ["last", None])
@pytest.mark.by_flow_too("zarr2", "beginnings", "last")
@pytest.mark.usually("last")
@over_layouts
def test_what_a_run_did_of_which_records_are_lost_is_not_taken_for_the_copy(
    export: Run,
    layout: LayoutCase,
    tmp_path: Path,
    lose: Callable[[Path], None],
    from_ref: str | None,
) -> None:
    subject, copy = subject_of(layout, tmp_path), tmp_path / "copy"
    ship(export_at_once, subject, copy, 0)
    killed_in_its_first_batch(export_at_once, subject, copy)
    lose(copy)
    ship(export, subject, copy, 0, from_ref=from_ref, verify="none")
    assert data(copy) == subject.expected(0)


@pytest.mark.by_flow_too("zarr2")
@over_layouts
def test_what_a_run_put_of_which_no_beginning_is_recorded_is_left_and_named(
    export: Run, layout: LayoutCase, tmp_path: Path
) -> None:
    new = [put("n/mine", b"1")] if layout is OBJECTS else [create("n")]
    subject, copy = layout.made_of(tmp_path, layout.source.BASE, new), tmp_path / "copy"
    ship(export_at_once, subject, copy, 0)
    dying = DyingStore(open_store(str(copy)), 9 if layout is OBJECTS else 13)
    with pytest.raises(FreightError):
        ship(export_at_once, subject, dying, 1, from_ref="last")
    (copy / ".freight" / "lock").unlink()
    left = data(copy).keys() - subject.expected(0).keys()
    lose_beginnings(copy)
    report = ship(export, subject, copy, 0, from_ref="last")
    assert left
    assert data(copy).keys() - subject.expected(0).keys() == left
    said = f"{format_objects(len(left))} there "
    assert any(note.startswith(said) and "not ours" in note for note in report.notes)


RECORDS = ["manifest/*.parquet", "manifest/*.json", "diff/*", "ledger/**/*"]


@pytest.mark.parametrize("pattern", RECORDS)
@pytest.mark.by_flow_too("parquet", "zarr2")
@over_layouts
def test_a_record_of_another_whole_run_is_not_taken_for_that_of_the_last(
    export: Run, layout: LayoutCase, tmp_path: Path, pattern: str
) -> None:
    subject, copy = subject_of(layout, tmp_path), tmp_path / "copy"
    for state in (0, 1):
        ship(export_at_once, subject, copy, state)
    for number, swap in enumerate(swaps(copy, pattern)):
        trial = tmp_path / f"trial-{number}"
        shutil.copytree(copy, trial)
        swap(trial)
        # Whoever believes that the first state lies there has nothing to do.
        ship(export, subject, trial, 0, from_ref="last", verify="none")
        assert data(trial) == subject.expected(0)


@pytest.mark.parametrize("pattern", RECORDS)
@pytest.mark.parametrize("options", [{}, {"from_ref": "last"}], ids=["again", "another"])
@pytest.mark.by_flow_too("ledger", "zarr2", "again")
@pytest.mark.usually("plain", "zarr2")
@pytest.mark.usually("ledger", "again")
@over_layouts
def test_a_record_of_another_run_is_not_taken_for_that_of_an_unfinished_one(
    export: Run, layout: LayoutCase, tmp_path: Path, pattern: str, options: dict[str, Any]
) -> None:
    subject, copy = subject_of(layout, tmp_path), tmp_path / "copy"
    ship(export_at_once, subject, copy, 0)
    killed_in_its_first_batch(export_at_once, subject, copy)
    for number, swap in enumerate(swaps(copy, pattern)):
        trial = tmp_path / f"trial-{number}"
        shutil.copytree(copy, trial)
        swap(trial)
        state = 0 if options else 1
        ship(export, subject, trial, state, **options)
        assert data(trial) == subject.expected(state)


@over_layouts
def test_checksums_that_are_not_what_was_written_are_the_ledgers_or_count_as_never_recorded(
    layout: LayoutCase, tmp_path: Path
) -> None:
    subject, copy = subject_of(layout, tmp_path), tmp_path / "copy"
    ship(export_at_once, subject, copy, 0)
    for path in copy.glob(".freight/*/manifest/*.md5"):
        checksums = path.read_bytes()
        path.write_bytes(checksums[:3] + bytes([checksums[3] ^ 1]) + checksums[4:])
    found = verify(copy)
    assert (found.whole, found.differences.unchecked) == (True, 0)
    for path in copy.glob(".freight/*/ledger"):
        shutil.rmtree(path)
    found = verify(copy)
    assert found.whole
    assert found.differences.unchecked >= N


@pytest.mark.by_flow_too("removed")
@pytest.mark.parametrize("how", ["other", "removed"])
def test_a_chunk_of_fill_values_that_is_not_what_was_written_is_put_nowhere(
    export: Run, tmp_path: Path, how: str
) -> None:
    def masked(root: zarr.Group) -> None:
        given = {"dtype": "i4", "fill_value": 7, "dimension_names": ["x"], "compressors": None}
        root.create_array("a", shape=(N,), chunks=(1,), **given)

    subject, copy = Arrays(tmp_path, "zarr2"), tmp_path / "copy"
    subject.add(masked)
    with pytest.raises(FreightError):
        ship(export_at_once, subject, DyingStore(open_store(str(copy)), 14), 0)
    (copy / ".freight" / "lock").unlink()
    (fill,) = copy.glob(".freight/*/manifest/fill-*")
    fill.unlink()
    if how == "other":
        fill.write_bytes(bytes(4))
    ship(export, subject, copy, 0)
    assert data(copy) == subject.expected(0)


def lose_manifests(copy: Path) -> None:
    for path in copy.glob(".freight/0*/manifest/manifest.json"):
        path.unlink()


@over_layouts
def test_what_is_put_over_though_nobody_knows_whose_it_was_is_named(
    export: Run, layout: LayoutCase, tmp_path: Path
) -> None:
    subject, copy = subject_of(layout, tmp_path), tmp_path / "copy"
    ship(export_at_once, subject, copy, 0)
    lose_manifests(copy)
    report = ship(export, subject, copy, 1)
    (said,) = [note for note in report.notes if note.startswith("put over, though")]
    assert format_objects(len(subject.expected(1))) in said


@over_layouts
def test_what_is_left_of_a_copy_whose_records_are_lost_is_never_whole(
    export: Run, layout: LayoutCase, tmp_path: Path
) -> None:
    more = [put("n/more", b"1")] if layout is OBJECTS else [create("n")]
    less = [remove("n/more")] if layout is OBJECTS else [delete("n")]
    subject = layout.made_of(tmp_path, layout.source.BASE, more, less)
    copy = tmp_path / "copy"
    ship(export_at_once, subject, copy, 1)
    lose_manifests(copy)
    for choice in ("refuse", "replace"):
        with pytest.raises(IncompleteError, match="--prune"):
            ship(export, subject, copy, 2, on_existing=choice)
    ship(export, subject, copy, 2, on_existing="replace", prune=True)
    assert data(copy) == subject.expected(2)
