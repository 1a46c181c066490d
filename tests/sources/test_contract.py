"""What every source does; and those of Zarr nodes: a new kind is a row of the table."""

import itertools
import pickle
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import zarr
from histories import History, create, group, write
from servers import S3Server

from prefect_freight.errors import (
    IntegrityError,
    NotARepositoryError,
    NotFoundError,
    RefNotFoundError,
)
from prefect_freight.model import Snapshot
from prefect_freight.sources import ChunkRefs, Source
from prefect_freight.sources.icechunk.source import IcechunkSource

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


ZARR = {"icechunk-local": icechunk_local, "icechunk-s3": icechunk_s3}
"""Kinds of sources that read Zarr nodes."""
KINDS = {**ZARR}


@pytest.fixture(params=KINDS)
def place(request: pytest.FixtureRequest) -> Place:
    return KINDS[request.param](request)


@pytest.fixture(params=ZARR)
def nodes(request: pytest.FixtureRequest) -> Place:
    return ZARR[request.param](request)


def test_its_urls_are_canonical_and_without_secrets(place: Place, s3: S3Server) -> None:
    kind, plus, storage = place.source.url.partition("+")
    assert (kind.isalnum(), plus, storage) == (True, "+", place.source.storage_url)
    assert not storage.endswith("/")
    assert s3.secret_access_key not in place.source.url + repr(place.source)


def test_a_ref_is_pinned_to_what_it_names_now(place: Place) -> None:
    ref, *others = place.refs
    snapshot = place.source.resolve(ref)
    assert (snapshot.source, snapshot.ref) == (place.source.url, ref)
    place.change()
    assert place.source.resolve(ref).id != snapshot.id
    for name in (*others, snapshot.id):
        assert place.source.resolve(name).id == snapshot.id


def test_an_unknown_ref_is_not_found_and_near_names_are_said(place: Place) -> None:
    ref = place.refs[0]
    with pytest.raises(RefNotFoundError, match=f"Did you mean {ref!r}.*{place.refs[-1]}"):
        place.source.resolve(ref[:-1])
    with pytest.raises(RefNotFoundError):
        place.source.resolve("")


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
    with pytest.raises(NotFoundError, match=f"{place.location}x"):
        place.source.read(f"{place.location}x", 0, 1)
    with pytest.raises(IntegrityError, match=place.location):
        place.source.read(place.location, 1, len(place.content))


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
        assert (node.document["zarr_format"], node.document["node_type"]) == (3, node.kind)


def test_nodes_and_chunks_are_those_of_the_snapshot_whatever_came_after(nodes: Place) -> None:
    snapshot = nodes.source.resolve("main")
    before = nodes.source.read_nodes(snapshot)
    chunks = read(nodes.source, snapshot, "a/z")
    nodes.change()
    assert nodes.source.read_nodes(snapshot) == before
    assert read(nodes.source, snapshot, "a/z") == chunks
    assert read(nodes.source, nodes.source.resolve("main"), "a/z") != chunks


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
