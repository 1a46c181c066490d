"""`--prune`: what is not of the copy goes, whoever put it, and is listed first."""

from pathlib import Path

import pytest
from command import freight
from histories import data, tree
from layouts import LayoutCase, over_layouts, ship
from runners import Run

from prefect_freight.errors import InputError
from prefect_freight.exporting import dry_run

MARKER = f"EXPORT_{'0' * 64}_SUCCESS"


@pytest.mark.usually("plain-zarr2")
@pytest.mark.usually("plain-objects")
@over_layouts
def test_what_is_not_of_the_copy_goes(export: Run, layout: LayoutCase, tmp_path: Path) -> None:
    subject, copy = layout.make(tmp_path, layout.source.NEXT), tmp_path / "copy"
    ship(export, subject, copy, 0)
    for state, from_ref in ((0, None), (1, "last"), (1, None)):
        (copy / "theirs" / "deep").mkdir(parents=True, exist_ok=True)
        (copy / "theirs" / "deep" / "x").write_bytes(b"x")
        (copy / MARKER).write_text("Export completed successfully!")  # of lakeFS's own exporter
        there = tree(copy)
        ref = subject.visit(state)
        expected = dry_run(
            subject.url, copy, ref=ref, from_ref=from_ref, prune=True, **subject.options
        )
        assert expected.replaced_keys == ("theirs/deep/x",)
        assert tree(copy) == there
        kept = ship(export, subject, copy, state, from_ref=from_ref)
        assert "theirs/deep/x" in str(kept.notes) or kept.objects_transferred == 0
        report = ship(export, subject, copy, state, from_ref=from_ref, prune=True)
        assert (report.whole, report.objects_deleted) == (True, 1)
        assert data(copy) == subject.expected(state)
        assert (copy / MARKER).exists()
    again = ship(export, subject, copy, 1, prune=True)
    assert (again.objects_transferred, again.objects_deleted) == (0, 0)


def test_at_a_new_place_nothing_is_deleted_by_it_alone(tmp_path: Path) -> None:
    source, copy = tmp_path / "source", tmp_path / "copy"
    for folder in (source, copy):
        folder.mkdir()
        (folder / folder.name).write_bytes(b"x")
    done = freight("export", f"objects+file://{source}", copy, "--prune")
    assert done.returncode == 1
    assert "Nothing was touched" in done.stderr
    assert (copy / "copy").exists()
    done = freight(
        "export", f"objects+file://{source}", copy, "--prune", "--on-existing", "replace"
    )
    assert (done.returncode, set(data(copy))) == (0, {"source"})


def test_to_keep_and_to_prune_contradict_each_other(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="found both"):
        dry_run(f"objects+file://{tmp_path}", tmp_path / "c", prune=True, on_existing="merge")
