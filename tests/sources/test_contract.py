"""What every source does; and those of Zarr nodes: a new kind is a row of the table."""

import itertools
import pickle
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import zarr
from histories import History, create, group, tree, write
from lakefs_server.server import Lake
from servers import S3Server

from prefect_freight.errors import (
    IntegrityError,
    NotARepositoryError,
    NotFoundError,
    RefNotFoundError,
)
from prefect_freight.model import Snapshot
from prefect_freight.plan.sections import section_content
from prefect_freight.sources import OBJECT_SCHEMA, ChunkRefs, Source
from prefect_freight.sources.icechunk.source import IcechunkSource
from prefect_freight.sources.kinds import open_source
from prefect_freight.sources.lakefs.source import LakeFSObjects
from prefect_freight.sources.objects import PlainObjects
from prefect_freight.stores import Store
from prefect_freight.stores.urls import open_store

ROWS = np.arange(1, 145, dtype="i4").reshape(12, 12)


@dataclass(frozen=True)
class Place:
    """What a kind of source is tested with."""

    source: Source
    nowhere: Source
    """A source of a place where nothing lies."""
    refs: tuple[str, ...]
    """Names of the snapshot."""
    change: Callable[[], object]
    """Makes the first of the names one of another snapshot."""
    location: str
    content: bytes
    """An object of the source's storage."""
    missing: str = ""
    """A location of none; "" is one of a name that is longer by an x."""


def fill(history: History, source: Source, nowhere: Source) -> Place:
    """Write nodes in no order, chunks that are objects, inline and missing."""

    def rows(root: zarr.Group) -> None:
        array = root.create_array(
            "g/rows", shape=(12, 12), chunks=(3, 1), dtype="i4", fill_value=0, compressors=None
        )
        array[:, [11, 2, 0, 7]] = ROWS[:, [11, 2, 0, 7]]

    inline = create("b", 4, dtype="i2", chunks=(2,), compressors=None)
    history.commit(create("a/z", 40, chunks=(20,), compressors=None), group("a-b"), inline, rows)
    history.repository.create_tag("v1", history.repository.lookup_branch("main"))
    (chunks, *_) = source.read_chunks(source.resolve("main"), "a/z")
    content = np.arange(1, 21, dtype="<i4").tobytes()
    change = lambda: history.commit(write("a/z", slice(0, 20), 9), create("new"))  # noqa: E731
    return Place(source, nowhere, ("main", "v1"), change, chunks.locations[0].as_py(), content)


def icechunk_local(request: pytest.FixtureRequest) -> Place:
    folder: Path = request.getfixturevalue("tmp_path")
    history = History(folder / "repository")
    nowhere = IcechunkSource(str(folder / "nothing"))
    return fill(history, IcechunkSource(str(history.path)), nowhere)


def icechunk_s3(request: pytest.FixtureRequest) -> Place:
    server: S3Server = request.getfixturevalue("s3")
    url = f"s3://{server.new_bucket()}"
    source, nowhere = (IcechunkSource(f"{url}/{k}", server.config()) for k in ("deep/r", "no"))
    storage = server.icechunk_storage(f"{url}/deep/r")
    return fill(History(Path(url), storage), source, nowhere)


VERSIONED = {"icechunk-local": icechunk_local, "icechunk-s3": icechunk_s3}
"""Kinds of sources that have a history."""


def fill_store(folder: Path, version: Literal[2, 3]) -> None:
    """Write the nodes of `fill` as a Zarr store, chunks in flat and in deep keys."""
    root = zarr.open_group(folder, mode="w", zarr_format=version)
    flat = {"chunk_key_encoding": {"name": "v2", "separator": "."}}
    create("b", 4, dtype="i2", chunks=(2,), compressors=None)(root)
    create("a/z", 40, chunks=(20,), compressors=None, **flat)(root)
    group("a-b")(root)
    given = {"shape": (12, 12), "chunks": (3, 1), "dtype": "i4", "fill_value": 0}
    rows = root.create_array("g/rows", compressors=None, **given)
    rows[:, [11, 2, 0, 7]] = ROWS[:, [11, 2, 0, 7]]


def zarr_place(store: Store, source: Source, nowhere: Source) -> Place:
    content = np.arange(1, 21, dtype="<i4").tobytes()
    change = lambda: store.write("a/z/0", content[::-1])  # noqa: E731
    return Place(source, nowhere, ("main", "now"), change, "a/z/0", content)


def zarr_local(request: pytest.FixtureRequest, version: Literal[2, 3]) -> Place:
    folder: Path = request.getfixturevalue("tmp_path")
    fill_store(folder / "store", version)
    source, nowhere = (open_source(f"zarr+file://{folder}/{name}") for name in ("store", "no"))
    return zarr_place(open_store(str(folder / "store")), source, nowhere)


def zarr_s3(request: pytest.FixtureRequest) -> Place:
    server: S3Server = request.getfixturevalue("s3")
    folder: Path = request.getfixturevalue("tmp_path")
    url, config = f"s3://{server.new_bucket()}", server.config()
    fill_store(folder, 3)
    store = open_store(f"{url}/deep/z", config)
    for key, data in tree(folder).items():
        store.write(key, data)
    source, nowhere = (open_source(f"zarr+{url}/{name}", config) for name in ("deep/z", "no"))
    return zarr_place(store, source, nowhere)


STORES = {
    "zarr2-local": lambda request: zarr_local(request, 2),
    "zarr3-local": lambda request: zarr_local(request, 3),
    "zarr3-s3": zarr_s3,
}
"""Kinds of Zarr stores, of which what lies there now is all that there is."""
ZARR = {**VERSIONED, **STORES}
"""Kinds of sources that read Zarr nodes."""


def fill_objects(store: Store, source: Source, nowhere: Source) -> Place:
    """Put objects whose order is neither that of UTF-16 nor that of a walk through folders."""
    content = bytes(range(80))
    for key in ("b/c", "b.c", "b0", "B", "é", "日", "\U0001f600", "\ufb01", "b/a b"):
        store.write(key, b"abc")
    store.write("a", content)
    store.write(".freight/lock", b"ours")
    store.write("EXPORT_1_SUCCESS", b"ours")
    return Place(source, nowhere, ("main", "now"), lambda: store.write("b.c", b"!!!"), "a", content)


def objects_local(request: pytest.FixtureRequest) -> Place:
    folder: Path = request.getfixturevalue("tmp_path")
    store = open_store(str(folder / "objects"))
    return fill_objects(store, PlainObjects(store.url), PlainObjects(f"{folder}/nothing"))


def objects_s3(request: pytest.FixtureRequest) -> Place:
    server: S3Server = request.getfixturevalue("s3")
    url, config = f"s3://{server.new_bucket()}", server.config()
    source, nowhere = (PlainObjects(f"{url}/{k}", config) for k in ("deep/o", "no"))
    return fill_objects(open_store(f"{url}/deep/o", config), source, nowhere)


PLAIN = {"objects-local": objects_local, "objects-s3": objects_s3}
"""Kinds of sources of plain objects without history."""


def lakefs(request: pytest.FixtureRequest, way: str, prefix: str = "") -> Place:
    lake: Lake = request.getfixturevalue("lake")
    repository = lake.create_repository("ocean")
    content, below = bytes(range(80)), f"{prefix}/" if prefix else ""
    for key in ("b/c", "b.c", "b0", "B", "é", "日", "\U0001f600", "\ufb01", "b/a b"):
        repository.put(below + key, b"abc")
    repository.put(f"{below}a", content)
    for beside in ("deeper/a", "zzz") if prefix else ():
        repository.put(beside, b"elsewhere")
    commit = repository.commit()
    repository.put(f"{below}staged", b"")  # it must not be seen
    repository.create_tag("v1")
    config = lake.config(read_through=way)
    source, nowhere = LakeFSObjects("ocean", prefix, config), LakeFSObjects("none", "", config)
    address = repository.tree(commit).entries[f"{below}a"].address
    location = f"lakefs://ocean/{commit}/{below}a at {address}"

    def change() -> None:
        repository.delete(f"{below}staged")
        repository.put(f"{below}b.c", b"!!!")
        repository.commit()

    missing = location.replace("a at ", "ax at ")
    return Place(source, nowhere, ("main", "v1"), change, location, content, missing)


LAKES = {
    "lakefs-gateway": lambda request: lakefs(request, "gateway"),
    "lakefs-presigned": lambda request: lakefs(request, "presigned", "deep/er"),
    "lakefs-rest": lambda request: lakefs(request, "rest", "deep"),
}
"""The ways of reading lakeFS; that by the bucket itself needs one: test_lakefs_bucket.py."""
OBJECTS = {**PLAIN, **LAKES}
"""Kinds of sources of plain objects."""
KINDS = {**ZARR, **OBJECTS}
WITH_REFS = {**VERSIONED, **LAKES}
"""Kinds of sources that have a history, whatever they hold."""


def usual(kinds: Iterable[str]) -> list[Any]:
    """Return the kinds; those that differ from others in little are slow tests."""
    slow = ("lakefs-presigned", "lakefs-rest")
    return [pytest.param(k, marks=pytest.mark.slow) if k in slow else k for k in kinds]


@pytest.fixture(params=usual(KINDS))
def place(request: pytest.FixtureRequest) -> Place:
    return KINDS[request.param](request)


@pytest.fixture(params=ZARR)
def nodes(request: pytest.FixtureRequest) -> Place:
    return ZARR[request.param](request)


@pytest.fixture(params=usual(WITH_REFS))
def with_refs(request: pytest.FixtureRequest) -> Place:
    return WITH_REFS[request.param](request)


@pytest.fixture(params=VERSIONED)
def versioned(request: pytest.FixtureRequest) -> Place:
    return VERSIONED[request.param](request)


@pytest.fixture(params=STORES)
def store(request: pytest.FixtureRequest) -> Place:
    return STORES[request.param](request)


@pytest.fixture(params=PLAIN)
def plain(request: pytest.FixtureRequest) -> Place:
    return PLAIN[request.param](request)


@pytest.fixture(params=usual(OBJECTS))
def objects(request: pytest.FixtureRequest) -> Place:
    return OBJECTS[request.param](request)


def test_its_urls_are_canonical_and_without_secrets(place: Place, s3: S3Server) -> None:
    url, storage = place.source.url, place.source.storage_url
    kind, plus, rest = url.partition("+")
    assert url.startswith("lakefs://") or (kind.isalnum(), plus, rest) == (True, "+", storage)
    assert not storage.endswith("/")
    assert s3.secret_access_key not in place.source.url + repr(place.source)


def test_a_ref_is_pinned_to_what_it_names_now(place: Place) -> None:
    ref, *others = place.refs
    snapshot = place.source.resolve(ref)
    assert (snapshot.source, snapshot.ref) == (place.source.url, ref)
    for name in (*others, snapshot.id):
        assert place.source.resolve(name).id == snapshot.id
    place.change()
    assert place.source.resolve(ref).id != snapshot.id


def test_other_names_of_a_snapshot_outlast_a_change(with_refs: Place) -> None:
    ref, *others = with_refs.refs
    snapshot = with_refs.source.resolve(ref)
    with_refs.change()
    for name in (*others, snapshot.id):
        assert with_refs.source.resolve(name).id == snapshot.id


def test_an_unknown_ref_is_not_found_and_those_that_there_are_are_said(place: Place) -> None:
    ref = place.refs[0]
    with pytest.raises(RefNotFoundError, match=f"no .*{ref[:-1]!r}.*{ref}"):
        place.source.resolve(ref[:-1])
    with pytest.raises(RefNotFoundError):
        place.source.resolve("")


def test_names_near_an_unknown_ref_are_said(with_refs: Place) -> None:
    ref = with_refs.refs[0]
    with pytest.raises(RefNotFoundError, match=f"Did you mean {ref!r}.*{with_refs.refs[-1]}"):
        with_refs.source.resolve(ref[:-1])


def test_a_pickled_source_is_the_same_source(place: Place) -> None:
    snapshot = place.source.resolve(place.refs[0])  # its connection is open
    again: Source = pickle.loads(pickle.dumps(place.source))
    assert (again.url, again.storage_url) == (place.source.url, place.source.storage_url)
    assert again.resolve(snapshot.id).id == snapshot.id
    assert again.read(place.location, 0, len(place.content)) == place.content


@pytest.mark.parametrize(("offset", "size"), [(0, 80), (0, 1), (7, 20), (79, 1), (10, 0), (80, 0)])
def test_a_read_returns_exactly_those_bytes(place: Place, offset: int, size: int) -> None:
    expected = place.content[offset : offset + size]
    assert place.source.read(place.location, offset, size) == expected


def test_what_is_not_there_is_not_found_and_what_is_too_short_is_said(place: Place) -> None:
    missing = place.missing or f"{place.location}x"
    for location in (missing, place.location):
        name = location.partition(" at ")[0].rpartition("/")[2]
        error = NotFoundError if location == missing else IntegrityError
        with pytest.raises(error, match=name):
            place.source.read(location, 1, len(place.content))


def test_many_threads_read_one_source(place: Place) -> None:
    with ThreadPoolExecutor(16) as pool:
        parts = pool.map(lambda n: place.source.read(place.location, n, 1), range(80))
        assert b"".join(parts) == place.content


def test_where_nothing_lies_there_is_no_source(place: Place) -> None:
    with pytest.raises(NotARepositoryError, match=place.nowhere.storage_url.rpartition("/")[2]):
        place.nowhere.resolve(place.refs[0])


def columns(refs: ChunkRefs) -> list[tuple[tuple[int, ...], str, int, int]]:
    coords = map(tuple, refs.coords.tolist())
    numbers = refs.offsets.tolist(), refs.sizes.tolist()
    return list(zip(coords, refs.locations.to_pylist(), *numbers, strict=True))


def read(source: Source, snapshot: Snapshot, path: str) -> list[tuple[object, ...]]:
    """Return all references of an array in their order."""
    return [row for refs in source.read_chunks(snapshot, path) for row in columns(refs)]


def test_nodes_come_in_the_order_of_their_paths(nodes: Place) -> None:
    found = nodes.source.read_nodes(nodes.source.resolve("main"))
    assert [(node.path, node.kind) for node in found] == [
        *(("", "group"), ("a", "group"), ("a-b", "group"), ("a/z", "array")),
        *(("b", "array"), ("g", "group"), ("g/rows", "array")),
    ]
    for node in found:
        version = nodes.source.open_zarr(nodes.source.resolve("main")).metadata.zarr_format
        assert node.document["zarr_format"] == version
        assert node.document.get("node_type", node.kind) == node.kind


def test_nodes_and_chunks_are_those_of_the_snapshot_whatever_came_after(versioned: Place) -> None:
    snapshot = versioned.source.resolve("main")
    before = versioned.source.read_nodes(snapshot)
    chunks = read(versioned.source, snapshot, "a/z")
    versioned.change()
    assert versioned.source.read_nodes(snapshot) == before
    assert read(versioned.source, snapshot, "a/z") == chunks
    assert read(versioned.source, versioned.source.resolve("main"), "a/z") != chunks


def test_nodes_of_a_store_that_has_changed_are_not_given(store: Place) -> None:
    snapshot = store.source.resolve("main")
    nodes = store.source.read_nodes(snapshot)
    store.change()
    assert store.source.read_nodes(snapshot) == nodes  # which it has read
    again: Source = pickle.loads(pickle.dumps(store.source))
    with pytest.raises(IntegrityError, match=rf"{snapshot.id}.*found others.*again"):
        again.read_nodes(snapshot)


def test_a_chunk_is_read_as_long_as_it_is_the_listed_one(store: Place) -> None:
    (refs,) = store.source.read_chunks(store.source.resolve("main"), "a/z")
    keys, contents = refs.locations.to_pylist(), refs.contents.to_pylist()
    store.change()
    with pytest.raises(IntegrityError, match=r"'a/z/0'.*has changed since.*again"):
        store.source.read(keys[0], 0, 80, contents[0])
    assert len(store.source.read(keys[1], 0, 80, contents[1])) == 80


def test_equal_content_of_two_snapshots_is_equal_chunks(nodes: Place) -> None:
    old = {n.path: n.content for n in nodes.source.read_nodes(nodes.source.resolve("main"))}
    nodes.change()
    new = {n.path: n.content for n in nodes.source.read_nodes(nodes.source.resolve("main"))}
    assert not old["a/z"] or new["a/z"] != old["a/z"]
    assert new["g/rows"] == old["g/rows"]


def test_chunks_come_in_the_order_of_their_coordinates_each_time(nodes: Place) -> None:
    snapshot = nodes.source.resolve("main")
    first, *again = (read(nodes.source, snapshot, "g/rows") for _ in range(3))
    assert again == [first, first]
    assert [row[0] for row in first] == list(itertools.product(range(4), (0, 2, 7, 11)))


@pytest.mark.parametrize(("path", "dtype"), [("a/z", "<i4"), ("b", "<i2"), ("g/rows", "<i4")])
def test_references_lead_to_the_bytes_of_the_chunks(nodes: Place, path: str, dtype: str) -> None:
    snapshot = nodes.source.resolve("main")
    array = nodes.source.open_zarr(snapshot)[path]
    for refs in nodes.source.read_chunks(snapshot, path):
        assert (refs.coords.dtype, refs.coords.shape) == (np.uint32, (len(refs.sizes), array.ndim))
        for row, (coords, location, offset, size) in enumerate(columns(refs)):
            inline = refs.inlined.get(row)
            blob = nodes.source.read(location, offset, size) if inline is None else inline
            assert bool(location) == (inline is None)
            whole = np.frombuffer(blob, dtype).reshape(array.chunks)
            np.testing.assert_array_equal(whole, array.get_block_selection(coords))


def rows_of(source: Source) -> list[dict[str, object]]:
    """Return all objects in the order in which they come."""
    pages = list(source.list_objects(source.resolve("main")))
    assert {page.schema for page in pages} == {OBJECT_SCHEMA}
    return [row for page in pages for row in page.to_pylist()]


def test_objects_come_in_the_order_of_their_keys_each_once_and_ours_not_at_all(
    objects: Place,
) -> None:
    rows = rows_of(objects.source)
    keys = [row["key"] for row in rows]
    assert keys == sorted(
        {"B", "a", "b.c", "b/a b", "b/c", "b0", "é", "日", "\ufb01", "\U0001f600"}
    )
    assert rows_of(objects.source) == rows


def test_the_snapshot_is_the_digest_of_the_listing(plain: Place) -> None:
    snapshot = plain.source.resolve("main")
    assert snapshot.id == section_content(plain.source.list_objects(snapshot))
    assert plain.source.resolve(snapshot.id).id == snapshot.id


def test_a_listing_of_another_snapshot_is_told_apart_at_its_end(plain: Place) -> None:
    snapshot = plain.source.resolve("main")
    plain.change()
    with pytest.raises(IntegrityError, match=rf"{snapshot.id}.*found others.*again"):
        list(plain.source.list_objects(snapshot))


def test_only_the_identity_of_what_was_written_again_changes(objects: Place) -> None:
    before = {row["key"]: row["content"] for row in rows_of(objects.source)}
    objects.change()  # as many bytes as there were
    after = {row["key"]: row["content"] for row in rows_of(objects.source)}
    assert {key for key in after if after[key] != before[key]} == {"b.c"}
    assert all(":" in content for content in after.values())


def test_an_object_is_read_as_long_as_it_is_the_listed_one(plain: Place) -> None:
    listed = {row["key"]: row for row in rows_of(plain.source)}
    plain.change()
    for key, row in listed.items():
        if key != "b.c":
            assert len(plain.source.read(key, 0, row["size"], row["content"])) == row["size"]
    with pytest.raises(IntegrityError, match=r"'b\.c'.*has changed since.*again"):
        plain.source.read("b.c", 0, 3, listed["b.c"]["content"])
    assert plain.source.read("b.c", 0, 3) == b"!!!"
