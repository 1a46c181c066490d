"""What a copy is made of: one layout for each kind of copy, the words of `--format`.

A `Layout` reads a snapshot: it divides it into named components and gives the entries of each, in
the order of their positions. An `Ordering` says in which round what has changed may be touched, and
a `Reader` what of all that is not the copy's would be read as if it were: both from what the
sections' facts say, so that they need no source. All else about an export (sections,
manifest, diff, ledger, verification) is the same for every layout and stands elsewhere.

Not promised: that the entries of a component are there before they are asked for; a layout streams.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import pyarrow as pa

from prefect_freight.model import Round
from prefect_freight.plan.sections import Stretch


@dataclass(frozen=True, slots=True)
class Component:
    """One component of a copy, such as an array's chunks; sections divide it by size."""

    name: str
    origin: str
    """Equal origin, equal entries, so that they need not be read. `""` is unknown."""
    facts: Mapping[str, Any] = field(default_factory=dict)
    """What the ordering must know again."""
    space: str = ""
    """Positions of different spaces cannot be compared."""


class Layout(Protocol):
    """The copy of a snapshot in one format."""

    @property
    def notes(self) -> tuple[str, ...]:
        """What the format could not express of the snapshot, for the user."""
        ...

    @property
    def totals(self) -> Mapping[str, int]:
        """What the copy is made of, counted."""
        ...

    @property
    def components(self) -> Sequence[Component]:
        """All that the copy is made of."""
        ...

    def entries(self, name: str, on_fill: Callable[[bytes], None]) -> Iterator[Stretch]:
        """Yield the entries of a component in the order of their positions.

        `on_fill` gets the bytes that entries of kind fill refer to, before the first of these.
        """
        ...


@dataclass(frozen=True, slots=True)
class Preparation:
    """What must happen before the first new object arrives."""

    entries: Sequence[tuple[str, Round, pa.RecordBatch]] = ()
    """(name of the component, round, entries) to be moved first."""
    again: Mapping[str, pa.Array] = field(default_factory=dict)
    """Keys by component that are put even if they have not changed, since they are taken away."""
    withdrawn: tuple[str, ...] = ()
    """Arrays that readers do not see meanwhile, and then again."""


class Ordering(Protocol):
    """In which round changes may be made, so that a reader meets no half of one."""

    @property
    def phases_vouch(self) -> bool:
        """An object of a later phase vouches for the others by being there, not by being read."""
        ...

    def prepare(self) -> Preparation:
        """Return what must happen first."""
        ...

    def early_deletes(self, keys: pa.Array, nodes: pa.Array) -> pa.BooleanArray:
        """Say of each key that goes whether it must be gone before the new objects arrive."""
        ...


class Reader(Protocol):
    """Where one who reads the copy looks for objects."""

    @property
    def notes(self) -> tuple[str, ...]:
        """What is not known of that, for the user."""
        ...

    def taken_for(self, keys: pa.StringArray) -> pa.StringArray:
        """Return what an object under each key would be taken for; null where nobody looks.

        The keys are of objects that are not the copy's.
        """
        ...
