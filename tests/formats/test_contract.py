"""What every layout and every ordering does: a new format is a row of the table."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pytest
from folders import Folder, many, put
from histories import History, create, delete, group, resize, write
from servers import S3Server

from prefect_freight.control.state import State
from prefect_freight.formats import Layout
from prefect_freight.formats.choice import open_layout, open_ordering
from prefect_freight.model import ENTRY_SCHEMA, Format, Round
from prefect_freight.plan.keys import check_key
from prefect_freight.plan.sections import Piece, Stretch, cut, section_content
from prefect_freight.sources import Source
from prefect_freight.sources.icechunk.source import IcechunkSource
from prefect_freight.sources.objects import PlainObjects
from prefect_freight.stores.local import LocalStore
from prefect_freight.stores.urls import open_store

PER_SECTION = [1, 3, 1000]


@dataclass(frozen=True)
class Place:
    """What a layout is tested with."""

    source: Source
    format: Format
    totals: dict[str, int]
    grow: Callable[[], object]
    """Adds to the source, between what there is and behind it."""
    shrink: Callable[[], object]
    """Takes from the source."""

    def open(self) -> Layout:
        """Return the layout of what the source holds now."""
        return open_layout(self.source, self.source.resolve("main"), self.format)


def zarr_place(folder: Path, format_: Format) -> Place:
    history = History(folder / "repository")
    history.commit(
        create("a", shape=(6, 6), chunks=(2, 2)), create("g/b", 40), group("g/h"), create("g-b")
    )
    return Place(
        IcechunkSource(str(history.path)),
        format_,
        {"arrays": 3, "groups": 3},
        lambda: history.commit(resize("g/b", 70, 5), create("aa"), create("g/h/c")),
        lambda: history.commit(write("g/b", slice(3, 9), 0), delete("a")),
    )


def zarr2(request: pytest.FixtureRequest) -> Place:
    return zarr_place(request.getfixturevalue("tmp_path"), Format.ZARR2)


def zarr3(request: pytest.FixtureRequest) -> Place:
    return zarr_place(request.getfixturevalue("tmp_path"), Format.ZARR3)


def objects_local(request: pytest.FixtureRequest) -> Place:
    folder = Folder(request.getfixturevalue("tmp_path") / "source")
    folder.change(put("d/x", b"1"), put("d.x", b"2"), put("é/日", b"3"), many("many/", 20))
    return Place(
        PlainObjects(str(folder.path)),
        Format.OBJECTS,
        {"objects": 24},
        lambda: folder.change(put("a", b"new"), put("many/0095", b"new"), put("z", b"new")),
        lambda: (folder.path / "d.x").unlink(),
    )


def objects_s3(request: pytest.FixtureRequest) -> Place:
    server: S3Server = request.getfixturevalue("s3")
    store = open_store(f"s3://{server.new_bucket()}/source", server.config())
    for key in ("b", "d/x", "d.x", "é/日"):
        store.write(key, key.encode())
    return Place(
        PlainObjects(store.url, server.config()),
        Format.OBJECTS,
        {"objects": 4},
        lambda: store.write("c", b"new"),
        lambda: store.delete(["d.x"]),
    )


KINDS = {
    "zarr2": zarr2,
    "zarr3": zarr3,
    "objects-local": objects_local,
    "objects-s3": objects_s3,
}


@pytest.fixture(params=KINDS)
def place(request: pytest.FixtureRequest) -> Place:
    return KINDS[request.param](request)


def stretches(layout: Layout) -> Iterator[tuple[str, Stretch]]:
    """Yield all stretches, with the names of their components."""
    fills: list[bytes] = []
    for component in layout.components:
        for stretch in layout.entries(component.name, fills.append):
            yield component.name, stretch


def keys(layout: Layout) -> list[str]:
    return [key for _, one in stretches(layout) for key in one.entries["key"].to_pylist()]


def positions(layout: Layout) -> dict[str, tuple[str, str]]:
    """Return the component and position of each key."""
    return {
        key: (name, stretch.positions.text(row))
        for name, stretch in stretches(layout)
        for row, key in enumerate(stretch.entries["key"].to_pylist())
    }


def contents(layout: Layout) -> dict[str, str]:
    """Return the digest of each component's entries."""
    fills: list[bytes] = []
    return {
        component.name: section_content(
            one.entries for one in layout.entries(component.name, fills.append)
        )
        for component in layout.components
    }


def test_names_of_components_are_unlike_and_each_has_its_entries(place: Place) -> None:
    layout = place.open()
    names = [component.name for component in layout.components]
    assert len(names) == len({*names})
    assert {name for name, _ in stretches(layout)} == {*names}
    assert {stretch.entries.schema for _, stretch in stretches(layout)} == {ENTRY_SCHEMA}


def test_every_key_comes_once_and_is_safe_and_the_same_twice(place: Place) -> None:
    layout = place.open()
    first = keys(layout)
    assert len(first) == len({*first})
    assert first == keys(layout) == keys(place.open())
    for key in first:
        check_key(key)


def test_entries_come_in_the_order_of_their_positions(place: Place) -> None:
    earlier: dict[str, list[Stretch]] = {}
    for name, stretch in stretches(place.open()):
        for row in range(stretch.entries.num_rows):
            position = stretch.positions.text(row)
            assert stretch.positions.find(position) == row
            for before in earlier.get(name, ()):
                assert before.positions.find(position) == before.entries.num_rows
        earlier.setdefault(name, []).append(stretch)


def test_a_position_is_that_of_its_key_whatever_is_added_or_taken(place: Place) -> None:
    before = positions(place.open())
    place.grow()
    grown = positions(place.open())
    assert grown.keys() > before.keys()
    assert {key: grown[key] for key in before} == before
    place.shrink()
    shrunk = positions(place.open())
    assert not before.keys() <= shrunk.keys()
    assert all(grown[key] == position for key, position in shrunk.items())


def test_equal_snapshots_have_equal_contents_and_origins(place: Place) -> None:
    one, another = place.open(), place.open()
    before = contents(one)
    assert contents(another) == before
    assert list(one.components) == list(another.components)
    place.shrink()
    assert contents(place.open()) != before


def test_equal_origins_have_equal_contents(place: Place) -> None:
    before = place.open()
    old = contents(before)
    place.grow()
    after = place.open()
    new, origins = (
        contents(after),
        {component.name: component.origin for component in before.components},
    )
    for component in after.components:
        if component.origin and component.origin == origins.get(component.name):
            assert new[component.name] == old[component.name]


def test_totals_count_what_the_copy_is_made_of(place: Place) -> None:
    layout = place.open()
    assert keys(layout) == keys(layout)  # and read again they are not twice as many
    assert dict(layout.totals) == place.totals


def pieces_of(layout: Layout, name: str, bounds: list[str], max_rows: int) -> list[Piece]:
    return list(cut(layout.entries(name, lambda data: None), bounds, max_rows))


def keys_of(pieces: list[Piece]) -> list[str]:
    return [
        key
        for piece in pieces
        for stretch in piece.stretches
        for key in stretch.entries["key"].to_pylist()
    ]


@pytest.mark.parametrize("max_rows", PER_SECTION)
def test_each_entry_is_in_one_section_and_stays_there_when_others_come(
    place: Place, max_rows: int
) -> None:
    layout = place.open()
    bounds: dict[str, list[str]] = {}
    for component in layout.components:
        pieces = pieces_of(layout, component.name, [""], max_rows)
        assert keys_of(pieces) == [
            k
            for n, s in stretches(layout)
            if n == component.name
            for k in s.entries["key"].to_pylist()
        ]
        assert all(piece.rows <= max_rows for piece in pieces)
        bounds[component.name] = [piece.start for piece in pieces]
    place.grow()
    grown = place.open()
    for component in grown.components:
        inherited = bounds.get(component.name, [""])
        pieces = pieces_of(grown, component.name, inherited, max_rows)
        assert {piece.bound for piece in pieces} == {*range(len(inherited))}
        assert [piece.start for piece in pieces if piece.start in inherited] == inherited
        assert len(keys_of(pieces)) == len({*keys_of(pieces)})
    assert sorted(keys(grown)) == sorted(
        key
        for component in grown.components
        for key in keys_of(
            pieces_of(grown, component.name, bounds.get(component.name, [""]), max_rows)
        )
    )


@pytest.mark.parametrize("format_", Format)
def test_an_ordering_of_nothing_prepares_nothing_and_answers_for_each_key(
    tmp_path: Path, format_: Format
) -> None:
    state = State(LocalStore(str(tmp_path)), [], None)
    ordering = open_ordering(state, {}, set(), format_)
    assert not [*ordering.prepare().entries]
    assert not ordering.prepare().again
    for gone in ([], ["a"], ["d/x/y", "d/x", "é/日"]):
        column = pa.array(gone, pa.string())
        assert ordering.early_deletes(column, column).to_pylist() == [False] * len(gone)


def test_rounds_are_those_that_an_export_moves(place: Place) -> None:
    rounds = {stretch.round for _, stretch in stretches(place.open())}
    is_objects = place.format is Format.OBJECTS
    assert rounds == (
        {Round.OBJECTS} if is_objects else {Round.CHUNKS, Round.DOCUMENTS, Round.ROOT}
    )
