"""The copy of a snapshot as the objects that it is: keys and bytes as they are."""

import re
import shlex
from collections.abc import Callable, Collection, Iterator, Sequence
from functools import cached_property
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from prefect_freight.control.manifest_reader import ManifestReader, read_copy
from prefect_freight.control.state import State
from prefect_freight.errors import InputError, IntegrityError, NotFoundError
from prefect_freight.formats import Component, Preparation
from prefect_freight.model import (
    CONTROL_AREA,
    EVERYTHING,
    MARKER_PATTERN,
    Job,
    Kind,
    Round,
    Selection,
    Snapshot,
)
from prefect_freight.plan.differences import Differences
from prefect_freight.plan.entries import make_entries
from prefect_freight.plan.keys import (
    NO_KEYS,
    UNSAFE_PATTERN,
    check_key,
    folders_of,
    parents_of,
)
from prefect_freight.plan.sections import Section, Stretch, TextPositions
from prefect_freight.plan.selection import Chooser
from prefect_freight.retry import retrying
from prefect_freight.sources import ObjectSource, Source
from prefect_freight.stores import Store
from prefect_freight.threads import Threads

READERS = 16
RESERVED_PATTERN = rf"^{re.escape(CONTROL_AREA)}(/|$)|{MARKER_PATTERN}"
OBJECTS = "objects"
"""The one component of such a copy."""


class ObjectsLayout:
    """The selected objects of a snapshot, in the order of their keys."""

    def __init__(
        self, source: ObjectSource, snapshot: Snapshot, selection: Selection = EVERYTHING
    ) -> None:
        self._source, self._snapshot, self._selection = source, snapshot, selection
        self._count = 0
        self._notes: tuple[str, ...] = ()

    @property
    def notes(self) -> tuple[str, ...]:
        """What the listing left out, and what selected nothing."""
        return (*self._source.notes(), *self._notes)

    @property
    def totals(self) -> dict[str, int]:
        """Objects, once they have been given out."""
        return {"objects": self._count}

    @property
    def components(self) -> Sequence[Component]:
        """One, whose entries are always read: listing them is what the snapshot is."""
        # An origin would have to vouch for the listing, and the only thing that does is a listing.
        return [Component(OBJECTS, "")]

    def entries(self, name: str, on_fill: Callable[[bytes], None]) -> Iterator[Stretch]:  # noqa: ARG002
        """Yield the objects; raises `InputError` at the end if none is selected."""
        self._count = 0  # a step that is tried again lists anew
        for page in self._selected():
            self._count += page.num_rows
            entries = make_entries(
                page["key"],
                "",
                kind=Kind.OBJECT.value,
                location=page["location"],
                size=page["size"],
                content=page["content"],
                data=page["attributes"].cast(pa.binary()),
            )
            yield Stretch(Round.OBJECTS, entries, TextPositions(page["key"]))

    def _selected(self) -> Iterator[pa.RecordBatch]:
        pages = self._source.list_objects(self._snapshot)
        if self._selection == EVERYTHING:
            yield from map(_checked, pages)
            return
        chooser = Chooser(self._selection, self._snapshot, "objects")
        for page in pages:
            chosen = chooser.choose(page["key"].to_pylist())
            yield _checked(page.filter(pa.array(chosen, pa.bool_())))
        chooser.require_any()
        self._notes = chooser.notes


def _checked(page: pa.RecordBatch) -> pa.RecordBatch:
    """Return a page of objects; raises `InputError` for a key that no copy can have."""
    keys = page["key"]
    for key in keys.filter(pc.match_substring_regex(keys, UNSAFE_PATTERN)).to_pylist():
        check_key(key)
    # In the copy they would be taken for our records: never verified, never deleted.
    for key in keys.filter(pc.match_substring_regex(keys, RESERVED_PATTERN)).to_pylist():
        raise InputError(
            f"expected no object with a name of our own records, found {key!r}. Leave such objects "
            f"out: --exclude {shlex.quote(f'^{re.escape(key)}$')}"
        )
    return page


class ObjectsOrdering:
    """Nothing vouches for anything but what the user's phases say.

    But on a disk a file cannot lie where a folder is, so what makes room for the other goes first.
    """

    phases_vouch = True

    def __init__(self, state: State, wanted: Collection[Section]) -> None:
        self._state = state
        newest = max((section.areas[-1] for section in wanted), default="")
        # Only a new key can be in the way of another one, and those lie in sections that have
        # changed. What unfinished exports took away comes back in any.
        self._sections = [s for s in wanted if state.unfinished or s.areas[-1] == newest]

    def prepare(self) -> Preparation:
        """Return nothing."""
        return Preparation()

    def early_deletes(self, keys: pa.Array, nodes: pa.Array) -> pa.BooleanArray:  # noqa: ARG002
        """Say of each key whether it is the folder of a new key, or lies below one."""
        # Far more often nothing is in the way: what can be told by folders is told before keys are
        # read.
        early = pc.is_in(keys, self._folders)
        below = folders_of(keys)
        vanished = below.filter(pc.invert(pc.is_in(below, self._folders)))
        pages = self._keys() if len(vanished) else ()
        new = [NO_KEYS, *(page.filter(pc.is_in(page, vanished)) for page in pages)]
        in_the_way = pa.concat_arrays(new)
        for parents in parents_of(keys) if len(in_the_way) else ():
            early = pc.or_(early, pc.is_in(parents, in_the_way))
        return early

    @cached_property
    def _folders(self) -> pa.Array:
        """The folders of all wanted keys that may be new: far fewer than keys, as a rule."""
        pages = [folders_of(page) for page in self._keys()]
        return pa.concat_arrays([NO_KEYS, *pages]).unique()

    def _keys(self) -> Iterator[pa.Array]:
        for section in self._sections:
            yield self._state.records.entries(section, ["key"])["key"].combine_chunks()


class ObjectsReader:
    """Takes each object for itself, so that one beside those of the copy changes none of them."""

    notes: tuple[str, ...] = ()

    def taken_for(self, keys: pa.StringArray) -> pa.StringArray:
        """Return null for each key."""
        return pa.nulls(len(keys), pa.string())


def compare_objects(source: Source, destination: Store, job: Job, differences: Differences) -> None:
    """Add each object whose bytes in the copy are not those of the source."""
    records = ManifestReader(destination)
    columns = ["key", "location", "size", "content"]
    for table in read_copy(records, records.manifest(job.area), columns):
        with Threads(READERS) as pool:
            reasons = pool.map(lambda row: _compare(source, destination, row), table.to_pylist())
            for row, reason in zip(table.to_pylist(), reasons, strict=True):
                if reason:
                    differences.add_wrong(row["key"], reason)


def _compare(source: Source, destination: Store, row: dict[str, Any]) -> str:
    try:
        wanted = retrying(lambda: source.read(row["location"], 0, row["size"], row["content"]))
        copied = retrying(lambda: destination.read(row["key"]))
    except (NotFoundError, IntegrityError) as error:
        return str(error)
    return "" if wanted == copied else "its bytes are not those of the source"
