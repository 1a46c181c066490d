"""Whatever becomes of a record: what uses it ends with a copy that is right, or says what to do."""

import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import pytest
from damaging import damage, unseal
from dying import DyingStore
from histories import data
from hypothesis import Phase, given, note, settings
from hypothesis import strategies as st
from layouts import LAYOUTS, Subject, ship
from runners import export_at_once
from visits import quietly

from prefect_freight.control.status import read_status
from prefect_freight.errors import FreightError
from prefect_freight.pruning import prune
from prefect_freight.stores.urls import open_store
from prefect_freight.verifying import verify

LOCK = ".freight/lock"
unshrunk = settings(quietly, phases=[Phase.explicit, Phase.reuse, Phase.generate])
"""Each try is an export: what was found is told as it was found."""


class Recorded(NamedTuple):
    """A source, and a copy with records of a whole run, of a difference, and of a killed run."""

    subject: Subject
    copy: Path
    markers: dict[str, int]
    """Of which state each is."""


@pytest.fixture(scope="module", params=LAYOUTS, ids=str)
def recorded(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Recorded:
    folder, layout = tmp_path_factory.mktemp("recorded"), request.param
    subject, copy = layout.make(folder, layout.source.NEXT, layout.source.OTHER), folder / "copy"
    markers = {ship(export_at_once, subject, copy, n, from_ref="last").marker: n for n in (0, 1)}
    with pytest.raises(FreightError):
        ship(export_at_once, subject, DyingStore(open_store(str(copy)), 20), 2)
    (copy / LOCK).unlink()
    return Recorded(subject, copy, markers)


def look_and_export(recorded: Recorded, copy: Path, draw: st.DataObject) -> None:
    """Use damaged records in all ways; only errors of ours may come of it, and no wrong copy."""
    looks: list[Callable[[], object]] = [
        lambda: read_status(open_store(str(copy))),
        lambda: verify(copy),
        lambda: prune(copy),
    ]
    for look in looks:
        with suppress(FreightError):
            look()
    state = draw.draw(st.integers(0, 2))
    from_ref = draw.draw(st.sampled_from([None, "last"]))
    verified = draw.draw(st.sampled_from(["none", "sizes", "checksums"]))
    try:
        report = ship(
            export_at_once, recorded.subject, copy, state, from_ref=from_ref, verify=verified
        )
    except FreightError as error:
        note(str(error))
    else:
        recorded.markers[report.marker] = state
        assert (copy / report.marker).exists()


def look_at_markers(recorded: Recorded, copy: Path) -> None:
    for marker in copy.glob("EXPORT_*_SUCCESS"):
        assert data(copy) == recorded.subject.expected(recorded.markers[marker.name])


def damaged(draw: st.DataObject, recorded: Recorded, folder: Path) -> Path:
    copy = folder / "copy"
    shutil.copytree(recorded.copy, copy)
    records = sorted(p for p in copy.glob(".freight/**/*.*") if p.name != "report.json")
    records = [path for path in records if path.is_file()]
    for path in draw.draw(st.lists(st.sampled_from(records), min_size=1, max_size=2, unique=True)):
        note(damage(draw, path))
    return copy


def check_damaged(recorded: Recorded, folder: Path, draw: st.DataObject) -> None:
    copy = damaged(draw, recorded, folder)
    look_and_export(recorded, copy, draw)
    look_at_markers(recorded, copy)


@settings(unshrunk, max_examples=4)
@given(draw=st.data())
def test_a_damaged_record_makes_no_wrong_copy(
    recorded: Recorded, tmp_path_factory: pytest.TempPathFactory, draw: st.DataObject
) -> None:
    check_damaged(recorded, tmp_path_factory.mktemp("damaged"), draw)


@pytest.mark.slow
@pytest.mark.timeout(3000)
@settings(unshrunk, max_examples=40)
@given(draw=st.data())
def test_none_of_many_damaged_records_makes_a_wrong_copy(
    recorded: Recorded, tmp_path_factory: pytest.TempPathFactory, draw: st.DataObject
) -> None:
    check_damaged(recorded, tmp_path_factory.mktemp("damaged"), draw)


@pytest.mark.slow
@pytest.mark.timeout(3000)
@settings(unshrunk, max_examples=40)
@given(draw=st.data())
def test_of_damaged_records_that_are_not_sealed_come_errors_of_ours(
    recorded: Recorded, tmp_path_factory: pytest.TempPathFactory, draw: st.DataObject
) -> None:
    folder = tmp_path_factory.mktemp("old")
    shutil.copytree(recorded.copy, folder / "old")
    unseal(folder / "old")
    old = Recorded(recorded.subject, folder / "old", recorded.markers)
    look_and_export(old, damaged(draw, old, folder), draw)
