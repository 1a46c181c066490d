"""Whole exports of copies that are many small sections: exact, and as cheap as the change."""

import dataclasses
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from dying import DyingStore
from histories import Change, History, create, data, write
from hypothesis import given, settings
from hypothesis import strategies as st
from layouts import LayoutCase, over_changes, over_layouts, ship
from memory import MemoryStore
from proxies import proxied
from recorded import close_night, plan_night
from runners import export_at_once
from servers import S3Server
from visits import Visit, quietly, states, visits, walk

from prefect_freight.control.manifest import read_manifest
from prefect_freight.control.manifest_reader import ManifestReader
from prefect_freight.control.runs import list_runs, read_last
from prefect_freight.control.status import read_status
from prefect_freight.errors import InputError
from prefect_freight.events import Event, Notice
from prefect_freight.model import ExportReport
from prefect_freight.stores import Store
from prefect_freight.stores.urls import open_store
from prefect_freight.verifying import verify

BASE: tuple[Change, ...] = (create("a", 40, chunks=(1,)), create("g/b", 7), create("g/h/c"))
NIGHT_BYTES = 60_000


@pytest.fixture
def history(tmp_path: Path) -> History:
    return History(tmp_path / "repository")


def fresh(source: Path, folder: Path, ref: str, format_: str = "zarr2") -> dict[str, bytes]:
    export_at_once(source, folder / f"fresh-{ref}", ref=ref, format=format_)
    return data(folder / f"fresh-{ref}")


def refuse_a_second_attempt(event: Event) -> None:
    """Raise where the engine found its own record to be wrong and mended that by copying all."""
    assert not (isinstance(event, Notice) and "copied anew" in event.text), event.text


OPTIONS = st.fixed_dictionaries(
    {"section_rows": st.sampled_from([3, 3, 12]), "keep_runs": st.sampled_from([1, 2, 20])}
)
ANYWHERE = st.none() | st.integers(0, 60)


def walk_anywhere(layout: LayoutCase, folder: Path, draw: st.DataObject) -> None:
    """Export one state after another, some cut off; each copy that is whole is verified too."""
    changes = draw.draw(states(layout, large=True))
    subject = layout.made_of(folder, layout.source.LARGE_BASE, *changes)
    path, options = draw.draw(visits(layout, ANYWHERE)), draw.draw(OPTIONS)

    def ship_and_verify(source: str, store: DyingStore, **given_options: Any) -> ExportReport:
        report = export_at_once(source, store, on_event=refuse_a_second_attempt, **given_options)
        assert store.dead or verify(folder / "copy").whole
        return report

    visited = [*path, Visit(0, "last", None)]
    walk(ship_and_verify, subject, 1 + len(changes), folder / "copy", visited, **options)


@settings(quietly, max_examples=2)
@given(draw=st.data())
@over_layouts
def test_any_walk_cut_off_anywhere_ends_exact(
    layout: LayoutCase, tmp_path_factory: pytest.TempPathFactory, draw: st.DataObject
) -> None:
    walk_anywhere(layout, tmp_path_factory.mktemp("walk"), draw)


@pytest.mark.slow
@pytest.mark.timeout(3000)
@settings(quietly, max_examples=100)
@given(draw=st.data())
@over_layouts
def test_many_walks_cut_off_anywhere_end_exact(
    layout: LayoutCase, tmp_path_factory: pytest.TempPathFactory, draw: st.DataObject
) -> None:
    walk_anywhere(layout, tmp_path_factory.mktemp("walk"), draw)


USUAL = {"many added", "file removed", "file becomes a folder", "folder becomes a file"}


@over_changes(lambda layout, name: name in USUAL)
def test_any_change_there_and_back_is_exact(layout: LayoutCase, tmp_path: Path, name: str) -> None:
    subject, copy = layout.make(tmp_path, layout.source.CHANGES[name]), tmp_path / "copy"
    few = {"section_rows": 3, "keep_runs": 2, "from_ref": "last"}
    for number, state in enumerate((0, 1, 0, 1)):
        ship(export_at_once, subject, copy, state, **few)
        assert data(copy) == subject.expected(state), f"after export {number}"


@pytest.mark.parametrize("name", ["section_rows", "keep_runs"])
def test_numbers_below_one_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match=f"expected {name} of at least 1, found 0"):
        export_at_once(tmp_path / "none", tmp_path / "copy", **{name: 0})


def test_a_night_that_changes_one_chunk_of_many_writes_little(history: History) -> None:
    history.commit(create("a", 2000, chunks=(1,)))
    copy = MemoryStore()
    export_at_once(history.path, copy)
    whole = sum(len(blob) for key, blob in copy.objects.items() if key.startswith(".freight/"))
    history.commit(write("a", slice(1000, 1001), -1))
    copy.forget()
    before = {*copy.objects}
    report = export_at_once(history.path, copy, from_ref="last")
    assert report.objects_transferred == 1
    new = sum(len(copy.objects[key]) for key in copy.objects.keys() - before)
    assert new <= copy.written < NIGHT_BYTES < whole


def parts(copy: MemoryStore, verb: str, area: str = "") -> dict[str, int]:
    """Return how often each part of a manifest was read or written."""
    return {
        key: n
        for (one, key), n in copy.requests.items()
        if one == verb and key.startswith(f"{area}/manifest/" if area else ".freight/")
        if key.endswith(".parquet") and "/manifest/" in key
    }


def test_the_part_of_an_unchanged_section_is_neither_read_nor_written(history: History) -> None:
    history.commit(create("a", 300, chunks=(1,)), create("b", 300, chunks=(1,)))
    copy = MemoryStore()
    job, manifest, _ = plan_night(history.path, copy, section_rows=100)
    close_night(copy, job, manifest)
    history.commit(write("a", slice(150, 151), -1))
    copy.forget()
    night, changed, plan = plan_night(history.path, copy, section_rows=100)
    assert [len(section.areas) for section in changed.by_name["a"]] == [1, 2, 1]
    assert plan.objects == sum(part.rows for part in changed.parts) == 1
    assert len(parts(copy, "write")) == 1
    # All chunks lie in one part, which holds the changed section's; documents are not touched.
    assert sorted(parts(copy, "read", manifest.area).values()) == [1]
    close_night(copy, night, changed)
    history.commit(lambda root: root.attrs.put({"title": "t"}))
    copy.forget()
    plan_night(history.path, copy, section_rows=100)
    assert not [key for key in parts(copy, "read") if "/manifest/chunks-" in key]
    assert not [key for key in parts(copy, "write") if "/manifest/chunks-" in key]


def test_of_many_arrays_each_part_is_read_once_at_most(history: History) -> None:
    history.commit(*[create(f"a{n:03d}", 4, chunks=(2,)) for n in range(200)])
    copy = MemoryStore()
    job, manifest, _ = plan_night(history.path, copy)
    close_night(copy, job, manifest)
    history.commit(write("a100", slice(0, 1), -1))
    copy.forget()
    _, changed, plan = plan_night(history.path, copy)
    assert plan.objects == 1
    assert max(parts(copy, "read").values()) == 1
    copy.forget()
    records = ManifestReader(copy)
    for section in changed.sections:  # as verification reads all of the copy
        records.entries(section, ["size"])
    assert max(parts(copy, "read").values()) <= 2  # chunks, and beside them those that changed


def spend_nights(history: History, copy: MemoryStore, nights: int, **options: Any) -> None:
    for night in range(nights):
        history.commit(write("a", slice(night, night + 1), -1))
        job, manifest, _ = plan_night(history.path, copy, **options)
        close_night(copy, job, manifest)


def test_a_status_costs_the_same_however_many_nights_there_were(history: History) -> None:
    history.commit(create("a", 100, chunks=(1,)))
    copy, requests = MemoryStore(), []
    for nights in (21, 9):
        spend_nights(history, copy, nights)
        copy.forget()
        assert len(read_status(copy).runs) == 20
        requests.append(copy.requests.total())
    assert requests[0] == requests[1]


def test_old_records_go_and_those_that_are_needed_stay(history: History, tmp_path: Path) -> None:
    history.commit(create("a", 100, chunks=(1,)), create("b", 100, chunks=(1,)))
    copy = MemoryStore()
    export_at_once(history.path, copy, section_rows=100)
    first = read_last(copy)
    assert first is not None
    areas = []
    for night in range(6):
        ref = history.commit(write("a", slice(night, night + 1), -1))
        export_at_once(history.path, copy, from_ref="last", keep_runs=2, section_rows=100)
        areas.append({run.area for run in list_runs(copy)})
        assert verify(copy).whole
        assert copy.data() == fresh(history.path, tmp_path, ref)
    last = read_last(copy)
    assert last is not None
    manifest = read_manifest(copy, last.area)
    assert manifest is not None
    needed = {area for section in manifest.sections for area in section.areas}
    assert first.area in needed  # all of `b` lies there
    assert areas[-1] >= needed
    history.commit(create("a", 3), create("b", 3))
    export_at_once(history.path, copy, from_ref="last", keep_runs=2, section_rows=100)
    newest = {run.area for run in list_runs(copy)}
    assert first.area not in newest
    # The records of the last two, and nothing at all of those before.
    assert len(newest) == 2
    lying = {"/".join(key.split("/")[:2]) for key in copy.objects if "/0" in key}
    assert {name for name in lying if name.startswith(".freight/0")} == newest


def test_only_so_many_runs_are_remembered(history: History) -> None:
    copy, counts = MemoryStore(), []
    history.commit(create("a", 3))
    for number in range(4):
        history.commit(create("a", 3 + number))
        export_at_once(history.path, copy, from_ref="last", keep_runs=3)
        counts.append(len(list_runs(copy)))
    assert counts == [1, 2, 3, 3]


@pytest.mark.parametrize("verb", [export_at_once, verify])
def test_listing_the_copy_does_not_walk_the_control_area(
    history: History, verb: Callable[..., Any]
) -> None:
    history.commit(*BASE)
    copy = MemoryStore()
    export_at_once(history.path, copy)
    history.commit(create("n"))

    class Watched(MemoryStore):
        withouts: list[str] = []  # noqa: RUF012

        def list(self, prefix: str = "", *, without: str = "") -> Any:
            if not prefix:
                self.withouts.append(without)
            return super().list(prefix, without=without)

    watched = Watched(copy.objects)
    if verb is verify:
        verify(watched)
    else:
        export_at_once(history.path, watched, from_ref="last")
    assert {*watched.withouts} == {".freight/"}


def listed(store: Store, without: str = "") -> set[str]:
    return {key for page in store.list(without=without) for key in page["key"].to_pylist()}


def test_of_a_bucket_the_control_area_is_not_asked_for(s3: S3Server) -> None:
    store = open_store(f"s3://{s3.new_bucket()}/copy", s3.config())
    data_keys = {"a/0", "b", ".z"}
    records = {f".freight/000001-x/{n:04d}" for n in range(2_100)}  # three pages of a listing
    with ThreadPoolExecutor(32) as pool:
        list(pool.map(lambda key: store.write(key, b"1"), data_keys | records))
    with proxied(s3.endpoint_url) as proxy:
        config = dataclasses.replace(s3.config(), endpoint_url=proxy.endpoint_url)
        through = open_store(store.url, config)
        assert listed(through, without=".freight/") == data_keys
        few = proxy.requests.total()
        proxy.forget()
        assert listed(through) == data_keys | records
        assert few < proxy.requests.total()


def test_on_a_disk_the_control_area_is_not_opened(tmp_path: Path) -> None:
    store, opened, watching = open_store(str(tmp_path)), list[str](), threading.Event()
    for key in ("a/0", "b", ".freight/000001-x/0"):
        store.write(key, b"1")

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if event == "os.scandir" and watching.is_set():
            opened.append(str(arguments[0]))

    sys.addaudithook(hook)  # which cannot be removed, and so is told when to listen
    watching.set()
    assert listed(store, without=".freight/") == {"a/0", "b"}
    watching.clear()
    assert opened
    assert not [path for path in opened if ".freight" in path]
