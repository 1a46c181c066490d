"""Arrays that leave the view, seen between any two operations: each document there is a valid one.

Whatever the consolidated metadata at the destination is: as we wrote it, none, or damaged.
"""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from engine import run_engine
from histories import Change, History, create, data
from runners import Run, export_at_once
from scripted import ScriptedStore
from zarr.core.group import GroupMetadata
from zarr.core.metadata import ArrayV2Metadata, ArrayV3Metadata

from prefect_freight.errors import AccessError, IncompleteError
from prefect_freight.events import Event, Notice
from prefect_freight.exporting import dry_run
from prefect_freight.stores.urls import open_store

FORMATS = ["zarr2", "zarr3"]
DOCUMENTS = ("zarr.json", ".zarray", ".zgroup", ".zattrs", ".zmetadata")
formats = pytest.mark.parametrize("format_", FORMATS)


def check_document(name: str, text: bytes, attributes: bytes) -> None:
    """Raise if zarr would not take a document; `.zattrs` stand beside that of their node."""
    document = json.loads(text)
    match name:
        case "zarr.json" if document["node_type"] == "array":
            ArrayV3Metadata.from_dict(document)
        case "zarr.json":
            GroupMetadata.from_dict(document)
            unknown = {*document} - {"zarr_format", "node_type", "attributes"}
            assert unknown <= {"consolidated_metadata"}
        case ".zarray":
            ArrayV2Metadata.from_dict(document | {"attributes": json.loads(attributes)})
        case ".zmetadata":
            assert document["zarr_consolidated_format"] == 1
            for key, shown in document["metadata"].items():
                folder, _, below = key.rpartition("/")
                near = document["metadata"].get(f"{folder}/.zattrs" if folder else ".zattrs", {})
                check_document(below, json.dumps(shown).encode(), json.dumps(near).encode())
        case _:
            assert isinstance(document, dict)


def documents(root: Path) -> dict[str, bytes]:
    """Return the documents under a root by their path."""
    found = (path for name in DOCUMENTS for path in root.rglob(name))
    return {str(path.relative_to(root)): path.read_bytes() for path in found}


class Watched:
    """A destination whose documents are looked at before each operation that changes anything."""

    def __init__(self, path: Path) -> None:
        self.path, self.changes = path, list[tuple[str, str]]()
        self.store = ScriptedStore(open_store(str(path)), self._look)
        self._unchanged = documents(path)

    def _look(self, operation: str, key: str) -> None:
        if operation not in ("write", "delete") or key.startswith((".freight", "EXPORT_")):
            return
        self.changes.append((operation, key))
        there = documents(self.path)
        for path, text in there.items():
            # What somebody else has damaged stays so until it is written again.
            if text != self._unchanged.get(path):
                beside = path.removesuffix(".zarray") + ".zattrs"
                check_document(path.rpartition("/")[2], text, there.get(beside, b"{}"))

    def changed(self, operation: str) -> list[str]:
        """Return the documents that were changed so, in order."""
        return [k for o, k in self.changes if o == operation and k.split("/")[-1] in DOCUMENTS]


def without_consolidated(path: Path) -> None:
    (path / ".zmetadata").unlink(missing_ok=True)
    root = path / "zarr.json"
    if root.exists():
        document = json.loads(root.read_bytes())
        del document["consolidated_metadata"]
        root.write_text(json.dumps(document))


def damaged(text: bytes) -> Callable[[Path], None]:
    def damage(path: Path) -> None:
        for name in (".zmetadata", "zarr.json"):
            if (path / name).exists():
                (path / name).write_bytes(text)

    return damage


def cut_short(path: Path) -> None:
    for name in (".zmetadata", "zarr.json"):
        if (path / name).exists():
            (path / name).write_bytes((path / name).read_bytes()[:-40])


DAMAGES: dict[str, Callable[[Path], None]] = {
    "as it was": lambda _: None,
    "gone": without_consolidated,
    "empty": damaged(b""),
    "cut short": cut_short,
    "other": damaged(b"[1]"),
    "no text": damaged(b"\xff\x00\xfe"),
}


@pytest.mark.usually("plain", "zarr2")
@pytest.mark.usually("as it was-zarr3")
@pytest.mark.by_flow_too("empty-zarr2")
@formats
@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES.keys())
def test_every_document_is_valid_at_any_time(
    tmp_path: Path, export: Run, damage: Callable[[Path], None], format_: str
) -> None:
    history = History(tmp_path / "repository")
    history.commit(create("a"), create("g/b"))
    export_at_once(history.path, tmp_path / "copy", format=format_)
    damage(tmp_path / "copy")
    history.commit(create("a", dtype="f8"))
    watched = Watched(tmp_path / "copy")
    report = export(history.path, watched.store, format=format_, from_ref="last", concurrency=1)
    assert report.whole
    assert {*watched.changed("delete")} >= {"a/.zarray" if format_ == "zarr2" else "a/zarr.json"}
    export_at_once(history.path, tmp_path / "anew", format=format_)
    assert data(tmp_path / "copy") == data(tmp_path / "anew")


@pytest.mark.slow
@formats
@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES.keys())
def test_a_damaged_document_stops_no_full_export(
    tmp_path: Path, damage: Callable[[Path], None], format_: str
) -> None:
    history = History(tmp_path / "repository")
    history.commit(create("a"), create("g/b"))
    export_at_once(history.path, tmp_path / "copy", format=format_)
    damage(tmp_path / "copy")
    history.commit(create("a", dtype="f8"), create("c"))
    assert export_at_once(history.path, tmp_path / "copy", format=format_).whole
    export_at_once(history.path, tmp_path / "anew", format=format_)
    assert data(tmp_path / "copy") == data(tmp_path / "anew")


def root_array(history: History, dtype: str) -> None:
    """Make the root of a repository an array."""
    session = history.repository.writable_session("main")
    given: dict[str, Any] = {"shape": (6,), "chunks": (2,), "dtype": dtype, "overwrite": True}
    zarr.create_array(session.store, **given)[...] = np.arange(1, 7)
    session.commit("root")


def root_group(history: History, *changes: Change) -> None:
    """Make the root of a repository a group."""
    session = history.repository.writable_session("main")
    root = zarr.create_group(session.store, overwrite=True)
    for change in changes:
        change(root)
    session.commit("root")


@formats
def test_a_root_array_leaves_and_comes_back_once(tmp_path: Path, export: Run, format_: str) -> None:
    history = History(tmp_path / "repository")
    root_array(history, "i4")
    export_at_once(history.path, tmp_path / "copy", format=format_)
    root_array(history, "f8")
    watched = Watched(tmp_path / "copy")
    assert export(history.path, watched.store, format=format_, from_ref="last", concurrency=1).whole
    own = [".zarray", ".zattrs"] if format_ == "zarr2" else ["zarr.json"]
    assert sorted(watched.changed("delete")) == own
    assert sorted(watched.changed("write")) == own
    kinds = [operation for operation, key in watched.changes if key in DOCUMENTS]
    assert kinds == ["delete"] * len(own) + ["write"] * len(own)
    assert zarr.open_array(tmp_path / "copy", mode="r")[:].tolist() == [1, 2, 3, 4, 5, 6]


@pytest.mark.by_flow_too("zarr2")
@formats
def test_what_is_out_of_view_is_named_with_its_time_until_it_is_back(
    tmp_path: Path, export: Run, format_: str
) -> None:
    history, copy = History(tmp_path / "repository"), tmp_path / "copy"
    history.commit(create("a"), create("g/b"), create("stays"))
    assert export_at_once(history.path, copy, format=format_).arrays_withdrawn == ()
    history.commit(create("a", dtype="f8"), create("g/b", chunks=(4,)))
    preview = dry_run(history.path, copy, format=format_, from_ref="last")
    assert "out of view while they change: a, g/b" in preview.notes

    def refuse(operation: str, key: str) -> None:
        if operation == "write" and key.startswith("g/b/"):
            raise AccessError("may not write")

    broken = ScriptedStore(open_store(str(copy)), refuse)
    with pytest.raises(IncompleteError) as caught:
        export(history.path, broken, format=format_, from_ref="last")
    failed = caught.value.report
    assert failed
    assert failed.arrays_withdrawn == ("a", "g/b")
    marker = (copy / failed.marker).read_text()
    assert "2 arrays are out of view" in failed.notes[-1]
    assert "2 arrays are out of view" in marker

    time.sleep(1)  # since it is told how long they were away, and not how long this attempt took
    told: list[Event] = []
    report = run_engine(
        "plain", history.path, copy, format=format_, from_ref="last", listener=told.append
    )
    assert report.arrays_withdrawn == ("a", "g/b")
    assert report.seconds_withdrawn > 1 > report.seconds - 1
    assert report.notes[-1].startswith("2 arrays were out of view for ")
    assert report.notes[-1].endswith("while they changed: a, g/b")
    notices = [event.text for event in told if isinstance(event, Notice)]
    assert ["are out" in notices[0], "were out" in notices[1]] == [True, True]


@formats
def test_a_root_array_that_was_out_of_view_is_told_as_back(tmp_path: Path, format_: str) -> None:
    history = History(tmp_path / "repository")
    root_array(history, "i4")
    export_at_once(history.path, tmp_path / "copy", format=format_)
    root_array(history, "f8")
    report = export_at_once(history.path, tmp_path / "copy", format=format_, from_ref="last")
    assert report.arrays_withdrawn == ("",)
    assert report.notes[-1].startswith("1 array was out of view for ")
    assert report.notes[-1].endswith("while it changed: /")


@formats
def test_a_root_that_becomes_a_group_and_an_array_again(tmp_path: Path, format_: str) -> None:
    history = History(tmp_path / "repository")
    root_array(history, "i4")
    export_at_once(history.path, tmp_path / "copy", format=format_)
    for change in (
        lambda: root_group(history, create("a"), create("c/b")),
        lambda: root_array(history, "i4"),
    ):
        change()
        watched = Watched(tmp_path / "copy")
        assert export_at_once(
            history.path, watched.store, format=format_, from_ref="last", concurrency=1
        ).whole
        export_at_once(history.path, tmp_path / "anew", format=format_)
        assert data(tmp_path / "copy") == data(tmp_path / "anew")


def test_rectilinear_chunks_without_consolidated_metadata(tmp_path: Path, export: Run) -> None:
    with zarr.config.set({"array.rectilinear_chunks": True}):
        history = History(tmp_path / "repository")
        edges = create("r", 6, chunks=[[1, 2, 3]])
        history.commit(create("a"), edges)
        export_at_once(history.path, tmp_path / "copy", format="zarr3")
        history.commit(create("a", dtype="f8"))
        watched = Watched(tmp_path / "copy")
        assert export(
            history.path, watched.store, format="zarr3", from_ref="last", concurrency=1
        ).whole
        assert zarr.open_group(tmp_path / "copy", mode="r")["a"].dtype == "f8"
