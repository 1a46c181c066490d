"""Reading manifests: the entries of sections, from all the areas that hold them."""

import dataclasses
from collections import OrderedDict
from collections.abc import Iterable, Iterator

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from prefect_freight.control.manifest import NO_ROWS, Manifest, Part, read_manifest
from prefect_freight.control.part_checksums import CHECKSUM_BYTES, NO_CHECKSUM, read_checksums
from prefect_freight.control.tables import read_table
from prefect_freight.control.version1 import ROWS_OF_NODE
from prefect_freight.errors import UnsoundError
from prefect_freight.model import Action
from prefect_freight.plan.entries import combined, no_rows
from prefect_freight.plan.sections import Section
from prefect_freight.stores import Store

PARTS_IN_MEMORY = 4
ROWS_AT_ONCE = 50_000
"""Small sections are given out together."""
COMPUTED = ("round", "part", "row")
"""What may be asked for as if it were a column: the round of an entry, and which row it is of which
part (by its number) of its manifest."""


class ManifestReader:
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
            raise no_manifest(self._destination, area)
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

        And `layer`, the number (in `section.areas`) of the one that holds the row. The names in
        `COMPUTED` may be asked for as if they were columns.
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

    def part(self, area: str, number: int) -> Part:
        """Return a part of a manifest, by its number."""
        return self._home(area).parts[number]

    def _rows(self, area: str, section: Section, columns: tuple[str, ...]) -> Iterator[pa.Table]:
        manifest = self._home(area)
        stored = tuple(name for name in columns if name not in COMPUTED)
        for part, rows in manifest.places.get((section.name, section.start), ()):
            table = self.read_part(area, part, stored)
            where = slice(rows.first, rows.stop if rows.stop >= 0 else table.num_rows)
            table = table.slice(where.start, where.stop - where.start)
            numbers = pa.array(np.arange(where.start, where.stop))
            if rows.stop == ROWS_OF_NODE:
                # A part of version 1 has rows of many arrays, not one behind the other.
                nodes = combined(self.read_part(area, part, ("node",))["node"])
                table, numbers = (t.filter(pc.equal(nodes, section.name)) for t in (table, numbers))
            computed = {
                "round": pa.repeat(part.round.value, len(numbers)),
                "part": pa.repeat(manifest.numbers[part.key], len(numbers)),
                "row": numbers,
            }
            for name in COMPUTED:
                if name in columns:
                    table = table.append_column(name, computed[name])
            yield table.select(columns)

    def read_part(self, area: str, part: Part, columns: tuple[str, ...]) -> pa.Table:
        """Return columns of a part of a manifest, with the checksums that were put beside it."""
        key = f"{area}/{part.key}"
        if (key, columns) not in self._tables:
            table = read_table(self._destination, key, list(columns), part.rows, part.digest)
            if "kept" in columns and "kept" not in table.column_names:  # in version 1
                table = table.append_column("kept", no_rows(table.num_rows)).select(columns)
            if "checksum" in columns:
                checksums = self._read_checksums(area, part)
                table = _with_checksums(table, bytes(checksums))
            self._tables[key, columns] = table
            # A handful: those of the section's areas that are read in turns, and not a whole
            # manifest.
            while len(self._tables) > PARTS_IN_MEMORY:
                self._tables.popitem(last=False)
        self._tables.move_to_end((key, columns))
        return self._tables[key, columns]

    def _read_checksums(self, area: str, part: Part) -> bytearray:
        return read_checksums(self._destination, area, part)


def no_manifest(destination: Store, area: str) -> UnsoundError:
    """Return the error of a manifest that is needed, and is not there or damaged."""
    return UnsoundError(
        f"expected the manifest of an export at {destination.url}/{area}, found none that can be "
        "read"
    )


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
        where = pc.index_in(table["key"], combined(last["key"]))
        winner = combined(last["layer_max"]).take(combined(where))
        table = table.filter(pc.fill_null(pc.equal(table["layer"], winner), True))
    return table.filter(pc.equal(table["action"], Action.PUT.value))


def _with_checksums(table: pa.Table, data: bytes) -> pa.Table:
    column = pa.FixedSizeBinaryArray.from_buffers(
        pa.binary(CHECKSUM_BYTES), table.num_rows, [None, pa.py_buffer(data)]
    ).cast(pa.binary())
    put = pc.if_else(pc.equal(column, NO_CHECKSUM), pa.scalar(None, pa.binary()), column)
    checksums = pc.coalesce(put, combined(table["checksum"]))
    return table.set_column(table.schema.get_field_index("checksum"), "checksum", checksums)


def read_copy(
    records: ManifestReader, manifest: Manifest, columns: list[str]
) -> Iterator[pa.Table]:
    """Yield all entries of the copy that a manifest describes."""
    gathered: list[pa.Table] = []
    rows = 0
    for section in manifest.sections:
        table = records.entries(section, columns).select(columns)
        gathered.append(table)
        rows += table.num_rows
        if rows >= ROWS_AT_ONCE:
            yield pa.concat_tables(gathered)
            gathered, rows = [], 0
    if gathered:
        yield pa.concat_tables(gathered)
