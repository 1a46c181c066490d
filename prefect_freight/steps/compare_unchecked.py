"""Comparing what no record has a checksum of with the source, byte by byte.

Such are objects that we never put: those of a base that only the user vouches for. And those whose
checksum was lost, or that an earlier version did not record.
"""

from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from prefect_freight.control.checksums import CheckedReader
from prefect_freight.control.part_checksums import add_checksums
from prefect_freight.errors import IntegrityError, NotFoundError
from prefect_freight.model import ENTRY_SCHEMA, Job
from prefect_freight.plan.differences import Differences
from prefect_freight.plan.entries import md5
from prefect_freight.plan.sections import Section
from prefect_freight.retry import retrying
from prefect_freight.sources import Source
from prefect_freight.steps.carry import Carrier
from prefect_freight.stores import Store
from prefect_freight.threads import Threads

READERS = 16
ROWS_AT_ONCE = 1_000
PARTS_AT_ONCE = 8
"""Parts whose new checksums are held in memory, 16 bytes a row."""


def compare_unchecked(
    source: Source, destination: Store, job: Job, differences: Differences, *, keep: bool
) -> None:
    """Add each object that no checksum is recorded of, and that has other bytes than the source.

    With `keep` the checksums of those that are right are recorded, so that each is read once.
    Afterwards none counts as unchecked. What is missing, or of another size, was found before.
    """
    if not differences.unchecked:
        return
    _Comparison(source, destination, differences, keep=keep).run(job)
    differences.unchecked = 0


class _Comparison:
    def __init__(
        self, source: Source, destination: Store, differences: Differences, *, keep: bool
    ) -> None:
        self._source, self._destination = source, destination
        self._differences, self._keep = differences, keep
        self._records = CheckedReader(destination)
        self._carriers: dict[str, Carrier] = {}
        self._checksums: dict[tuple[str, int], dict[int, bytes]] = {}

    def run(self, job: Job) -> None:
        with Threads(READERS) as pool:
            for section in self._records.manifest(job.area).sections:
                for rows in self._unchecked(section):
                    homes = [section.areas[row["layer"]] for row in rows]
                    found = pool.map(self._compare, homes, rows)
                    for area, row, result in zip(homes, rows, found, strict=True):
                        self._take(area, row, result)
                self._flush(PARTS_AT_ONCE)
        self._flush(0)

    def _unchecked(self, section: Section) -> Iterator[list[dict[str, Any]]]:
        """Yield the rows of a section that have no checksum, with their place in the records."""
        # The inline data of all others, which are all as a rule, need not be read.
        if not self._records.entries(section, ("checksum",))["checksum"].null_count:
            return
        table = self._records.entries(section, (*ENTRY_SCHEMA.names, "part", "row"))
        unchecked: pa.Table = table.filter(pc.is_null(table["checksum"]))
        for first in range(0, unchecked.num_rows, ROWS_AT_ONCE):
            yield unchecked.slice(first, ROWS_AT_ONCE).to_pylist()

    def _compare(self, area: str, row: dict[str, Any]) -> bytes | str | None:
        """Return the MD5 of an object that is right, or what is wrong with it."""
        try:
            copied = retrying(lambda: self._destination.read(row["key"]))
        except NotFoundError:
            return None
        if len(copied) != row["size"]:
            return None
        # Chunks of fill values lie beside the manifest that has the row.
        if area not in self._carriers:
            self._carriers[area] = Carrier(self._source, self._destination, area)
        try:
            wanted = retrying(lambda: self._carriers[area].read(row))
        except (NotFoundError, IntegrityError) as error:
            return f"it was never checked, and the source cannot be read: {error}"
        return md5(copied) if copied == wanted else "its bytes are not those of the source"

    def _take(self, area: str, row: dict[str, Any], result: bytes | str | None) -> None:
        match result:
            case str():
                self._differences.add_wrong(row["key"], result)
            case bytes() if self._keep:
                self._checksums.setdefault((area, row["part"]), {})[row["row"]] = result

    def _flush(self, most: int) -> None:
        """Record the checksums, if they are of more parts than that."""
        if len(self._checksums) > most:
            for (area, number), checksums in self._checksums.items():
                part = self._records.part(area, number)
                add_checksums(self._destination, area, part, checksums)
            self._checksums.clear()
