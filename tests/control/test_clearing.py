"""Records that nothing refers to any more are removed, and no others."""

import dataclasses
from collections.abc import Iterable
from pathlib import Path

import pytest
from histories import History, create
from memory import MemoryStore
from recorded import close_night, plan_night

from prefect_freight.control.clearing import needed_areas, remove_old_runs
from prefect_freight.control.manifest import Manifest
from prefect_freight.control.runs import list_runs
from prefect_freight.errors import TransientError
from prefect_freight.model import Job
from prefect_freight.plan.sections import Section


class Keeping(MemoryStore):
    """A store that is gone after some deletes."""

    deletes = 100

    def delete(self, keys: Iterable[str]) -> None:
        if not self.deletes:
            raise TransientError("gone")
        self.deletes -= 1
        super().delete(keys)


def spend_nights(path: Path, copy: MemoryStore, nights: int) -> Job:
    """Record copies that have nothing in common."""
    history = History(path)
    for night in range(nights):
        history.commit(
            create("a", 3 + night, attributes={"n": night}, dtype=f"i{2 ** (night % 4)}")
        )
        job, manifest, _ = plan_night(history.path, copy)
        close_night(copy, job, manifest)
    return job


@pytest.mark.parametrize(("keep_runs", "kept"), [(1, 1), (3, 3), (5, 5), (20, 5)])
def test_the_last_runs_keep_their_records(tmp_path: Path, keep_runs: int, kept: int) -> None:
    copy = MemoryStore()
    job = spend_nights(tmp_path, copy, 5)
    options = dataclasses.replace(job.options, keep_runs=keep_runs)
    removed = remove_old_runs(copy, dataclasses.replace(job, options=options))
    assert (removed, len(list_runs(copy))) == (5 - kept, kept)
    areas = {run.area for run in list_runs(copy)}
    lying = [key for key in copy.objects if "/manifest/" in key or "/diff/" in key]
    assert {key.rsplit("/", 2)[0] for key in lying} == areas


def test_what_one_does_not_come_to_remove_the_next_one_does(tmp_path: Path) -> None:
    copy = Keeping()
    job = spend_nights(tmp_path, copy, 3)
    options = dataclasses.replace(job.options, keep_runs=1)
    copy.deletes = 1
    with pytest.raises(TransientError):
        remove_old_runs(copy, dataclasses.replace(job, options=options))
    assert len(list_runs(copy)) == 3  # its files are gone, and its record tells that it was there
    copy.deletes = 100
    assert remove_old_runs(copy, dataclasses.replace(job, options=options)) == 2
    assert [run.area for run in list_runs(copy)] == [job.area]


def test_the_area_of_an_assumed_base_is_its_run_s() -> None:
    areas = (".freight/000002-x/base", ".freight/000003-y")
    section = Section("a", "", "", {}, areas, 0)
    manifest = Manifest(".freight/000004-z", (section,), ())
    assert needed_areas(manifest) == {f".freight/00000{n}" for n in ("2-x", "3-y", "4-z")}
