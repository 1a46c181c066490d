"""Zarr stores without version control, exported: what is found, told, refused, and read."""

import json
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import xarray as xr
import zarr
from command import freight
from histories import attributes, create, data, group, tree
from layouts import LayoutCase, over_stores, ship
from runners import Run, export_at_once
from scripted import ScriptedStore

from prefect_freight.control.status import read_status
from prefect_freight.errors import (
    DestinationError,
    IncompleteError,
    InputError,
    NotARepositoryError,
    RefNotFoundError,
    UnsupportedNodeError,
)
from prefect_freight.exporting import dry_run
from prefect_freight.model import Snapshot
from prefect_freight.sources.objects import PlainObjects
from prefect_freight.sources.plain_zarr.source import ZarrStoreSource
from prefect_freight.stores.urls import open_store
from prefect_freight.verifying import verify

pytestmark = pytest.mark.filterwarnings("ignore")
VERSIONS: list[Literal[2, 3]] = [2, 3]
FORMATS = ["zarr2", "zarr3"]
over_versions = pytest.mark.parametrize("version", VERSIONS)
DOCUMENTS = {2: (".zgroup", ".zattrs"), 3: ("zarr.json",)}


def make(folder: Path, version: Literal[2, 3]) -> zarr.Group:
    """Make a store with an array, a group with another one, and attributes."""
    root = zarr.open_group(folder, mode="w", zarr_format=version)
    for change in (create("a"), create("g/b", 7), attributes("", title="t")):
        change(root)
    return root


@over_versions
@pytest.mark.parametrize("said", ["", "zarr+"])
@pytest.mark.by_flow_too("2", "zarr+")
def test_a_store_is_found_by_looking_and_its_copy_has_its_own_format(
    export: Run, tmp_path: Path, version: Literal[2, 3], said: str
) -> None:
    make(tmp_path / "store", version)
    report = export(f"{said}file://{tmp_path / 'store'}", tmp_path / "copy")
    assert (report.source, report.format) == (
        f"zarr+file://{tmp_path / 'store'}",
        f"zarr{version}",
    )
    copy = zarr.open_group(tmp_path / "copy", mode="r", use_consolidated=True)
    assert copy.metadata.zarr_format == version
    assert copy["g/b"][:].tolist() == list(range(1, 8))
    assert report.notes == ()


def test_an_array_alone_is_a_store_too(tmp_path: Path) -> None:
    for version in VERSIONS:
        array = zarr.create_array(
            tmp_path / str(version), shape=(5,), chunks=(2,), dtype="i4", zarr_format=version
        )
        array[:] = range(5)
        for format_ in FORMATS:
            copy = tmp_path / f"{version}-{format_}"
            export_at_once(tmp_path / str(version), copy, format=format_, verify="values")
            assert zarr.open_array(copy, mode="r")[:].tolist() == list(range(5))


def test_groups_may_be_called_as_the_folders_of_a_repository(tmp_path: Path) -> None:
    for change in (group("refs"), create("snapshots/x")):
        change(make(tmp_path / "store", 3))
    assert export_at_once(tmp_path / "store", tmp_path / "copy").format == "zarr3"


def test_what_is_no_store_is_told_with_what_lies_there(tmp_path: Path) -> None:
    make(tmp_path / "place" / "below", 2)
    with pytest.raises(NotARepositoryError, match=r"Zarr store.*place, found other objects"):
        export_at_once(tmp_path / "place", tmp_path / "copy")
    with pytest.raises(NotARepositoryError, match=r"zarr\.json, \.zarray, \.zgroup at its root"):
        export_at_once(f"zarr+file://{tmp_path / 'place'}", tmp_path / "copy")
    assert not (tmp_path / "copy").exists()


def test_there_is_no_history_to_refer_to(tmp_path: Path) -> None:
    make(tmp_path / "store", 2)
    with pytest.raises(RefNotFoundError, match="no ref 'v1'"):
        export_at_once(tmp_path / "store", tmp_path / "copy", ref="v1")


@over_versions
@pytest.mark.parametrize("format_", FORMATS)
def test_xarray_shows_datasets_that_it_wrote_as_they_were(
    tmp_path: Path, version: Literal[2, 3], format_: str
) -> None:
    times = np.array(["2020-01-01", "2020-01-02", "NaT"], "M8[ns]")
    packed = {"dtype": "i2", "scale_factor": 0.5, "_FillValue": -9}
    xr.Dataset(
        {
            "t": (("time", "x"), np.array([[0.0, np.nan], [1, 2], [3, 4]], "f4"), {"units": "K"}),
            "n": (("time", "x"), np.arange(6, dtype="i2").reshape(3, 2)),
            "packed": (("time",), [0.5, np.nan, 2.5], {}, packed),
            "when": (("time",), times),
            "good": (("time",), [True, False, True]),
            "label": (("x",), np.array(["a", "b"], object)),
            "scalar": ((), 0, {"grid_mapping_name": "none"}),
        },
        {"time": times[[0, 1, 1]] + np.arange(3), "x": [0, 1], "spot": ("x", [0.0, 2.0])},
        {"title": "é", "nan": float("nan")},
    ).to_zarr(tmp_path / "store", zarr_format=version, consolidated=True)
    report = export_at_once(tmp_path / "store", tmp_path / "copy", format=format_, verify="values")
    with (
        xr.open_zarr(tmp_path / "store") as was,
        xr.open_zarr(tmp_path / "copy", zarr_format=2 if format_ == "zarr2" else 3) as now,
    ):
        assert now.load().identical(was.load())
        kinds = [{k: v.dtype for k, v in each.variables.items()} for each in (was, now)]
        assert kinds[0] == kinds[1]
    assert not [note for note in report.notes if "consolidated" in note]


def test_what_has_no_document_is_told(tmp_path: Path) -> None:
    make(tmp_path / "store", 2)
    attributes("g", about="b")(zarr.open_group(tmp_path / "store", mode="a", zarr_format=2))
    (tmp_path / "store/g/.zgroup").unlink()
    report = export_at_once(tmp_path / "store", tmp_path / "copy", format="zarr3")
    assert [note.partition(":")[2] for note in report.notes] == [" 'g/.zattrs'", " 'g'"]
    assert zarr.open_array(tmp_path / "copy", path="g/b", mode="r")[:].tolist() == [*range(1, 8)]


@over_versions
def test_coordinates_of_a_selected_array_come_with_it(
    tmp_path: Path, version: Literal[2, 3]
) -> None:
    coordinates = {"time": [1, 2, 3], "x": [4, 5], "z": [6]}
    xr.Dataset({"t": (("time", "x"), np.ones((3, 2)))}, coordinates).to_zarr(
        tmp_path / "store", zarr_format=version
    )
    report = export_at_once(tmp_path / "store", tmp_path / "copy", include=["^t$"], verify="values")
    copy = zarr.open_group(tmp_path / "copy", mode="r", zarr_format=version)
    assert sorted(copy.array_keys()) == ["t", "time", "x"]
    assert report.notes == ()


@over_versions
def test_the_same_format_is_the_same_store(tmp_path: Path, version: Literal[2, 3]) -> None:
    make(tmp_path / "store", version)
    export_at_once(tmp_path / "store", tmp_path / "copy")
    was, now = tree(tmp_path / "store"), data(tmp_path / "copy")
    assert now.keys() - was.keys() == ({".zmetadata"} if version == 2 else set())
    assert not was.keys() - now.keys()
    for key in was:
        if key.rpartition("/")[2] not in DOCUMENTS[version]:
            assert was[key] == now[key] or key.endswith("zarr.json") or ".z" in key
            continue
        here, there = json.loads(was[key]), json.loads(now[key])
        there.pop("consolidated_metadata", None)
        assert here == there


@over_versions
def test_consolidated_metadata_is_made_of_the_documents_and_differences_are_told(
    tmp_path: Path, version: Literal[2, 3]
) -> None:
    root = make(tmp_path / "store", version)
    zarr.consolidate_metadata(tmp_path / "store", zarr_format=version)
    assert export_at_once(tmp_path / "store", tmp_path / "first").notes == ()
    root = zarr.open_group(tmp_path / "store", mode="a", use_consolidated=False)
    root["a"].attrs["units"] = "m"
    create("new")(root)
    (note,) = export_at_once(tmp_path / "store", tmp_path / "copy").notes
    assert "differs" in note
    assert "'a" in note
    assert "'new" in note
    copy = zarr.open_consolidated(tmp_path / "copy", zarr_format=version)
    assert copy["a"].attrs["units"] == "m"
    assert "new" in copy


@over_versions
@pytest.mark.parametrize("format_", FORMATS)
def test_what_is_no_part_of_the_hierarchy_is_named_and_left_out(
    tmp_path: Path, version: Literal[2, 3], format_: str
) -> None:
    make(tmp_path / "store", version)
    strays = {"README", "g/notes.txt", "a/9", "a/0.0", "a/c/9", "a/c/01", "a/deep/zarr.json"}
    below = {"zarr_format": version, "node_type": "group"}
    for key in strays:
        (tmp_path / "store" / key).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "store" / key).write_text(json.dumps(below))
    preview = dry_run(tmp_path / "store", tmp_path / "copy", format=format_)
    report = export_at_once(tmp_path / "store", tmp_path / "copy", format=format_)
    assert report.notes == preview.notes
    (note,) = [note for note in report.notes if "neither documents nor chunks" in note]
    assert note.startswith("7 objects")
    named = set(note.replace("'", "").partition(": ")[2].split(", ")) - {"…"}
    assert len(named) == 5
    assert named < strays
    if format_ == f"zarr{version}":
        assert not strays & data(tmp_path / "copy").keys()
    copy = zarr.open_group(tmp_path / "copy", mode="r", use_consolidated=False)
    assert sorted(path for path, _ in copy.members(max_depth=None)) == ["a", "g", "g/b"]


def test_of_a_store_of_both_formats_the_document_of_the_root_decides(tmp_path: Path) -> None:
    make(tmp_path / "store", 2)
    create("a")(zarr.open_group(tmp_path / "store", mode="a", zarr_format=2))
    (tmp_path / "store/a/zarr.json").write_text("not even JSON")
    report = export_at_once(tmp_path / "store", tmp_path / "two")
    assert report.format == "zarr2"
    assert report.notes == (
        "documents of Zarr 3 are left out, as the root's is of Zarr 2: 'a/zarr.json'",
    )
    root3 = {"zarr_format": 3, "node_type": "group", "attributes": {"is": 3}}
    (tmp_path / "store/zarr.json").write_text(json.dumps(root3))
    (tmp_path / "store/a/zarr.json").unlink()
    report = export_at_once(tmp_path / "store", tmp_path / "three")
    assert (report.format, set(data(tmp_path / "three"))) == ("zarr3", {"zarr.json"})
    assert "documents of Zarr 2 are left out" in report.notes[0]


ZARRAY = {
    "zarr_format": 2,
    "shape": [4],
    "chunks": [2],
    "dtype": "<f8",
    "fill_value": 0,
    "order": "C",
    "filters": None,
    "compressor": None,
}
DELTA = {"id": "delta", "dtype": ">f8"}
REFUSED: dict[str, dict[str, Any]] = {
    **{
        f"stored by '{codec}'": {"dtype": "|O", "filters": [{"id": codec}]}
        for codec in ("json2", "msgpack2", "pickle", "categorize", "vlen-array")
    },
    "stored by None": {"dtype": "|O"},
    "one byte order": {"dtype": [["a", "<i4"], ["b", ">f8"]]},
    "no arrays within structs": {"dtype": [["a", "<i4", [2]]]},
    "no data type '<f16'": {"dtype": "<f16"},
    "data type 'quark' is unknown": {"dtype": "quark"},
    "filter 'delta' of big-endian": {"dtype": ">f8", "filters": [DELTA]},
    "codec 'zfpy'": {"compressor": {"id": "zfpy"}},
    "codec 'delta' here": {"filters": [{"id": "zlib"}, DELTA]},
    "order 'K' is unknown": {"order": "K"},
    "no value of int8": {"dtype": "|i1", "fill_value": 300},
}


def put_odd_array(place: Path, reason: str) -> None:
    """Write an array that Zarr 3 refuses for a reason, with one chunk."""
    place.mkdir()
    (place / ".zarray").write_text(json.dumps(ZARRAY | REFUSED[reason]))
    (place / "1").write_bytes(b"anything")


@pytest.mark.parametrize("reason", REFUSED)
def test_what_zarr3_cannot_express_is_refused_by_name(tmp_path: Path, reason: str) -> None:
    store = tmp_path / "store"
    zarr.open_group(store, mode="w", zarr_format=2).create_group("g/h")
    put_odd_array(store / "g/h/x", reason)
    with pytest.raises(UnsupportedNodeError, match=rf"array 'g/h/x'.*{reason}.*--format zarr2"):
        export_at_once(store, tmp_path / "copy", format="zarr3")
    assert not (tmp_path / "copy").exists() or not tree(tmp_path / "copy")


def test_what_zarr3_cannot_express_is_no_matter_to_a_zarr2_copy(tmp_path: Path) -> None:
    zarr.open_group(tmp_path / "store", mode="w", zarr_format=2)
    for number, reason in enumerate(REFUSED):
        put_odd_array(tmp_path / "store" / str(number), reason)
    assert export_at_once(tmp_path / "store", tmp_path / "copy").format == "zarr2"
    copy = data(tmp_path / "copy")
    for number, reason in enumerate(REFUSED):
        assert json.loads(copy[f"{number}/.zarray"]) == ZARRAY | REFUSED[reason]
        assert copy[f"{number}/1"] == b"anything"


@pytest.mark.parametrize(
    ("key", "text", "expected"),
    [
        ("a/.zarray", "[]", "a metadata document"),
        ("a/.zarray", '{"zarr_format": 3}', "zarr_format 2"),
        ("g/.zgroup", "}", "a metadata document"),
        (".zattrs", "\x00", "a metadata document"),
    ],
)
def test_a_document_that_is_none_is_named(
    tmp_path: Path, key: str, text: str, expected: str
) -> None:
    make(tmp_path / "store", 2)
    (tmp_path / "store" / key).write_text(text)
    with pytest.raises(InputError, match=f"expected {expected} of Zarr 2 under '{key}'"):
        export_at_once(tmp_path / "store", tmp_path / "copy")
    assert not tree(tmp_path / "copy")


@over_versions
@pytest.mark.by_flow_too("2")
def test_a_chunk_that_changes_meanwhile_is_not_copied_and_the_next_export_is_whole(
    export: Run, tmp_path: Path, version: Literal[2, 3]
) -> None:
    root = make(tmp_path / "store", version)
    changed = []

    def change(operation: str, key: str) -> None:
        if operation == "write" and "/diff/" in key and not changed:
            changed.append(key)
            root["g/b"][3:6] = [9, 9, 9]

    destination = ScriptedStore(open_store(str(tmp_path / "copy")), change)
    with pytest.raises(IncompleteError, match=r"g/b/.*has changed since"):
        export(tmp_path / "store", destination)
    assert not list((tmp_path / "copy").glob("EXPORT_*_SUCCESS"))
    report = export(tmp_path / "store", tmp_path / "copy", from_ref="last")
    assert report.whole
    copied = zarr.open_group(tmp_path / "copy", mode="r", zarr_format=version)["g/b"][:]
    assert copied.tolist() == [1, 2, 3, 9, 9, 9, 7]


def test_a_store_that_changes_before_it_is_planned_is_told(tmp_path: Path) -> None:
    root = make(tmp_path / "store", 3)

    class Changing(ZarrStoreSource):
        """The store, which changes as soon as it has been pinned."""

        def resolve(self, ref: str) -> Snapshot:
            snapshot = super().resolve(ref)
            root["a"][:] = 0
            return snapshot

    with pytest.raises(IncompleteError, match="as they were when the export began"):
        export_at_once(Changing(PlainObjects(str(tmp_path / "store"))), tmp_path / "copy")
    assert not data(tmp_path / "copy")


def test_only_what_changed_moves_and_unchanged_arrays_are_not_even_compared(
    export: Run, tmp_path: Path
) -> None:
    root = make(tmp_path / "store", 2)
    export(tmp_path / "store", tmp_path / "copy", format="zarr3")
    root["a"][:3] = 9
    report = export(tmp_path / "store", tmp_path / "copy", format="zarr3", from_ref="last")
    assert {name: n for name, n in report.rounds.items() if n} == {"chunks": 1}


@over_stores
@pytest.mark.usually("plain", "store2-as-zarr2")
@pytest.mark.usually("plain", "store3-as-zarr3")
def test_differences_there_and_back_make_what_a_full_export_makes(
    export: Run, layout: LayoutCase, tmp_path: Path
) -> None:
    subject, copy = layout.make(tmp_path, layout.source.NEXT), tmp_path / "copy"
    ship(export, subject, copy, 0)
    for state in (1, 0):
        ship(export, subject, copy, state, from_ref="last")
        assert data(copy) == subject.expected(state)


@pytest.mark.parametrize(("source", "copy"), [("place", "place/in"), ("place/in", "place")])
def test_a_store_is_not_exported_into_itself(
    export: Run, tmp_path: Path, source: str, copy: str
) -> None:
    make(tmp_path / source, 3)
    before = tree(tmp_path / "place")
    with pytest.raises(DestinationError, match="apart from the source"):
        export(tmp_path / source, tmp_path / copy)
    assert tree(tmp_path / "place") == before


def test_a_copy_of_ours_is_a_store_too(tmp_path: Path) -> None:
    make(tmp_path / "store", 2)
    export_at_once(tmp_path / "store", tmp_path / "copy", format="zarr3")
    report = export_at_once(tmp_path / "copy", tmp_path / "again", format="zarr3")
    assert data(tmp_path / "again") == data(tmp_path / "copy")
    assert [note for note in report.notes if "records of exports" in note] == list(report.notes)


@pytest.mark.parametrize("format_", FORMATS)
def test_the_values_of_the_source_are_compared_with_those_of_the_copy(
    tmp_path: Path, format_: str
) -> None:
    root = make(tmp_path / "store", 2)
    export_at_once(tmp_path / "store", tmp_path / "copy", format=format_)
    source = f"zarr+file://{tmp_path / 'store'}"
    assert verify(tmp_path / "copy", source=source, values=True).whole
    root["a"][:3] = 9
    with pytest.raises(Exception, match="as they were when the export began"):
        verify(tmp_path / "copy", source=source)


def test_the_command_line_shows_exports_and_verifies_it(tmp_path: Path) -> None:
    make(tmp_path / "store", 2)
    source, copy = f"zarr+file://{tmp_path / 'store'}", tmp_path / "copy"
    preview = json.loads(freight("export", source, copy, "--dry-run", "--json").stdout)
    assert (preview["format"], preview["rounds"]["chunks"]["puts"]) == ("zarr2", 6)
    report = json.loads(freight("export", tmp_path / "store", copy, "--json").stdout)
    assert (report["source"], report["format"]) == (source, "zarr2")
    assert json.loads(freight("verify", copy, "--source", source, "--json").stdout)["whole"]
    (run,) = read_status(open_store(str(copy))).runs
    assert (run.run.source, run.is_current) == (source, True)
