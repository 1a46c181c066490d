"""What a copy can be made of, as suites over all layouts see it: sources with several states."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, Protocol

import changes
import folders
import pytest
import zarr
from histories import History, data, tree
from lakes import Commits
from runners import Run, export_at_once

from prefect_freight.model import ExportReport


class Subject(Protocol):
    """A source with several states, each of which can be visited, left, and visited again."""

    @property
    def url(self) -> str: ...

    @property
    def options(self) -> dict[str, str]:
        """Options of each export of it."""

    def add(self, *changes: Any) -> int:
        """Add what the newest state becomes by changes; return the new state's number."""

    def visit(self, state: int) -> str:
        """Bring the source into a state; return the ref that an export of it names."""

    def base(self, state: int) -> str:
        """Return the `from_ref` that names the copy of a state where that lies there."""

    def expected(self, state: int) -> dict[str, bytes]:
        """Return what a copy of a state that was visited holds."""

    def anew(self, folder: Path) -> "Subject":
        """Return a source with the same states, none of which was visited."""


class Arrays:
    """A repository; a state is a commit."""

    def __init__(self, folder: Path, format_: str) -> None:
        self.options = {"format": format_}
        self.history = History(folder / "repository")
        self._fresh, self._snapshots = folder / "fresh", list[str]()

    @property
    def url(self) -> str:
        return str(self.history.path)

    def add(self, *changes: Any) -> int:
        self._snapshots.append(self.history.commit(*changes))
        return len(self._snapshots) - 1

    def visit(self, state: int) -> str:
        return self._snapshots[state]

    base = visit

    def expected(self, state: int, **selection: Any) -> dict[str, bytes]:
        """Return what a full export by the plain loop makes at an empty place."""
        place = self._fresh / f"{state} {selection}".replace("/", " ")
        if not place.exists():
            export_at_once(self.url, place, ref=self.visit(state), **self.options, **selection)
        return data(place)

    def anew(self, folder: Path) -> Subject:
        return self  # a visit changes nothing


class Stores:
    """A Zarr store on a disk, of one format and copied as another; a state is what lies there."""

    def __init__(self, folder: Path, version: Literal[2, 3], format_: str) -> None:
        self.options = {"format": format_}
        self._version, self._place = version, folder
        self._folder = folders.Folder(folder / "store")
        self._changes, self._files = list[tuple[Any, ...]](), list[dict[str, bytes]]()

    @property
    def url(self) -> str:
        return f"zarr+file://{self._folder.path}"

    def add(self, *changes: Any) -> int:
        self._changes.append(changes)
        return len(self._changes) - 1

    def visit(self, state: int) -> str:
        """Change the store as the state's changes say, the first time; then bring files back."""
        if self._files:
            self._folder.become(self._files[min(state, len(self._files) - 1)])
        for some in self._changes[len(self._files) : state + 1]:
            root = zarr.open_group(self._folder.path, mode="a", zarr_format=self._version)
            for change in some:
                change(root)
            folders.remove(folders.ANCHOR)(self._folder.path)
            self._files.append(tree(self._folder.path))
        return "main"

    def base(self, state: int) -> str:
        """Return `last`, as of a folder."""
        return "last"

    def expected(self, state: int) -> dict[str, bytes]:
        """Return what a full export makes of a store of the same files, by the plain loop."""
        there, copy = (self._place / f"{name}-{state}" for name in ("same", "fresh"))
        if not copy.exists():
            folders.Folder(there).become(self._files[state])
            export_at_once(f"zarr+file://{there}", copy, **self.options)
        return data(copy)

    def anew(self, folder: Path) -> Subject:
        other = Stores(folder, self._version, self.options["format"])
        for some in self._changes:
            other.add(*some)
        return other


class Objects:
    """A folder of plain files; a state is what lies there."""

    def __init__(self, folder: Path) -> None:
        self.options = {"format": "objects"}
        self._folder = folders.Folder(folder / "source")
        self._changes, self._files = list[tuple[Any, ...]](), list[dict[str, bytes]]()

    @property
    def url(self) -> str:
        return self._folder.url

    def add(self, *changes: Any) -> int:
        self._changes.append(changes)
        return len(self._changes) - 1

    def visit(self, state: int) -> str:
        """Change the folder as the state's changes say, the first time; then bring files back.

        A change may leave size or time as they were, or rename: it is made once, and not before its
        turn, so that the export after it meets just that.
        """
        if self._files:
            self._folder.become(self._files[min(state, len(self._files) - 1)])
        for some in self._changes[len(self._files) : state + 1]:
            self._folder.change(*some)
            self._files.append(tree(self._folder.path))
        return "main"

    def base(self, state: int) -> str:
        """Return `last`: folders have no history, so what was exported has no other name."""
        return "last"

    def expected(self, state: int) -> dict[str, bytes]:
        return self._files[state]

    def anew(self, folder: Path) -> Subject:
        other = Objects(folder)
        for some in self._changes:
            other.add(*some)
        return other


@dataclass(frozen=True)
class LayoutCase:
    """A layout, and how sources of it change."""

    name: str
    new: Callable[[Path], Subject]
    """A source without any state, in a folder."""
    source: Any
    """The module with its changes: all that is named alike in `changes` and `folders`."""
    round: str
    """The one in which chunks move, or whatever holds the data."""
    smallest: str
    """The change of one object of that round and nothing else, by its name."""
    removal: tuple[str, str]
    """The change that removes a folder of the copy, and a key in that."""
    phases: tuple[str, ...]
    """Expressions that divide its objects."""

    def make(self, folder: Path, *states: tuple[Any, ...]) -> Subject:
        """Return a source whose first state is the usual one, and that has others after it."""
        return self.made_of(folder, self.source.BASE, *states)

    def made_of(self, folder: Path, *states: tuple[Any, ...]) -> Subject:
        """Return a source of these states."""
        subject = self.new(folder)
        for some in states:
            subject.add(*some)
        return subject

    def __str__(self) -> str:
        return self.name


def _arrays(format_: str) -> LayoutCase:
    return LayoutCase(
        format_,
        lambda folder: Arrays(folder, format_),
        changes,
        "chunks",
        "chunk changed",
        ("group deleted", "g/mine"),
        ("^a/", "^g/h/"),
    )


def _stores(version: Literal[2, 3], format_: str) -> LayoutCase:
    new = lambda folder: Stores(folder, version, format_)  # noqa: E731
    return replace(_arrays(format_), name=f"store{version}-as-{format_}", new=new)


ZARR2, ZARR3 = _arrays("zarr2"), _arrays("zarr3")
STORE = _stores(2, "zarr3")
STORES = (STORE, _stores(2, "zarr2"), _stores(3, "zarr2"), _stores(3, "zarr3"))
"""Zarr stores without history; of all matrices the first alone, since their plan is that of all."""
OBJECTS = LayoutCase(
    "objects",
    Objects,
    folders,
    "objects",
    "file changed",
    ("folder removed", "d/mine"),
    (r"(^|/)_SUCCESS$", "^d/"),
)
LAKE = replace(OBJECTS, name="lake", new=Commits)
"""Plain objects with a history."""
LAYOUTS = (ZARR2, ZARR3, OBJECTS, STORE, LAKE)
over_layouts = pytest.mark.parametrize(
    "layout",
    [ZARR2, ZARR3, OBJECTS, *(pytest.param(one, marks=pytest.mark.slow) for one in (STORE, LAKE))],
    ids=str,
)
"""Of a store without history, and of lakeFS's objects, the same code plans and moves as of others,
so their cases are slow tests;"""
over_stores = pytest.mark.parametrize("layout", STORES, ids=str)
"""some run by all formats of stores."""


def ship(run: Run, subject: Subject, copy: Any, state: int, **options: Any) -> ExportReport:
    """Export a state of a source."""
    ref = subject.visit(state)
    return run(subject.url, copy, ref=ref, **subject.options, **options)


def over_changes(is_quick: Callable[[LayoutCase, str], bool]) -> pytest.MarkDecorator:
    """Return a mark that runs a test over all changes of all layouts; some are slow tests."""
    return pytest.mark.parametrize(
        ("layout", "name"),
        [
            pytest.param(
                layout,
                name,
                id=f"{layout}-{name}",
                marks=[] if is_quick(layout, name) else pytest.mark.slow,
            )
            for layout in LAYOUTS
            for name in layout.source.CHANGES
        ],
    )
