"""Objects at the destination that are not ours: never damaged unasked, never read as the copy's."""

import json
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from command import freight
from dying import DyingStore
from folders import Folder
from folders import put as put_file
from histories import Change, History, create, data, tree, write
from memory import MemoryStore
from runners import Run, export_at_once
from servers import S3Server

from prefect_freight.errors import (
    DestinationError,
    FreightError,
    IncompleteError,
    InputError,
    OccupiedError,
)
from prefect_freight.exporting import dry_run
from prefect_freight.stores import Store
from prefect_freight.stores.urls import open_store
from prefect_freight.verifying import verify

BASE: tuple[Change, ...] = (create("a", 9), create("g/b", 7))
SPARSE: Change = write("a", slice(3, 6), 0)
"""Leaves the second chunk of `a` out."""
TAKEN = {"zarr2": ["a/1", "a/7", "zarr.json", "g/b/zarr.json"], "zarr3": ["a/c/1", "a/.zarray"]}
"""What a reader of the sparse copy would take for a part of it."""
BESIDE = {
    "zarr2": ["a/c/1", "a/notes", "g/other/.zarray", "readme"],
    "zarr3": ["a/1", "a/c/notes", "g/other/zarr.json", "readme"],
}
"""What nobody who reads it looks for."""
PLACES = [("zarr2", key) for key in TAKEN["zarr2"]] + [("zarr3", key) for key in TAKEN["zarr3"]]


@pytest.fixture
def history(tmp_path: Path) -> History:
    history = History(tmp_path / "repository")
    history.commit(*BASE, SPARSE)
    return history


def keys_of(store: Store) -> set[str]:
    return {key for page in store.list() for key in page["key"].to_pylist()}


def markers(root: Path) -> list[str]:
    return [path.name.rpartition("_")[2] for path in root.glob("EXPORT_*")]


def put(root: Path, key: str, data: bytes = b"mine") -> None:
    (root / key).parent.mkdir(parents=True, exist_ok=True)
    (root / key).write_bytes(data)


@pytest.mark.by_flow_too("zarr2-a/1")
@pytest.mark.parametrize(("format_", "key"), PLACES)
def test_what_a_reader_would_take_for_the_copy_is_wrong(
    export: Run, history: History, tmp_path: Path, format_: str, key: str
) -> None:
    copy = tmp_path / "copy"
    export(history.path, copy, format=format_)
    put(copy, key)
    assert [wrong for wrong, _ in verify(copy).differences.wrong_keys] == [key]
    for _ in range(2):  # it is no reason to copy anything, and is not forgotten
        with pytest.raises(IncompleteError, match=f"{key}.*take it for.*replace") as caught:
            export(history.path, copy, format=format_)
        assert caught.value.report is not None
        assert caught.value.report.objects_transferred == 0
        assert markers(copy) == ["FAILURE"]
    (copy / key).unlink()
    assert export(history.path, copy, format=format_).objects_transferred == 0
    assert markers(copy) == ["SUCCESS"]


@pytest.mark.parametrize("from_ref", [None, "last"])
def test_a_later_export_finds_it_too(
    export: Run, history: History, tmp_path: Path, from_ref: str | None
) -> None:
    export(history.path, tmp_path / "copy")
    put(tmp_path / "copy", "a/1")
    history.commit(write("a", slice(0, 3), 9))
    with pytest.raises(FreightError, match=r"a/1.*a chunk of array 'a'"):
        export(history.path, tmp_path / "copy", from_ref=from_ref)


@pytest.mark.parametrize("format_", ["zarr2", "zarr3"])
def test_what_nobody_looks_for_is_a_note(
    export: Run, history: History, tmp_path: Path, format_: str
) -> None:
    for key in BESIDE[format_]:
        put(tmp_path / "copy", key)
    report = export(history.path, tmp_path / "copy", format=format_, on_existing="merge")
    assert "4 objects there are not ours and were left" in report.notes[0]
    found = verify(tmp_path / "copy").differences
    assert sorted(found.foreign_keys) == sorted(BESIDE[format_])
    assert found.whole


def test_copies_of_plain_objects_have_no_readers_of_their_own(export: Run, tmp_path: Path) -> None:
    folder = Folder(tmp_path / "source")
    put(tmp_path / "copy", "0")
    put(tmp_path / "copy", "zarr.json")
    assert export(folder.url, tmp_path / "copy", format="objects", on_existing="merge").whole


def test_the_command_names_it_as_wrong(history: History, tmp_path: Path) -> None:
    export_at_once(history.path, tmp_path / "copy")
    put(tmp_path / "copy", "zarr.json")
    done = freight("verify", tmp_path / "copy")
    assert done.returncode == 1
    assert "wrong zarr.json: not of this copy, and a reader would take it for" in done.stdout
    again = freight("export", history.path, tmp_path / "copy", "--json")
    assert again.returncode == 1
    assert json.loads(again.stdout)["marker"].endswith("_FAILURE")


COLLISIONS = {
    "zarr2": [".zmetadata", ".zattrs", "a/0", "g/b/.zarray", "a/1"],
    "zarr3": ["zarr.json", "a/c/0", "g/zarr.json", "a/c/1"],
}


@pytest.mark.parametrize("format_", COLLISIONS)
def test_merging_refuses_what_is_in_the_way_and_touches_nothing(
    export: Run, history: History, destination: Store, format_: str
) -> None:
    for key in [*COLLISIONS[format_], "beside"]:
        destination.write(key, b"mine")
    before = keys_of(destination)
    for run in (dry_run, export):
        with pytest.raises(
            OccupiedError, match=r"not ours.*Nothing was touched.*replace"
        ) as caught:
            run(history.path, destination, format=format_, on_existing="merge")
        for key in COLLISIONS[format_][:3]:
            assert repr(key) in str(caught.value)
    assert keys_of(destination) == before
    assert {destination.read(key) for key in before} == {b"mine"}


def test_of_a_refused_merge_no_control_area_is_left(
    export: Run, history: History, tmp_path: Path
) -> None:
    put(tmp_path / "copy", "a/0")
    with pytest.raises(OccupiedError):
        export(history.path, tmp_path / "copy", on_existing="merge")
    assert not (tmp_path / "copy" / ".freight").exists()


@pytest.mark.by_flow_too("zarr2-local")
@pytest.mark.parametrize("format_", COLLISIONS)
def test_replacing_takes_over_what_is_in_the_way_alone(
    export: Run, history: History, tmp_path: Path, destination: Store, format_: str
) -> None:
    for key in [*COLLISIONS[format_], "beside"]:
        destination.write(key, b"mine")
    expected = dry_run(history.path, destination, format=format_, on_existing="replace")
    assert sorted(expected.replaced_keys) == sorted(COLLISIONS[format_])
    assert expected.replaced == len(COLLISIONS[format_])
    report = export(history.path, destination, format=format_, on_existing="replace")
    assert any("not ours and are replaced" in note for note in report.notes)
    export_at_once(history.path, tmp_path / "fresh", format=format_)
    fresh = data(tmp_path / "fresh")
    own = {k for k in keys_of(destination) if not k.startswith((".freight", "EXPORT_"))}
    assert own == {*fresh, "beside"}
    assert {key: destination.read(key) for key in fresh} == fresh
    assert destination.read("beside") == b"mine"
    assert verify(destination).differences.whole


def test_objects_that_are_in_the_way_are_refused_or_replaced(export: Run, tmp_path: Path) -> None:
    folder = Folder(tmp_path / "source")
    folder.change(put_file("d/x", b"1"), put_file("y", b"2"))
    for key in ("d/x", "y", "z"):
        put(tmp_path / "copy", key)
    with pytest.raises(OccupiedError, match="'d/x'"):
        export(folder.url, tmp_path / "copy", format="objects", on_existing="merge")
    assert {*tree(tmp_path / "copy").values()} == {b"mine"}
    export(folder.url, tmp_path / "copy", format="objects", on_existing="replace")
    assert data(tmp_path / "copy") == {"anchor": b"stays", "d/x": b"1", "y": b"2", "z": b"mine"}


@pytest.mark.parametrize("key", ["a", "g/b", "a/0/mine"], ids=["file", "file below", "folder"])
@pytest.mark.parametrize("later", [False, True], ids=["at first", "tonight"])
def test_on_a_disk_files_and_folders_are_in_each_others_way(
    export: Run, tmp_path: Path, key: str, later: bool
) -> None:
    history, copy = History(tmp_path / "repository"), tmp_path / "copy"
    history.commit(create("other"))
    if later:
        export(history.path, copy)
    put(copy, key)
    history.commit(*BASE)
    from_ref = "last" if later else None
    with pytest.raises(OccupiedError, match=f"'{key}'"):
        export(history.path, copy, from_ref=from_ref, on_existing="merge")
    assert (copy / key).read_bytes() == b"mine"
    export(history.path, copy, from_ref=from_ref, on_existing="replace")
    export_at_once(history.path, tmp_path / "fresh")
    assert data(copy) == data(tmp_path / "fresh")


def test_a_difference_refuses_what_lies_where_something_new_is_to_be(
    export: Run, history: History, tmp_path: Path
) -> None:
    copy = tmp_path / "copy"
    export(history.path, copy)
    before = data(copy)
    put(copy, "n/.zarray")
    history.commit(create("n"), write("a", slice(0, 3), 9))
    with pytest.raises(OccupiedError, match=r"'n/[.]zarray'"):
        export(history.path, copy, from_ref="last")
    assert data(copy) == before | {"n/.zarray": b"mine"}
    assert markers(copy) == ["SUCCESS"]
    (copy / "n/.zarray").unlink()
    assert export(history.path, copy, from_ref="last").whole


def test_what_a_difference_asks_for_follows_what_changed(tmp_path: Path) -> None:
    history, copy = History(tmp_path / "repository"), MemoryStore()
    history.commit(create("a", 400, chunks=(1,)))
    export_at_once(history.path, copy, verify="none")
    history.commit(create("b", 9))
    copy.forget()
    export_at_once(history.path, copy, from_ref="last", verify="none")
    assert copy.requests["list", ""] == 0
    assert (
        sum(n for (verb, key), n in copy.requests.items() if verb == "read" and key[0] == "a") == 0
    )


def test_a_base_on_the_users_word_is_his_to_replace_and_nothing_else(
    export: Run, tmp_path: Path
) -> None:
    history, copy = History(tmp_path / "repository"), tmp_path / "copy"
    first = history.commit(*BASE)
    export(history.path, copy, ref=first)
    for path in [*(copy / ".freight").rglob("*")][::-1]:
        path.rmdir() if path.is_dir() else path.unlink()
    put(copy, "n/.zarray")
    history.commit(create("n"), write("a", slice(0, 3), 9))
    with pytest.raises(
        OccupiedError, match=r"found objects that are not ours: 'n/.zarray' \(.*\)\. "
    ):
        export(history.path, copy, from_ref=first, on_existing="merge")
    (copy / "n/.zarray").unlink()
    assert export(history.path, copy, from_ref=first, on_existing="merge").whole


def test_what_was_to_be_put_over_is_not_ours_for_that(export: Run, tmp_path: Path) -> None:
    history, copy = History(tmp_path / "repository"), tmp_path / "copy"
    other = history.commit(create("z"))
    history.commit(*BASE)
    for key in (".zmetadata", "a/.zattrs", "a/0"):
        put(copy, key)
    with suppress(FreightError):
        export(history.path, DyingStore(open_store(str(copy)), 5), on_existing="merge")
    with pytest.raises(OccupiedError):
        export(history.path, copy, on_existing="merge")
    with pytest.raises(OccupiedError, match=r"'[.]zmetadata'"):
        export(history.path, copy, ref=other, on_existing="merge")
    assert data(copy) == dict.fromkeys((".zmetadata", "a/.zattrs", "a/0"), b"mine")


@pytest.mark.parametrize("on_existing", ["refuse", "merge"])
def test_another_sources_copy_is_replaced_only_if_told_so(
    export: Run, history: History, tmp_path: Path, on_existing: str
) -> None:
    other = History(tmp_path / "other")
    other.commit(create("a", 30), create("only/here"))
    copy = tmp_path / "copy"
    export(other.path, copy)
    before = tree(copy)
    with pytest.raises(DestinationError, match="--on-existing replace"):
        export(history.path, copy, on_existing=on_existing)
    assert tree(copy) == before
    report = export(history.path, copy, on_existing="replace", from_ref="last")
    export_at_once(history.path, tmp_path / "fresh")
    assert data(copy) == data(tmp_path / "fresh")
    assert "lay there, and was replaced" in report.notes[0]


@pytest.mark.parametrize(("old", "new"), [("zarr2", "zarr3"), ("zarr3", "zarr2")])
@pytest.mark.parametrize("killed_after", [None, 6, 14, 30])
def test_a_copy_of_another_format_can_be_replaced(
    export: Run, history: History, tmp_path: Path, old: str, new: str, killed_after: int | None
) -> None:
    copy = tmp_path / "copy"
    export(history.path, copy, format=old)
    with pytest.raises(DestinationError, match="--on-existing replace"):
        export(history.path, copy, format=new)
    if killed_after is not None:
        with suppress(FreightError):
            dying = DyingStore(open_store(str(copy)), killed_after)
            export(history.path, dying, format=new, on_existing="replace")
    export(history.path, copy, format=new, on_existing="replace")
    export_at_once(history.path, tmp_path / "fresh", format=new)
    assert data(copy) == data(tmp_path / "fresh")
    assert verify(copy).whole


def test_plain_objects_and_arrays_replace_each_other(
    export: Run, history: History, tmp_path: Path
) -> None:
    folder, copy = Folder(tmp_path / "source"), tmp_path / "copy"
    folder.change(put_file("a", b"a file"))
    export(folder.url, copy, format="objects")
    export(history.path, copy, on_existing="replace")
    export_at_once(history.path, tmp_path / "fresh")
    assert data(copy) == data(tmp_path / "fresh")
    export(folder.url, copy, format="objects", on_existing="replace")
    assert data(copy) == {"anchor": b"stays", "a": b"a file"}


Above = Callable[[Store], Store]


@pytest.mark.parametrize("on_existing", ["refuse", "merge", "replace"])
def test_a_destination_inside_another_is_refused(
    export: Run,
    history: History,
    destination: Store,
    on_existing: str,
    request: pytest.FixtureRequest,
) -> None:
    inner = below(destination, request)
    export(history.path, destination)
    before = keys_of(destination)
    for run in (dry_run, export):
        with pytest.raises(DestinationError, match="apart from other destinations"):
            run(history.path, inner, on_existing=on_existing)
    assert keys_of(destination) == before


@pytest.mark.usually("plain-local")
@pytest.mark.usually("plain-s3-merge")
@pytest.mark.by_flow_too("local")
@pytest.mark.parametrize("on_existing", ["refuse", "merge", "replace"])
def test_a_destination_around_another_is_refused(
    export: Run,
    history: History,
    destination: Store,
    on_existing: str,
    request: pytest.FixtureRequest,
) -> None:
    export(history.path, below(destination, request))
    before = keys_of(destination)
    for run in (dry_run, export):
        with pytest.raises(DestinationError, match="expected"):
            run(history.path, destination, on_existing=on_existing)
    assert keys_of(destination) == before


def below(destination: Store, request: pytest.FixtureRequest) -> Store:
    """Return a place two folders below a destination."""
    if destination.url.startswith("file://"):
        return open_store(f"{destination.url}/deep/er")
    s3: S3Server = request.getfixturevalue("s3")
    return open_store(f"{destination.url}/deep/er", s3.config())


def test_places_beside_each_other_are_apart(history: History, tmp_path: Path) -> None:
    for name in ("copies/one", "copies/two", "copies/one-more"):
        assert export_at_once(history.path, tmp_path / name).whole


def test_nested_destinations_of_fsspec_are_refused(history: History, tmp_path: Path) -> None:
    export_at_once(history.path, f"memory://{tmp_path.name}/outer")
    with pytest.raises(DestinationError, match="apart from other destinations"):
        export_at_once(history.path, f"memory://{tmp_path.name}/outer/inner")


def test_equal_urls_at_two_services_are_two_places(tmp_path: Path, s3: S3Server) -> None:
    url = f"s3://{s3.new_bucket()}/repository"
    History(tmp_path, s3.icechunk_storage(url)).commit(*BASE)
    with pytest.raises(DestinationError, match="apart from the source"):
        export_at_once(url, f"{url}/copy", config=s3.config(), source_config=s3.config())
    same = s3.config(endpoint_url=s3.endpoint_url.replace("127.0.0.1", "localhost"))
    with pytest.raises(DestinationError, match="apart from the source"):
        export_at_once(url, url, config=same, source_config=s3.config())
    elsewhere = s3.config(endpoint_url="http://127.0.0.1:9")
    with pytest.raises(FreightError) as caught:
        export_at_once(url, url, config=elsewhere, source_config=s3.config(), retry_for=0)
    assert not isinstance(caught.value, InputError)
    assert "no answer" in str(caught.value)
