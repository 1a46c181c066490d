"""Checksums of what was put: recorded batch by batch, kept beside the manifest at the end."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

from prefect_freight.control.ledger import Ledger
from prefect_freight.control.manifest import MOVED, read_manifest
from prefect_freight.model import COPY_ROUNDS, Job, Unit
from prefect_freight.plan.batches import Part
from prefect_freight.stores import Store

PARTS_AT_ONCE = 4


def keep_checksums(destination: Store, job: Job) -> None:
    """Gather the checksums that the ledger of a whole run has, beside the parts of its manifest."""
    manifest = read_manifest(destination, job)
    if manifest is None:
        return
    ledger = Ledger(destination, job)
    put = [part for part in manifest.parts if part.round in MOVED and part.round in COPY_ROUNDS]
    with ThreadPoolExecutor(PARTS_AT_ONCE) as pool:
        list(
            pool.map(
                lambda part: manifest.write_checksums(destination, part, _checksums(ledger, part)),
                put,
            )
        )


def _checksums(ledger: Ledger, part: Part) -> Iterator[str]:
    stop = part.first_batch + len(part.batches)
    records = ledger.read(Unit(part.round, part.first_batch, stop, 0, 0))
    for number, (objects, _) in enumerate(part.batches, part.first_batch):
        record = records.get(number)
        if record is None or len(record.checksums) != objects:
            yield from [""] * objects
        else:
            yield from record.checksums
