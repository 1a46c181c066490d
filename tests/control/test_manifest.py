"""Manifests are read as they were written, and their sections layer by layer."""

import json
from collections.abc import Mapping

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from memory import MemoryStore
from tables import inline_stretch, md5_of, stretch

from prefect_freight.control.manifest import Manifest, read_fill, read_manifest
from prefect_freight.control.manifest_reader import ManifestReader
from prefect_freight.control.manifest_writer import INLINE_BYTES_PER_PART, ManifestWriter
from prefect_freight.control.part_checksums import put_checksums
from prefect_freight.errors import IntegrityError, UnsoundError
from prefect_freight.model import Kind, Round
from prefect_freight.plan.entries import digest, make_entries, no_rows
from prefect_freight.plan.sections import Section

LAYER = st.dictionaries(st.sampled_from("abcdef"), st.sampled_from(["", "x", "y", "z"]))
"""Of each changed key its new content; `""` takes it out."""


def write_layer(store: MemoryStore, number: int, layer: Mapping[str, str], name: str = "t") -> str:
    """Write puts and deletes of a section down as the manifest of an area."""
    area = f".freight/{number:06d}-x"
    writer = ManifestWriter(store, area)
    keys = pa.array([key for key, content in layer.items() if content], pa.string())
    contents = pa.array([content for content in layer.values() if content], pa.string())
    sizes = pa.array([1] * len(keys), pa.int64())
    entries = make_entries(keys, name, size=sizes, content=contents)
    writer.add(name, "", Round.OBJECTS, entries, no_rows(len(keys)))
    gone = pa.array([key for key, content in layer.items() if not content], pa.string())
    writer.add_gone(name, "", pa.table({"key": gone, "node": pa.repeat(name, len(gone))}))
    writer.close({})
    return area


@settings(deadline=None)
@given(st.lists(LAYER, min_size=1, max_size=6))
def test_of_each_key_the_newest_layer_counts(layers: list[dict[str, str]]) -> None:
    store, model = MemoryStore(), dict[str, str]()
    # A layer that changes nothing is not recorded as one.
    areas = [write_layer(store, n, layer) for n, layer in enumerate(layers) if layer or not n]
    for layer in layers:
        model |= layer
    section = Section("t", "", "", {}, tuple(areas), 0)
    rows = ManifestReader(store).entries(section, ["content", "round"]).to_pylist()
    assert {row["key"]: row["content"] for row in rows} == {k: v for k, v in model.items() if v}
    assert len({row["key"] for row in rows}) == len(rows)
    assert {row["round"] for row in rows} <= {"objects"}


def test_a_checksum_that_was_put_beside_a_part_comes_with_its_row() -> None:
    store = MemoryStore()
    area = write_layer(store, 1, {"a": "x", "b": "y"})
    manifest = read_manifest(store, area)
    assert manifest is not None
    put_checksums(store, area, manifest.parts[0], md5_of("x") + bytes(16))
    section = Section("t", "", "", {}, (area,), 2)
    rows = ManifestReader(store).entries(section, ["checksum"]).to_pylist()
    assert [row["checksum"] for row in rows] == [md5_of("x"), None]


def test_a_manifest_is_read_as_it_was_written() -> None:
    store = MemoryStore()
    writer = ManifestWriter(store, ".freight/000001-x")
    one, other = stretch(["a", "b"]), stretch(["c"])
    writer.add("t", "", Round.OBJECTS, one.entries, pa.array([True, False]))
    writer.add("t", "c", Round.OBJECTS, other.entries, no_rows(1))
    for start, rows in (("", 2), ("c", 1)):
        writer.add_section(Section("t", start, "d", {"n": [1]}, (".freight/000001-x",), rows, 1))
    written = writer.close({"objects": 3}, ["a note"])
    assert read_manifest(store, ".freight/000001-x") == written
    (part,) = written.parts
    assert (part.rows, part.kept) == (3, 1)
    assert [(rows.start, rows.first, rows.stop) for rows in part.slices] == [
        ("", 0, 2),
        ("c", 2, 3),
    ]
    assert written.changed_names == {"t"}


def test_parts_are_cut_by_their_inline_bytes() -> None:
    store, blob = MemoryStore(), np.random.default_rng(1).bytes(INLINE_BYTES_PER_PART // 4)
    writer = ManifestWriter(store, ".freight/000001-x")
    for first in (0, 5):
        some = inline_stretch([f"{n:02d}" for n in range(first, first + 5)], [blob] * 5)
        writer.add("t", "", Round.CHUNKS, some.entries, no_rows(5))
    manifest = writer.close({})
    rows = [part.rows for part in manifest.parts]
    assert (sum(rows), len(rows)) == (10, 3)
    assert max(rows) < 8  # not twice as many as there should be


def test_a_fill_is_written_where_an_entry_refers_to_it() -> None:
    store = MemoryStore()
    writer = ManifestWriter(store, ".freight/000001-x")
    for number, kind in enumerate((Kind.OBJECT, Kind.FILL)):
        fill = b"fill%d" % number
        writer.offer_fill(fill)
        key, text = pa.array([f"k{number}"]), digest(fill)
        size = pa.array([5], pa.int64())
        entries = make_entries(key, "t", kind=kind.value, location=text, size=size, content=text)
        writer.add("t", "", Round.CHUNKS, entries, no_rows(1))
    writer.close({})
    assert read_fill(store, ".freight/000001-x", digest(b"fill1")) == b"fill1"
    assert not [key for key in store.objects if digest(b"fill0") in key]


@pytest.mark.parametrize("index", [None, b"", b"{"])
def test_without_a_whole_index_there_is_no_manifest(index: bytes | None) -> None:
    store = MemoryStore()
    if index is not None:
        store.write(".freight/000001-x/manifest/manifest.json", index)
    assert read_manifest(store, ".freight/000001-x") is None
    with pytest.raises(UnsoundError, match="Run the export again"):
        ManifestReader(store).manifest(".freight/000001-x")


def test_a_later_version_is_named() -> None:
    store = MemoryStore()
    index = Manifest("x", (), ()).to_index() | {"format_version": 9}
    store.write("x/manifest/manifest.json", json.dumps(index).encode())
    with pytest.raises(IntegrityError, match="found version 9"):
        read_manifest(store, "x")


def test_a_part_that_is_no_table_is_named() -> None:
    store = MemoryStore()
    area = write_layer(store, 1, {"a": "x"})
    key = next(key for key in store.objects if key.endswith(".parquet"))
    store.write(key, b"rubbish")
    with pytest.raises(UnsoundError, match=f"{key}, found 7 bytes"):
        ManifestReader(store).entries(Section("t", "", "", {}, (area,), 1), [])
