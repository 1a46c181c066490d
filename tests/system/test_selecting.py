"""Exporting a part of a snapshot: that part is there, all of it and nothing else, from then on."""

import json
import re
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import xarray
import zarr
from command import freight
from histories import History, create, data, delete, tree
from layouts import OBJECTS, STORE, ZARR2, LayoutCase, Subject, over_layouts, ship
from runners import Run, export_at_once
from visits import cut_off

from prefect_freight.control.status import read_status
from prefect_freight.errors import DestinationError, InputError, UnsupportedNodeError
from prefect_freight.exporting import dry_run
from prefect_freight.stores.local import LocalStore
from prefect_freight.verifying import verify

FORMATS = ["zarr2", "zarr3"]
PART = {"include": ["^g/", "^d", "^many/01"]}
KEYS = r"^(g/|d|many/01)"
"""Of the sources of all layouts: some of it, and the keys (or paths of documents) that this is."""
OTHER_PART = {"exclude": ["^g/b$", "^many/"]}
OTHER_KEYS = r"^(?!g/b/|many/)"


def part(files: dict[str, bytes], keys: str) -> dict[str, Any]:
    """Return what of a full copy has these keys; of consolidated metadata what is of them."""
    chosen: dict[str, Any] = {}
    for key, blob in files.items():
        if key in (".zmetadata", "zarr.json"):
            document = json.loads(blob)
            holder = document.get("consolidated_metadata", document)
            holder["metadata"] = {
                name: below
                for name, below in holder["metadata"].items()
                if re.search(keys, f"{name}/") or name in (".zgroup", ".zattrs", "g", "g/h")
            }
            chosen[key] = document
        elif re.search(keys, key) or key in (".zgroup", ".zattrs"):
            chosen[key] = blob
    return chosen


def lies(copy: Path, subject: Subject, state: int, keys: str) -> bool:
    """Say whether a copy is that part of a full copy of a state, byte for byte."""
    return part(data(copy), "") == part(subject.expected(state), keys)


@pytest.mark.by_flow_too("zarr2")
@over_layouts
def test_a_part_is_kept_up_to_date_as_all_of_it_is(
    export: Run, layout: LayoutCase, tmp_path: Path
) -> None:
    subject, copy = layout.make(tmp_path, layout.source.NEXT, layout.source.OTHER), tmp_path / "c"
    first = ship(export, subject, copy, 0, **PART)
    assert lies(copy, subject, 0, KEYS)
    assert not lies(copy, subject, 0, "")
    assert (
        "--include '^g/'" in str(first.notes) or layout.round != "objects"
    )  # which matched nothing
    ship(export, subject, copy, 1, from_ref=subject.base(0), **PART)
    assert lies(copy, subject, 1, KEYS)
    changes = 6 if layout.round == "objects" else 12  # of which the first are records
    assert not cut_off(export, subject, copy, changes, 2, from_ref="last", **PART)
    report = ship(export, subject, copy, 2, from_ref="last", **PART)
    assert lies(copy, subject, 2, KEYS)
    assert report.resumed
    back = ship(export, subject, copy, 0, from_ref="last", **PART)
    assert lies(copy, subject, 0, KEYS)
    again = ship(export, subject, copy, 0, **PART)
    assert (again.objects_transferred, again.marker) == (0, back.marker)


@pytest.mark.by_flow_too("zarr3", "'.'")
@pytest.mark.usually("zarr2")
@pytest.mark.usually("'.'")
@over_layouts
@pytest.mark.parametrize(
    "asked", [{}, OTHER_PART, {"include": ["."]}, PART | {"exclude": ["^zz"]}], ids=str
)
def test_another_part_over_a_copy_is_refused_by_name(
    export: Run, layout: LayoutCase, tmp_path: Path, asked: dict[str, Any]
) -> None:
    subject, copy = layout.make(tmp_path), tmp_path / "copy"
    ship(export_at_once, subject, copy, 0, **PART)
    before = tree(copy)
    for base in (None, "last"):
        with pytest.raises(DestinationError, match=r"found one of what .*many/01.*replace") as said:
            ship(export, subject, copy, 0, from_ref=base, **asked)
        named = asked.get("exclude") or asked.get("include") or ["everything"]
        assert named[0] in str(said.value)
        assert "Say --include" in str(said.value)
    assert tree(copy) == before
    reversed_ = {"include": [*reversed(PART["include"])]}
    assert ship(export_at_once, subject, copy, 0, **reversed_).objects_transferred == 0


@over_layouts
@pytest.mark.parametrize("from_ref", [None, "last"])
def test_another_part_replaces_it_where_told_to(
    export: Run, layout: LayoutCase, tmp_path: Path, from_ref: str | None
) -> None:
    subject, copy = layout.make(tmp_path, layout.source.NEXT), tmp_path / "copy"
    ship(export_at_once, subject, copy, 0, **PART)
    told = {"from_ref": from_ref, "on_existing": "replace"} | OTHER_PART
    expected = dry_run(subject.url, copy, ref=subject.visit(1), **subject.options, **told)  # type: ignore[arg-type]
    assert any("'^g/'" in note and "would be replaced" in note for note in expected.notes)
    assert not cut_off(export_at_once, subject, copy, 7, 1, **told)
    with pytest.raises(DestinationError, match=r"found one of what"):
        ship(export, subject, copy, 1, **OTHER_PART)
    report = ship(export, subject, copy, 1, **told)
    assert lies(copy, subject, 1, OTHER_KEYS)
    assert any("'^g/'" in note and "was replaced" in note for note in report.notes)
    assert (expected.base_snapshot is not None) == (from_ref is not None)
    assert ship(export, subject, copy, 0, from_ref="last", **OTHER_PART).base_snapshot
    assert lies(copy, subject, 0, OTHER_KEYS)


@over_layouts
def test_a_base_on_the_users_word_is_that_part_too(
    export: Run, layout: LayoutCase, tmp_path: Path
) -> None:
    if layout in (OBJECTS, STORE):
        return  # whose snapshots have no names
    subject, copy = layout.make(tmp_path, layout.source.NEXT), tmp_path / "copy"
    ship(export_at_once, subject, tmp_path / "elsewhere", 0, **PART)
    for key, blob in data(tmp_path / "elsewhere").items():
        (copy / key).parent.mkdir(parents=True, exist_ok=True)
        (copy / key).write_bytes(blob)
    base = subject.base(0)
    ship(export, subject, copy, 1, from_ref=base, on_existing="merge", verify="checksums", **PART)
    assert lies(copy, subject, 1, KEYS)


@over_layouts
def test_verification_knows_of_the_part(export: Run, layout: LayoutCase, tmp_path: Path) -> None:
    subject, copy = layout.make(tmp_path), tmp_path / "copy"
    assert ship(export, subject, copy, 0, verify="values", **PART).verified == "values"
    assert verify(copy, source=subject.url, values=True).whole
    damaged = next(p for p in sorted(copy.rglob("[dg]/**/*")) if p.is_file())
    damaged.unlink()
    found = verify(copy, source=subject.url)
    assert (found.whole, found.to_dict()["selection"]["include"]) == (
        False,
        tuple(sorted(PART["include"])),
    )
    cure = found.cure.split(": ", 1)[1]
    assert "--include" in cure
    assert freight(*shlex.split(cure)[1:]).returncode == 0
    assert lies(copy, subject, 0, KEYS)


@over_layouts
def test_where_nothing_is_selected_the_nearest_names_are_told_and_nothing_is_written(
    export: Run, layout: LayoutCase, tmp_path: Path
) -> None:
    subject, copy = layout.make(tmp_path), tmp_path / "copy"
    near = "'d/deep/y'" if layout.round == "objects" else "'g/b'"
    name = "d/deeep/y" if layout.round == "objects" else "g/bb"
    with pytest.raises(InputError, match=f"--include '\\^{name}' to select.*Did you mean {near}"):
        ship(export, subject, copy, 0, include=[f"^{name}"])
    assert tree(copy) == {}
    ship(export, subject, copy, 0)
    before = tree(copy)
    with pytest.raises(InputError, match="missing"):
        ship(export, subject, copy, 0, include=["(g"])
    assert tree(copy) == before


@pytest.mark.by_flow_too("zarr2")
@pytest.mark.parametrize("format_", FORMATS)
def test_other_readers_see_the_part_consolidated_or_not(
    export: Run, weather: Path, tmp_path: Path, format_: str
) -> None:
    copy = tmp_path / "copy"
    export(weather, copy, format=format_, include=["/rain$", "^stations/name$"])
    wanted = ["stations", "stations/name", "surface"]
    wanted += [f"surface/{name}" for name in ("lat", "lon", "rain", "time")]
    session = History(weather).repository.readonly_session("main")
    source = xarray.open_zarr(session.store, group="surface", consolidated=False)
    for consolidated in (True, False):
        root = zarr.open_group(copy, mode="r", use_consolidated=consolidated)
        assert sorted(name for name, _ in root.members(max_depth=None)) == wanted
        assert root.attrs["title"] == "A made-up weather archive"
        shown = xarray.open_zarr(copy, group="surface", consolidated=consolidated)
        assert shown.identical(source[["rain"]].drop_vars("height", errors="ignore"))
    # What is not selected is neither there nor promised.
    names = " ".join(data(copy))
    assert "temperature" not in names
    assert (
        b"temperature"
        not in (copy / (".zmetadata" if "2" in format_ else "zarr.json")).read_bytes()
    )


@pytest.mark.parametrize("format_", FORMATS)
def test_a_coordinate_comes_and_goes_with_the_snapshot(
    export: Run, tmp_path: Path, format_: str
) -> None:
    history, copy = History(tmp_path / "repository"), tmp_path / "copy"
    named = {"dimension_names": ["x"]}

    def there() -> list[str]:
        root = zarr.open_consolidated(copy)
        return sorted(name for name, _ in root.members(max_depth=None))

    history.commit(create("g/a", **named), create("g/other"))
    options = {"format": format_, "include": ["a$"], "from_ref": "last"}
    export(history.path, copy, **options)
    assert there() == ["g", "g/a"]
    history.commit(create("g/x", **named))
    export(history.path, copy, **options)
    assert there() == ["g", "g/a", "g/x"]
    history.commit(create("g/a", dimension_names=["y"]), create("ha"))
    assert export(history.path, copy, **options).objects_deleted
    assert there() == ["g", "g/a", "ha"]
    assert not (copy / "g/x").exists() or not list((copy / "g/x").iterdir())
    history.commit(delete("g/a"), delete("ha"))
    before = data(copy)
    with pytest.raises(InputError, match="to select arrays and groups"):
        export(history.path, copy, **options)
    assert data(copy) == before


def test_what_the_format_cannot_express_can_be_left_out(
    export: Run, new_repository: Callable[..., Path], tmp_path: Path
) -> None:
    def write(group: zarr.Group) -> None:
        group.create_array("plain", shape=(4,), dtype="i4")
        group.create_array("deep/shard.ed", shape=(8,), chunks=(2,), shards=(4,), dtype="i4")

    path = new_repository(write)
    with pytest.raises(UnsupportedNodeError) as caught:
        export(path, tmp_path / "copy")
    named = re.search(r"--exclude '([^']*)'", str(caught.value))
    assert named
    export(path, tmp_path / "copy", exclude=[named[1]])
    root = zarr.open_consolidated(tmp_path / "copy")
    assert sorted(name for name, _ in root.members(max_depth=None)) == ["deep", "plain"]
    assert not [key for key in data(tmp_path / "copy") if "ed/" in key]


def test_the_command_line_selects_and_shows_what_was_selected(
    weather: Path, tmp_path: Path
) -> None:
    chosen = ["--group", "surface", "--exclude", "rain", "--exclude=-x"]
    shown, copy = "--group surface --exclude=-x --exclude rain", tmp_path / "copy"
    previewed = freight("export", weather, copy, *chosen, "--dry-run").stdout
    assert f"with {shown} to" in previewed
    assert "surface/rain" not in previewed
    assert "stations" not in previewed
    done = freight("export", weather, copy, *chosen).stdout
    assert f"Selection: {shown}" in done
    assert "--exclude=-x matches none" in done
    assert shown in freight("status", copy).stdout
    refused = freight("export", weather, copy, "--from-ref", "last")
    assert refused.returncode == 1
    assert f"found one of what {shown} selects" in refused.stderr


def test_records_hold_the_selection(weather: Path, tmp_path: Path) -> None:
    copy, record = tmp_path / "copy", {"group": "surface", "include": ("t$",), "exclude": ()}
    chosen: dict[str, Any] = {"group": "surface/", "include": ["t$", "t$"]}
    assert dry_run(weather, copy, **chosen).to_dict()["selection"] == record
    assert export_at_once(weather, copy, **chosen).to_dict()["selection"] == record
    (run,) = read_status(LocalStore(str(copy))).to_dict()["runs"]
    assert run["run"]["selection"] == record
    assert verify(copy).to_dict()["selection"] == record
    (marker,) = copy.glob("EXPORT_*_SUCCESS")
    assert "It holds what --group surface --include 't$' selects." in marker.read_text()


@pytest.mark.slow
def test_of_a_copy_that_was_selected_before_records_told_so_all_is_as_it_was(
    export: Run, tmp_path: Path
) -> None:
    """An export of everything has the identity, and the record, that it had always."""
    subject, copy = ZARR2.make(tmp_path), tmp_path / "copy"
    report = ship(export, subject, copy, 0)
    for path in [*copy.glob(".freight/runs/*"), copy / ".freight/last.json"]:
        record = json.loads(path.read_bytes())
        del record["selection"]
        path.write_text(json.dumps(record))
    again = ship(export, subject, copy, 0)
    assert (again.export_id, again.objects_transferred) == (report.export_id, 0)
    with pytest.raises(DestinationError, match="found one of everything"):
        ship(export, subject, copy, 0, **PART)
