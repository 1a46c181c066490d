"""Checksums of what was put: recorded batch by batch, kept beside the manifest at the end."""

from collections.abc import Iterator, Mapping

import numpy as np
import pyarrow as pa

from prefect_freight.control.diff import Diff, DiffPart, read_diff
from prefect_freight.control.ledger import Ledger
from prefect_freight.control.manifest import (
    CHECKSUM_BYTES,
    NO_CHECKSUM,
    Manifest,
    Part,
    checksums_key,
    read_manifest,
)
from prefect_freight.control.manifest_reader import read_table
from prefect_freight.errors import NotFoundError
from prefect_freight.model import Action, Job
from prefect_freight.retry import retrying
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
    ledger = Ledger(destination, job.area)
    parts = [part for part in diff.parts if part.round.is_copied]
    borrowed = [part for part in parts if part.is_borrowed]
    with Threads(PARTS_AT_ONCE) as pool:
        list(pool.map(lambda part: _keep(destination, diff, part, ledger), borrowed))
    for key, data in _scattered(destination, manifest, diff, parts, ledger).items():
        retrying(lambda key=key, data=data: destination.write(key, bytes(data)))  # type: ignore[misc]


def put_checksums(destination: Store, area: str, part: Part, data: bytes) -> None:
    """Put the checksums of a part's rows beside it, in place of those that are there."""
    key = checksums_key(f"{area}/{part.key}")
    retrying(lambda: destination.write(key, data))


def add_checksums(
    destination: Store, area: str, part: Part, checksums: Mapping[int, bytes]
) -> None:
    """Put checksums, by the row of a part, beside the part, with those that are there already."""
    data = read_checksums(destination, area, part)
    for row, checksum in checksums.items():
        data[row * CHECKSUM_BYTES : (row + 1) * CHECKSUM_BYTES] = checksum
    put_checksums(destination, area, part, bytes(data))


def read_checksums(destination: Store, area: str, part: Part) -> bytearray:
    """Return what lies beside a part, or as many zeros where nothing does."""
    try:
        data = retrying(lambda: destination.read(checksums_key(f"{area}/{part.key}")))
    except NotFoundError:
        data = b""
    size = part.rows * CHECKSUM_BYTES
    return bytearray(data if len(data) == size else size)


def _keep(destination: Store, diff: Diff, part: DiffPart, ledger: Ledger) -> None:
    data = b"".join(_checksums(ledger, part))
    key = checksums_key(f"{diff.area}/{part.key}")
    retrying(lambda: destination.write(key, data))


def _scattered(
    destination: Store, manifest: Manifest, diff: Diff, parts: list[DiffPart], ledger: Ledger
) -> Mapping[str, bytearray]:
    """Return the checksums of parts of which only some rows were put, by the objects' keys."""
    kept: dict[int, bytearray] = {}
    for part in parts:
        if part.is_borrowed:
            continue
        table = read_table(destination, f"{diff.area}/{part.key}", ["action", "part", "row"])
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
    return {
        checksums_key(f"{manifest.area}/{manifest.parts[number].key}"): data
        for number, data in kept.items()
    }


def _checksums(ledger: Ledger, part: DiffPart) -> Iterator[bytes]:
    records = ledger.read(part.round, part.numbers)
    for number, (objects, _) in zip(part.numbers, part.batches, strict=True):
        record = records.get(number)
        if record is None or len(record.checksums) != objects:
            yield from [NO_CHECKSUM] * objects
        else:
            yield from (bytes.fromhex(c) if c else NO_CHECKSUM for c in record.checksums)
