"""Checksums of what was put: recorded batch by batch, kept beside the manifest at the end."""

from collections.abc import Iterable, Iterator

import numpy as np
import pyarrow as pa

from prefect_freight.control.diff import Diff, DiffPart, read_diff
from prefect_freight.control.ledger import Ledger
from prefect_freight.control.manifest import Manifest, Part, read_manifest
from prefect_freight.control.manifest_reader import ManifestReader
from prefect_freight.control.part_checksums import (
    CHECKSUM_BYTES,
    NO_CHECKSUM,
    find_checksums,
    no_checksums,
    put_checksums,
    read_checksums,
)
from prefect_freight.errors import UnsoundError
from prefect_freight.model import Action, Job
from prefect_freight.stores import Store
from prefect_freight.threads import Threads

PARTS_AT_ONCE = 4


def keep_checksums(destination: Store, job: Job) -> None:
    """Gather the checksums that the ledger of a whole run has, beside the parts of its manifest.

    A part of the manifest gets an object of 16 bytes a row: the MD5 of what was put, zeros where
    that is not known. What lies beside it already stays, where this run has put nothing.
    """
    manifest, diff = read_manifest(destination, job.area), read_diff(destination, job.area)
    if manifest is None or diff is None:
        return
    # Written again whole by each attempt: a resumed run's ledger has the batches of all of them.
    ledger = Ledger(destination, job.area, diff.seal)
    parts = [part for part in diff.parts if part.round.is_copied]
    borrowed = [part for part in parts if part.is_borrowed]
    with Threads(PARTS_AT_ONCE) as pool:
        list(pool.map(lambda part: _keep(destination, manifest, part, ledger), borrowed))
    for number, data in _scattered(destination, manifest, diff, parts, ledger):
        put_checksums(destination, job.area, manifest.parts[number], bytes(data))


class CheckedReader(ManifestReader):
    """The manifests at a destination, with checksums: those beside a part, or the ledger's.

    What lies beside a part is gathered from the ledger of the run that put it, and is gathered
    again, for this reading alone, where it is lost.
    """

    def _read_checksums(self, area: str, part: Part) -> bytearray:
        found = find_checksums(self._destination, area, part)
        if found is None:
            found = _gathered(self._destination, area, part)
        return found or no_checksums(part)


def _gathered(destination: Store, area: str, wanted: Part) -> bytearray | None:
    """Return the checksums that a run's ledger has of a part of its manifest; None if it has none.

    That is so of what was there before all records, too: of a base on the user's word.
    """
    try:
        manifest, diff = read_manifest(destination, area), read_diff(destination, area)
    except UnsoundError:
        return None
    if manifest is None or diff is None:
        return None
    ledger = Ledger(destination, area, diff.seal)
    parts = [part for part in diff.parts if part.round.is_copied]
    for part in parts:
        if part.is_borrowed and part.key == wanted.key:
            return bytearray(b"".join(_checksums(ledger, part)))
    scattered = dict(_scattered(destination, manifest, diff, parts, ledger))
    return scattered.get(manifest.numbers[wanted.key])


def _keep(destination: Store, manifest: Manifest, part: DiffPart, ledger: Ledger) -> None:
    data = b"".join(_checksums(ledger, part))
    put_checksums(destination, manifest.area, manifest.parts[manifest.numbers[part.key]], data)


def _scattered(
    destination: Store, manifest: Manifest, diff: Diff, parts: list[DiffPart], ledger: Ledger
) -> Iterable[tuple[int, bytearray]]:
    """Return the checksums of parts of which only some rows were put, by the parts' numbers."""
    kept: dict[int, bytearray] = {}
    for part in parts:
        if part.is_borrowed:
            continue
        table = diff.read_part(destination, part, ["action", "part", "row"])
        # A delete has no checksum; a put without a row is of what withdraws others, and no copy's.
        put = pa.compute.equal(table["action"], Action.PUT.value).to_numpy()
        numbers, rows = (table[name].to_numpy() for name in ("part", "row"))
        checksums = list(_checksums(ledger, part))
        for n in np.flatnonzero(put & (numbers >= 0)).tolist():
            number, first = int(numbers[n]), int(rows[n]) * CHECKSUM_BYTES
            if number not in kept:
                there = read_checksums(destination, manifest.area, manifest.parts[number])
                kept[number] = there
            kept[number][first : first + CHECKSUM_BYTES] = checksums[n]
    return kept.items()


def _checksums(ledger: Ledger, part: DiffPart) -> Iterator[bytes]:
    records = ledger.read(part.round, part.numbers)
    for number, (objects, _) in zip(part.numbers, part.batches, strict=True):
        record = records.get(number)
        if record is None or len(record.checksums) != objects:
            yield from [NO_CHECKSUM] * objects
        else:
            yield from (bytes.fromhex(c) if c else NO_CHECKSUM for c in record.checksums)
