"""The manifest says what the copy holds, in whatever layers it was written down."""

from pathlib import Path

import pytest
from changes import BASE, CHANGES, LARGE_CHANGE
from histories import Change, History, create, delete, resize, write
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from memory import MemoryStore
from recorded import close_night, entries_of, fresh_entries, plan_night
from tables import md5_of

from prefect_freight.control.manifest import Manifest
from prefect_freight.errors import UnsupportedNodeError
from prefect_freight.formats.zarr.names import METADATA
from prefect_freight.model import Format
from prefect_freight.steps.write_manifest import MAX_AREAS, WHOLE_AGAIN

NIGHTS = st.lists(
    st.tuples(st.lists(LARGE_CHANGE, max_size=3), st.sampled_from([1, 3, 12, 40])),
    min_size=1,
    max_size=7,
)


@pytest.fixture
def history(tmp_path: Path) -> History:
    return History(tmp_path / "repository")


def spend(history: History, copy: MemoryStore, *changes: Change, rows: int = 12) -> Manifest:
    """Commit changes and record the copy of them."""
    ref = history.commit(*changes)
    job, manifest, _ = plan_night(history.path, copy, ref, section_rows=rows)
    close_night(copy, job, manifest)
    return manifest


def layers(manifest: Manifest, name: str = "a") -> list[int]:
    """Return from how many areas each section of a component is read."""
    return [len(section.areas) for section in manifest.by_name[name]]


@settings(
    max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(nights=NIGHTS, format_=st.sampled_from([Format.ZARR2, Format.ZARR3]))
def test_the_layers_always_read_as_a_fresh_manifest(
    tmp_path_factory: pytest.TempPathFactory,
    nights: list[tuple[list[Change], int]],
    format_: Format,
) -> None:
    history = History(tmp_path_factory.mktemp("layers") / "repository")
    copy, snapshots = MemoryStore(), [history.commit(*BASE, create("a", 60, chunks=(1,)))]
    for number, (changes, rows) in enumerate(nights):
        snapshots.append(history.commit(*changes))
        # Now and then back to an earlier one.
        ref = snapshots[-1] if number % 3 else snapshots[number // 2]
        job, manifest, _ = plan_night(history.path, copy, ref, section_rows=rows, format=format_)
        if job.already_whole:
            continue
        close_night(copy, job, manifest)
        entries, fresh = entries_of(copy, manifest), MemoryStore()
        wanted = fresh_entries(history.path, fresh, ref, format_)
        for key, entry in entries.items():
            # What was put, or what the manifest itself knows of the bytes that it holds.
            checksums = {wanted[key].pop("checksum"), md5_of(entry["content"])}
            assert entry.pop("checksum") in checksums
        assert entries == wanted
        assert sum(section.rows for section in manifest.sections) == len(entries)


@pytest.mark.usually("array")
@pytest.mark.parametrize("name", CHANGES)
def test_a_copy_changed_there_and_back_is_read_as_it_is(history: History, name: str) -> None:
    copy, snapshots = MemoryStore(), [history.commit(*BASE), history.commit(*CHANGES[name])]
    for snapshot in (*snapshots, snapshots[0]):
        job, manifest, _ = plan_night(history.path, copy, snapshot, section_rows=2)
        if not job.already_whole:
            close_night(copy, job, manifest)
            wanted = fresh_entries(history.path, MemoryStore(), snapshot, Format.ZARR2)
            assert entries_of(copy, manifest).keys() == wanted.keys()


def test_a_section_with_few_changes_is_written_over(history: History) -> None:
    copy = MemoryStore()
    assert layers(spend(history, copy, create("a", 60, chunks=(1,)), rows=30)) == [1, 1]
    changed = spend(history, copy, write("a", slice(40, 41), -1), rows=30)
    assert layers(changed) == [1, 2]
    assert sum(part.rows for part in changed.parts) == 1
    assert layers(spend(history, copy, write("a", slice(40, 41), -2), rows=30)) == [1, 3]


def test_a_section_is_written_whole_again_when_a_tenth_of_it_has_changed(history: History) -> None:
    copy = MemoryStore()
    spend(history, copy, create("a", 30, chunks=(1,)), rows=30)
    few = 30 // WHOLE_AGAIN
    over = spend(history, copy, write("a", slice(0, few), -1), rows=30)
    assert (layers(over), over.by_name["a"][0].changes) == ([2], few)
    whole = spend(history, copy, write("a", slice(9, 10), -1), rows=30)
    assert (layers(whole), whole.by_name["a"][0].changes) == ([1], 0)
    assert [(part.rows, part.kept) for part in whole.parts] == [(30, 29)]


def test_a_section_is_never_read_from_more_areas_than_a_few(history: History) -> None:
    copy = MemoryStore()
    spend(history, copy, create("a", 400, chunks=(1,)), rows=400)
    nights = [
        layers(spend(history, copy, write("a", slice(n, n + 1), -1), rows=400))[0]
        for n in range(MAX_AREAS + 2)
    ]
    assert nights == [*range(2, MAX_AREAS + 1), 1, 2, 3]


def test_what_goes_and_comes_back_is_there(history: History) -> None:
    copy = MemoryStore()
    spend(history, copy, create("a", 60, chunks=(1,)), rows=30)
    gone = spend(history, copy, write("a", slice(5, 6), 0), rows=30)  # the fill value: no chunk
    assert "a/5" not in entries_of(copy, gone)
    back = spend(history, copy, write("a", slice(5, 6), 7), rows=30)
    assert layers(back) == [3, 1]
    assert len(entries_of(copy, back)) == len(entries_of(copy, gone)) + 1


def test_a_section_keeps_its_place_when_all_of_it_is_gone(history: History) -> None:
    copy = MemoryStore()
    full = spend(history, copy, create("a", 36, chunks=(1,)))
    short = spend(history, copy, resize("a", 12))
    again = spend(history, copy, resize("a", 36, 5))
    for manifest, rows in ((full, [12, 12, 12]), (short, [12, 0, 0]), (again, [12, 12, 12])):
        sections = manifest.by_name["a"]
        assert [(section.start, section.rows) for section in sections] == list(
            zip(["", "12", "24"], rows, strict=True)
        )


def test_an_appended_array_gets_sections_behind_those_that_it_has(history: History) -> None:
    copy = MemoryStore()
    spend(history, copy, create("a", 24, chunks=(1,)))
    starts = []
    for n in (36, 48, 60):
        manifest = spend(history, copy, resize("a", n, 5))
        starts.append([section.start for section in manifest.by_name["a"]])
    # A section may grow to twice its size before it is split.
    assert starts == [["", "12"], ["", "12", "36"], ["", "12", "36"]]


def test_of_an_array_that_is_as_it_was_no_reference_is_read(history: History) -> None:
    copy = MemoryStore()
    spend(history, copy, create("a"), create("b"))
    before = spend(history, copy, write("b", slice(0, 3), -1))
    for reference in (history.path / "manifests").iterdir():
        reference.unlink()
    after = spend(history, copy, attributes_only())
    assert after.by_name["b"][0].areas == before.by_name["b"][0].areas
    assert after.changed_names == {METADATA}


def attributes_only() -> Change:
    return lambda root: root.attrs.put({"title": "other"})


def test_positions_of_another_number_of_axes_are_compared_as_one(history: History) -> None:
    copy = MemoryStore()
    spend(history, copy, create("a", 36, chunks=(1,)))
    manifest = spend(history, copy, create("a", shape=(6, 6), chunks=(1, 1)))
    assert [section.start for section in manifest.by_name["a"]] == ["", "2.0", "4.0"]
    assert {key for key in entries_of(copy, manifest) if "." not in key} == set()


def test_an_array_that_is_gone_is_taken_out(history: History) -> None:
    copy = MemoryStore()
    spend(history, copy, create("a", 36, chunks=(1,)), create("b"))
    manifest = spend(history, copy, delete("a"))
    assert set(manifest.by_name) == {"b", METADATA}
    gone = [rows.name for part in manifest.parts if part.round == "deletes" for rows in part.slices]
    assert sorted(gone) == [METADATA, "a", "a", "a"]


def test_what_the_format_cannot_express_leaves_nothing_behind(history: History) -> None:
    history.commit(
        create("a", dtype="f8"), create("b", shape=(2,), dtype="float16", shards=(2,), chunks=(1,))
    )
    copy = MemoryStore()
    with pytest.raises(UnsupportedNodeError):
        plan_night(history.path, copy)
    assert copy.objects == {}
