"""A dry run counts what an export then does, and leaves nothing behind."""

from pathlib import Path

import pytest
from changes import BASE, CHANGES
from histories import History
from memory import MemoryStore
from runners import export_at_once

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
