"""What only plain objects have: changes that leave an object's name, size or time as they were.

What is promised of any layout is in test_differences.py, test_unfinished.py and test_sections.py.
"""

from pathlib import Path

import pytest
from folders import CHANGES, overwrite, put
from histories import data
from layouts import OBJECTS, ship
from runners import Run
from visits import BASES, cut_off

LATER = "file of the same size and time"


def test_puts_and_deletes_are_counted(export: Run, tmp_path: Path) -> None:
    changes = (overwrite("a"), put("n", b"new"), *CHANGES["folder removed"])
    subject = OBJECTS.make(tmp_path, changes)
    ship(export, subject, tmp_path / "copy", 0)
    report = ship(export, subject, tmp_path / "copy", 1, from_ref="last")
    assert (report.objects_transferred, report.objects_deleted) == (2, 2)
    assert (report.rounds["objects"], report.rounds["deletes"]) == (2, 2)


@pytest.mark.slow  # of some at once: test_unfinished.py
@pytest.mark.parametrize("from_ref", BASES)
@pytest.mark.parametrize("name", CHANGES)
def test_after_any_change_was_cut_off_what_comes_next_is_exact(
    export: Run, tmp_path: Path, name: str, from_ref: str | None
) -> None:
    for changes in range(4, 154, 25):
        subject = OBJECTS.make(tmp_path / str(changes), CHANGES[name], CHANGES[LATER])
        copy = tmp_path / f"copy-{changes}"
        ship(export, subject, copy, 0)
        ended = cut_off(export, subject, copy, changes, 1, from_ref="last")
        ship(export, subject, copy, 2, from_ref=from_ref)
        assert data(copy) == subject.expected(2), f"cut off after {changes} changes"
    assert ended, "the last one is to be late enough"
