"""A dry run counts what an export then does, and leaves nothing behind."""

from pathlib import Path

import pytest
from changes import BASE, CHANGES
from faulty import FaultyStore
from histories import History
from memory import MemoryStore
from runners import export_at_once

from prefect_freight.errors import AccessError, IncompleteError
from prefect_freight.exporting import dry_run

FULL = {"dtype changed", "group deleted", "array becomes a group"}
"""Of full exports: all is put whatever has changed, so these stand for the others."""


@pytest.mark.usually("array")
@pytest.mark.parametrize(
    ("name", "from_ref"),
    [
        pytest.param(
            name, base, marks=[] if base or name in FULL else pytest.mark.slow, id=f"{name}-{base}"
        )
        for name in CHANGES
        for base in (None, "last")
    ],
)
def test_it_counts_what_the_export_then_does(
    tmp_path: Path, name: str, from_ref: str | None
) -> None:
    history, copy = History(tmp_path / "repository"), MemoryStore()
    history.commit(*BASE)
    export_at_once(history.path, copy, section_rows=2)
    history.commit(*CHANGES[name])
    before = dict(copy.objects)
    preview = dry_run(history.path, copy, from_ref=from_ref)
    assert copy.objects == before
    report = export_at_once(history.path, copy, from_ref=from_ref)
    counted = preview.rounds.values()
    assert sum(count["puts"] for count in counted) == report.objects_transferred
    assert sum(count["deletes"] for count in counted) == report.objects_deleted
    assert sum(count["bytes"] for count in counted) == report.bytes_transferred
    by_node = preview.nodes.values()
    assert sum(count["puts"] for count in by_node) == report.objects_transferred


def test_of_a_whole_copy_there_is_nothing_to_do(tmp_path: Path) -> None:
    history, copy = History(tmp_path / "repository"), MemoryStore()
    history.commit(*BASE)
    export_at_once(history.path, copy)
    preview = dry_run(history.path, copy)
    assert (preview.finished, preview.put_requests, preview.nodes) == (True, 0, {})


@pytest.mark.parametrize("format_", ["zarr2", "zarr3"])
def test_what_an_unfinished_export_has_done_is_not_to_be_done(tmp_path: Path, format_: str) -> None:
    history, copy = History(tmp_path / "repository"), MemoryStore()
    history.commit(*BASE)
    keys = ("a/1", "a/c/1")
    broken = FaultyStore(copy, lambda key, _: AccessError("no") if key in keys else None)
    with pytest.raises(IncompleteError):
        export_at_once(history.path, broken, format=format_)
    preview = dry_run(history.path, copy, format=format_)
    report = export_at_once(history.path, copy, format=format_)
    assert report.resumed
    counted = preview.rounds.values()
    assert sum(count["puts"] for count in counted) == report.objects_transferred
    assert sum(count["bytes"] for count in counted) == report.bytes_transferred
    assert preview.recorded == report.objects_skipped > 0


@pytest.mark.parametrize("from_ref", [None, "last"])
@pytest.mark.parametrize("changed", [True, False])
def test_it_names_what_would_stay_though_it_is_not_ours(
    tmp_path: Path, from_ref: str | None, *, changed: bool
) -> None:
    history, copy = History(tmp_path / "repository"), MemoryStore()
    history.commit(*BASE)
    export_at_once(history.path, copy)
    copy.write("README.txt", b"somebody's")
    if changed:
        history.commit(*CHANGES["chunk changed"])
    preview = dry_run(history.path, copy, from_ref=from_ref)
    assert preview.notes == ("1 object there is not ours and would stay: README.txt",) or (
        preview.finished
        and preview.notes == ("1 object there is not ours and was left: README.txt",)
    )
    assert "was left: README.txt" in export_at_once(history.path, copy, from_ref=from_ref).notes[-1]


def test_objects_of_others_in_a_folder_that_is_new_to_us_are_named(tmp_path: Path) -> None:
    (tmp_path / "source").mkdir()
    (tmp_path / "source/a").write_bytes(b"a")
    copy = MemoryStore({"mine": b"1", "yours": b"2"})
    source = f"objects+file://{tmp_path}/source"
    preview = dry_run(source, copy, format="objects", on_existing="merge")
    assert preview.notes == ("2 objects there are not ours and would stay: mine, yours",)
