"""The manifest of a run: what the copy holds, section by section.

It is a folder at the destination's control area: Parquet files of entries, and an index,
`manifest.json`, written last: a manifest without it is no manifest. The index lists all sections of
the copy; the files hold the entries of those that are new or have changed. A section's `areas` are
the runs whose manifests hold it: its entries are those of the first, with the rows of the later
ones put in the place of rows of the same key, or taken out of it (`action` is `delete`).
"""

import dataclasses
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import pyarrow as pa

from prefect_freight.control.sealed import RECORD_VERSION, Record, read_record
from prefect_freight.control.unsealed import MANIFESTS
from prefect_freight.control.version1 import manifest_from_version1
from prefect_freight.errors import NotFoundError, UnsoundError
from prefect_freight.model import CONTROL_AREA, ENTRY_SCHEMA, Round
from prefect_freight.plan.entries import digest
from prefect_freight.plan.sections import Section
from prefect_freight.stores import Store

MANIFEST_SCHEMA = ENTRY_SCHEMA.append(pa.field("kept", pa.bool_(), nullable=False))
"""An entry, and whether the base of the run has the same content under its key."""

NO_ROWS = pa.schema(
    [
        *MANIFEST_SCHEMA,
        pa.field("round", pa.string()),
        pa.field("part", pa.int64()),
        pa.field("row", pa.int64()),
    ]
).empty_table()


@dataclass(frozen=True, slots=True)
class Slice:
    """Consecutive rows of a part that belong to one section."""

    name: str
    start: str
    first: int
    stop: int


@dataclass(frozen=True, slots=True)
class Part:
    """One file of a manifest: entries of one round."""

    key: str
    """Name within the area."""
    round: Round
    """`deletes` for rows that take entries out of a section."""
    batches: tuple[tuple[int, int], ...]
    """(objects, bytes) of the batches that its rows make one after the other."""
    slices: tuple[Slice, ...]
    kept: int = 0
    """Rows that the base has too."""
    digest: str = ""
    """Of the file: another one in its place is none. Empty in versions that had none."""

    @property
    def rows(self) -> int:
        """Number of rows."""
        return sum(objects for objects, _ in self.batches)


@dataclass(frozen=True)
class Manifest:
    """A written manifest."""

    area: str
    """The folder of the run."""
    sections: tuple[Section, ...]
    """All of the copy, those of one name beside each other and in their order."""
    parts: tuple[Part, ...]
    totals: Mapping[str, int] = field(default_factory=dict)
    """What the copy is made of, counted, such as `arrays` and `groups`."""
    notes: tuple[str, ...] = ()
    """What the format could not express of the snapshot, for the user."""
    version: int = RECORD_VERSION

    @cached_property
    def by_name(self) -> dict[str, list[Section]]:
        """The sections of each name."""
        sections: dict[str, list[Section]] = {}
        for section in self.sections:
            sections.setdefault(section.name, []).append(section)
        return sections

    @cached_property
    def places(self) -> dict[tuple[str, str], list[tuple[Part, Slice]]]:
        """Where this manifest holds entries of a section, by its name and start."""
        places: dict[tuple[str, str], list[tuple[Part, Slice]]] = {}
        for part in self.parts:
            for rows in part.slices:
                places.setdefault((rows.name, rows.start), []).append((part, rows))
        return places

    @cached_property
    def numbers(self) -> dict[str, int]:
        """The number of each part, by its key."""
        return {part.key: number for number, part in enumerate(self.parts)}

    @property
    def changed_names(self) -> set[str]:
        """Names of which this manifest holds entries, or takes some out."""
        return {section.name for section in self.sections if section.areas[-1] == self.area}

    def to_index(self) -> dict[str, Any]:
        """Return what `manifest.json` holds, beside its version and seal."""
        return {
            "area": self.area,
            "sections": [dataclasses.asdict(section) for section in self.sections],
            "parts": [part_to_dict(part) for part in self.parts],
            "totals": dict(self.totals),
            "notes": list(self.notes),
        }


def part_to_dict(part: Any) -> dict[str, Any]:
    """Return a part as JSON values; slices are lists, since there may be thousands."""
    values = dataclasses.asdict(part)
    return values | {"slices": [list(dataclasses.astuple(rows)) for rows in part.slices]}


def is_manifest(key: str) -> bool:
    """Return whether an object is a manifest's index, which never changes once it is there."""
    return key.startswith(f"{CONTROL_AREA}/") and key.endswith("/manifest/manifest.json")


def read_manifest(destination: Store, area: str) -> Manifest | None:
    """Return the manifest in the folder of a run, or None where none can be read whole.

    Raises `IntegrityError` for one that a later version of prefect-freight wrote.
    """
    try:
        record = read_record(destination, f"{area}/manifest/manifest.json", MANIFESTS)
        return None if record is None else _manifest(area, record)
    except UnsoundError:
        return None


def _manifest(area: str, record: Record) -> Manifest:
    index = record.values
    if record.version == 1:
        sections, parts = manifest_from_version1(area, index)
        totals = {"arrays": len(index["arrays"]), "groups": index["groups"]}
    else:
        sections = tuple(_section(section) for section in index["sections"])
        parts, totals = index["parts"], index["totals"]
        # The seal says so too; of version 2 nothing else does.
        if index["area"] != area or not all(section.areas for section in sections):
            raise UnsoundError(f"expected the manifest of {area}, found that of {index['area']}")
    notes = tuple(index["notes"])
    return Manifest(area, sections, tuple(map(_part, parts)), totals, notes, record.version)


SECTION_FIELDS = [field.name for field in dataclasses.fields(Section)]


def _section(values: dict[str, Any]) -> Section:
    known = {name: values[name] for name in SECTION_FIELDS}
    return Section(**(known | {"areas": tuple(known["areas"])}))


def _part(values: dict[str, Any]) -> Part:
    return Part(
        values["key"],
        Round(values["round"]),
        to_batches(values["batches"]),
        tuple(Slice(*rows) for rows in values["slices"]),
        values["kept"],
        values.get("digest", ""),
    )


def count_copy(manifest: Manifest) -> int:
    """Return how many objects the copy has; about, where version 1 does not say so."""
    if manifest.version == 1:
        return sum(part.rows for part in manifest.parts)
    return sum(section.rows for section in manifest.sections)


def to_batches(pairs: Iterable[Iterable[int]]) -> tuple[tuple[int, int], ...]:
    """Return (objects, bytes) of batches as a record of JSON has them."""
    return tuple((objects, size) for objects, size in pairs)


def read_fill(destination: Store, area: str, identity: str) -> bytes:
    """Return a chunk of fill values of a manifest, named by its digest.

    Raises `UnsoundError` if it is not there, or is not what its name says.
    """
    place = f"expected a chunk of fill values at {destination.url}/{fill_key(area, identity)}"
    try:
        fill = destination.read(fill_key(area, identity))
    except NotFoundError as error:
        raise UnsoundError(f"{place}, found none") from error
    if digest(fill) != identity:
        raise UnsoundError(f"{place}, found {len(fill)} other bytes")
    return fill


def fill_key(area: str, identity: str) -> str:
    """Return where a chunk of fill values lies."""
    return f"{area}/manifest/fill-{identity}"
