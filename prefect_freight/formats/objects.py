"""The copy of a snapshot as the objects that it is: keys and bytes as they are."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pyarrow as pa

from prefect_freight.control.manifest import Records
from prefect_freight.control.state import read_copy
from prefect_freight.errors import IntegrityError, NotFoundError
from prefect_freight.formats import Preparation, Thing
from prefect_freight.model import Job, Kind, Round, Snapshot
from prefect_freight.plan.differences import Differences
from prefect_freight.plan.entries import make_entries, no_rows
from prefect_freight.plan.sections import Stretch, TextPositions
from prefect_freight.retry import retrying
from prefect_freight.sources import ObjectSource, Source
from prefect_freight.stores import Store

READERS = 16
OBJECTS = "objects"
"""The one thing that such a copy is made of."""


class ObjectsLayout:
    """All objects of a snapshot, in the order of their keys."""

    notes: tuple[str, ...] = ()

    def __init__(self, source: ObjectSource, snapshot: Snapshot) -> None:
        self._source, self._snapshot = source, snapshot
        self._count = 0

    @property
    def totals(self) -> dict[str, int]:
        """Objects that have been given out."""
        return {"objects": self._count}

    @property
    def things(self) -> Sequence[Thing]:
        """One, whose entries are always read: listing them is what the snapshot is."""
        return [Thing(OBJECTS, "")]

    def entries(self, name: str, on_fill: Callable[[bytes], None]) -> Iterator[Stretch]:  # noqa: ARG002
        """Yield the objects."""
        for page in self._source.list_objects(self._snapshot):
            self._count += page.num_rows
            entries = make_entries(
                page["key"],
                "",
                kind=Kind.OBJECT.value,
                location=page["key"],
                size=page["size"],
                content=page["content"],
            )
            yield Stretch(Round.OBJECTS, entries, TextPositions(page["key"]))


class ObjectsOrdering:
    """Nothing vouches for anything but what the user's phases say."""

    def prepare(self) -> Preparation:
        """Return nothing."""
        return Preparation()

    def early_deletes(self, keys: pa.Array, nodes: pa.Array) -> pa.BooleanArray:  # noqa: ARG002
        """Say no of each key."""
        return no_rows(len(keys))


def compare_objects(source: Source, destination: Store, job: Job, differences: Differences) -> None:
    """Add each object whose bytes in the copy are not those of the source."""
    records = Records(destination)
    columns = ["key", "location", "size", "content"]
    for table in read_copy(records, records.manifest(job.area), columns):
        with ThreadPoolExecutor(READERS) as pool:
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
