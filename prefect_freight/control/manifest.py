"""The manifest of a run: what the copy holds, section by section.

It is a folder at the destination's control area: Parquet files of entries, and an index,
`manifest.json`, written last: a manifest without it is no manifest. The index lists all sections of
the copy; the files hold the entries of those that are new or have changed. A section's `areas` are
the runs whose manifests hold it: its entries are those of the first, with the rows of the later
ones put in the place of rows of the same key, or taken out of it (`action` is `delete`).
"""

import dataclasses
import io
import json
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from prefect_freight.control.version1 import ROWS_OF_NODE, manifest_from_version1
from prefect_freight.errors import IntegrityError, NotFoundError, UnsoundError
from prefect_freight.model import ENTRY_SCHEMA, Action, Round
from prefect_freight.plan.entries import no_rows
from prefect_freight.plan.sections import Section
from prefect_freight.retry import retrying
from prefect_freight.stores import Store

MANIFEST_VERSION = 2

MANIFEST_SCHEMA = ENTRY_SCHEMA.append(pa.field("kept", pa.bool_(), nullable=False))
"""An entry, and whether the base of the run has the same content under its key."""

NO_ROWS = MANIFEST_SCHEMA.append(pa.field("round", pa.string())).empty_table()

CHECKSUM_BYTES = 16
NO_CHECKSUM = bytes(CHECKSUM_BYTES)
PARTS_IN_MEMORY = 4


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
    version: int = MANIFEST_VERSION

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

    @property
    def changed_names(self) -> set[str]:
        """Names of which this manifest holds entries, or takes some out."""
        return {section.name for section in self.sections if section.areas[-1] == self.area}

    def to_index(self) -> dict[str, Any]:
        """Return what `manifest.json` holds."""
        return {
            "format_version": MANIFEST_VERSION,
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


def read_manifest(destination: Store, area: str) -> Manifest | None:
    """Return the manifest in the folder of a run, or None where none was written whole.

    Raises `IntegrityError` for one that a later version of prefect-freight wrote.
    """
    try:
        data = retrying(lambda: destination.read(f"{area}/manifest/manifest.json"))
    except NotFoundError:
        return None
    try:
        index: Any = json.loads(data)
    except ValueError:
        return None
    match index.get("format_version"):
        case 1:
            sections, parts = manifest_from_version1(area, index)
            return Manifest(
                area,
                sections,
                tuple(_part(part) for part in parts),
                {"arrays": len(index["arrays"]), "groups": index["groups"]},
                tuple(index["notes"]),
                version=1,
            )
        case 2:
            return Manifest(
                area,
                tuple(_section(section) for section in index["sections"]),
                tuple(_part(part) for part in index["parts"]),
                index["totals"],
                tuple(index["notes"]),
            )
        case version:
            raise IntegrityError(
                f"expected a manifest of version 1 or {MANIFEST_VERSION} at {destination.url}/"
                f"{area}, found version {version!r}. A later prefect-freight wrote it: use that one"
            )


def _section(values: dict[str, Any]) -> Section:
    return Section(**(values | {"areas": tuple(values["areas"])}))


def _part(values: dict[str, Any]) -> Part:
    return Part(
        values["key"],
        Round(values["round"]),
        to_batches(values["batches"]),
        tuple(Slice(*rows) for rows in values["slices"]),
        values["kept"],
    )


def to_batches(pairs: Iterable[Iterable[int]]) -> tuple[tuple[int, int], ...]:
    """Return (objects, bytes) of batches as a record of JSON has them."""
    return tuple((objects, size) for objects, size in pairs)


class Records:
    """The manifests at a destination, read as they are asked for; a few parts stay in memory.

    Many small sections lie in one part, and are mostly asked for in its order, so that each part is
    read once.
    """

    def __init__(self, destination: Store) -> None:
        self._destination = destination
        self._manifests: dict[str, Manifest] = {}
        self._tables: OrderedDict[tuple[str, tuple[str, ...]], pa.Table] = OrderedDict()

    def manifest(self, area: str) -> Manifest:
        """Return the manifest of an area; raises `UnsoundError` if there is none."""
        manifest = read_manifest(self._destination, area)
        if manifest is None:
            raise UnsoundError(
                f"expected the manifest of an export at {self._destination.url}/{area}, found "
                "none that can be read. Run the same command again"
            )
        return manifest

    def _home(self, area: str) -> Manifest:
        """Return the manifest of an area, maybe without sections, of which many lists are many."""
        if area not in self._manifests:
            self._manifests[area] = dataclasses.replace(self.manifest(area), sections=())
        return self._manifests[area]

    def add(self, manifest: Manifest) -> None:
        """Take a manifest that need not be read any more."""
        self._manifests[manifest.area] = manifest

    def entries(self, section: Section, columns: Iterable[str]) -> pa.Table:
        """Return the given columns of all entries that the copy has of a section.

        And `layer`, the number (in `section.areas`) of the one that holds the row. `round` may be
        asked for as if it were a column.
        """
        columns = tuple(dict.fromkeys(("key", "action", *columns)))
        layers = [
            _with_layer(table, number)
            for number, area in enumerate(section.areas)
            for table in self._rows(area, section, columns)
        ]
        if not layers:
            return _with_layer(NO_ROWS.select(columns), 0)
        return _overlaid(layers)

    def _rows(self, area: str, section: Section, columns: tuple[str, ...]) -> Iterator[pa.Table]:
        manifest = self._home(area)
        stored = tuple(name for name in columns if name != "round")
        for part, rows in manifest.places.get((section.name, section.start), ()):
            table = self.read_part(f"{area}/{part.key}", stored)
            if rows.stop >= 0:
                table = table.slice(rows.first, rows.stop - rows.first)
            elif rows.stop == ROWS_OF_NODE:
                nodes = self.read_part(f"{area}/{part.key}", ("node",))["node"]
                table = table.filter(pc.equal(nodes, section.name))
            if "round" in columns:
                table = table.append_column("round", pa.repeat(part.round.value, table.num_rows))
            yield table.select(columns)

    def read_part(self, key: str, columns: tuple[str, ...]) -> pa.Table:
        """Return columns of one file of a manifest, with the checksums that were put beside it."""
        if (key, columns) not in self._tables:
            table = read_table(self._destination, key, list(columns))
            if "kept" in columns and "kept" not in table.column_names:  # in version 1
                table = table.append_column("kept", no_rows(table.num_rows)).select(columns)
            if "checksum" in columns:
                table = _with_checksums(table, self._read_checksums(key))
            self._tables[key, columns] = table
            while len(self._tables) > PARTS_IN_MEMORY:
                self._tables.popitem(last=False)
        self._tables.move_to_end((key, columns))
        return self._tables[key, columns]

    def _read_checksums(self, key: str) -> bytes:
        try:
            return retrying(lambda: self._destination.read(checksums_key(key)))
        except NotFoundError:
            return b""


def checksums_key(part_key: str) -> str:
    """Return where the checksums of a part's entries lie: 16 bytes of MD5 a row."""
    return f"{part_key}.md5"


def read_table(destination: Store, key: str, columns: list[str] | None = None) -> pa.Table:
    """Return the rows of one Parquet file of the control area.

    Raises `UnsoundError` if it is not there, or is damaged: whoever needs it cannot rely on what
    was recorded.
    """
    place = f"expected a Parquet file of an export's records at {destination.url}/{key}"
    try:
        data = retrying(lambda: destination.read(key))
    except NotFoundError as error:
        raise UnsoundError(f"{place}, found none. Run the same command again") from error
    try:
        with io.BytesIO(data) as file:
            return pq.read_table(file, columns=columns)
    except (pa.ArrowInvalid, OSError) as error:
        raise UnsoundError(
            f"{place}, found {len(data)} bytes that are none. Run the same command again"
        ) from error


def read_fill(destination: Store, area: str, identity: str) -> bytes:
    """Return a chunk of fill values of a manifest, named by its digest."""
    return destination.read(fill_key(area, identity))


def fill_key(area: str, identity: str) -> str:
    """Return where a chunk of fill values lies."""
    return f"{area}/manifest/fill-{identity}"


def _with_layer(table: pa.Table, number: int) -> pa.Table:
    return table.append_column("layer", pa.repeat(pa.scalar(number, pa.int32()), table.num_rows))


def _overlaid(layers: list[pa.Table]) -> pa.Table:
    """Return the rows that no later layer has a row of the same key over, without deletes."""
    table = pa.concat_tables(layers)
    newest = layers[-1]["layer"][0].as_py() if layers[-1].num_rows else 0
    if newest:
        later = pc.greater(table["layer"], 0)
        over = table.filter(later)
        # Of several changes of one key the newest counts.
        last = over.group_by("key").aggregate([("layer", "max")])
        where = pc.index_in(table["key"], _combined(last["key"]))
        winner = _combined(last["layer_max"]).take(_combined(where))
        table = table.filter(pc.fill_null(pc.equal(table["layer"], winner), True))
    return table.filter(pc.equal(table["action"], Action.PUT.value))


def _combined(column: Any) -> pa.Array:
    return column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column


def _with_checksums(table: pa.Table, data: bytes) -> pa.Table:
    if len(data) != CHECKSUM_BYTES * table.num_rows:
        return table
    column = pa.FixedSizeBinaryArray.from_buffers(
        pa.binary(CHECKSUM_BYTES), table.num_rows, [None, pa.py_buffer(data)]
    ).cast(pa.binary())
    put = pc.if_else(pc.equal(column, NO_CHECKSUM), pa.scalar(None, pa.binary()), column)
    checksums = pc.coalesce(put, _combined(table["checksum"]))
    return table.set_column(table.schema.get_field_index("checksum"), "checksum", checksums)
