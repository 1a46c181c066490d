"""The ledger: what is done. One small object per finished batch, at the destination.

A record counts only when it can be read whole and names the batch that it is the record of;
anything else is as if it were not there, and the batch is moved again. A record is written after
its batch, so a killed run may have moved objects without a record and never the other way round.
"""

import re
import time
from collections.abc import Container, Iterable
from dataclasses import dataclass

from prefect_freight.control.sealed import Record, read_record, write_record
from prefect_freight.control.unsealed import BATCHES
from prefect_freight.errors import IntegrityError, UnsoundError
from prefect_freight.model import Round
from prefect_freight.stores import Store
from prefect_freight.stores.pages import list_keys
from prefect_freight.threads import Threads

BATCHES_PER_FOLDER = 1000
"""Records in folders, so that a unit lists its own and not those of the whole run."""
READERS = 16
BEGUN = "begun"
"""Folder of a record for each phase that has begun."""
BEGUN_KEY = re.compile(rf"({'|'.join(Round)})-(\d+)\.json")
CHECKSUM = re.compile("([0-9a-f]{32})?")
RECORD_KEY = re.compile(rf"({'|'.join(Round)})/\d{{6,}}/(\d{{9,}})\.json")


@dataclass(frozen=True, slots=True)
class BatchRecord:
    """What became of a batch."""

    objects: int
    bytes: int
    failed: tuple[str, ...] = ()
    """Keys that could not be moved; a retry moves only these."""
    checksums: tuple[str, ...] = ()
    """MD5 of each entry's bytes in hexadecimal, in the batch's order; "" where nothing was put."""


class Ledger:
    """The records of one run's batches.

    They are bound to the run's diff by its seal: what they say of a batch, they say of one of this
    diff. (Diffs of old versions have none.)
    """

    def __init__(self, destination: Store, area: str, diff_seal: str) -> None:
        self._destination, self._diff_seal = destination, diff_seal
        self._area, self._folder = area, f"{area}/ledger"

    def write(self, round_: Round, batch: int, record: BatchRecord) -> None:
        """Record a batch, in place of what was recorded of it before."""
        data = {
            "batch": batch,
            "objects": record.objects,
            "bytes": record.bytes,
            "failed": list(record.failed),
            "checksums": list(record.checksums),
        }
        write_record(self._destination, self.key(round_, batch), data, self._diff_seal)

    def begin(self, round_: Round, phase: int) -> None:
        """Record that something of a phase may be done from now on, before anything of it is.

        Each of its units does so: on a disk the record is there even if the power fails, while
        those of batches may be lost.
        """
        # A name that all units of the phase share: whoever is first writes it, the others say the
        # same.
        key = f"{self._area}/{BEGUN}/{round_}-{phase}.json"
        write_record(self._destination, key, {"at": time.time()})

    def read(
        self, round_: Round, batches: range, known: Container[int] = ()
    ) -> dict[int, BatchRecord]:
        """Return the records of consecutive batches of a round, by batch number.

        Those of batches that are `known` are not read again.
        """
        wanted = {self.key(round_, n): n for n in batches if n not in known}
        # Listed first: at the beginning of an export most records are missing, and asking for each
        # would cost a request per batch.
        keys = [key for key in self._list(round_, batches) if key in wanted]
        with Threads(READERS) as pool:
            records = pool.map(lambda key: self._read(key, wanted[key]), keys)
            return {wanted[key]: r for key, r in zip(keys, records, strict=True) if r is not None}

    def _list(self, round_: Round, batches: range) -> Iterable[str]:
        folders = range(batches.start // BATCHES_PER_FOLDER, batches.stop // BATCHES_PER_FOLDER + 1)
        for folder in folders:
            yield from list_keys(self._destination, f"{self._folder}/{round_}/{folder:06d}/")

    def _read(self, key: str, batch: int) -> BatchRecord | None:
        try:
            record = read_record(self._destination, key, BATCHES, self._diff_seal)
            return None if record is None else _batch_record(record, batch)
        except (UnsoundError, IntegrityError):
            return None

    def key(self, round_: Round, batch: int) -> str:
        """Return where a batch's record lies."""
        return f"{self._folder}/{round_}/{batch // BATCHES_PER_FOLDER:06d}/{batch:09d}.json"


def _batch_record(record: Record, batch: int) -> BatchRecord | None:
    values, checksums = record.values, record.values.get("checksums", ())
    if values["batch"] != batch or not all(map(CHECKSUM.fullmatch, checksums)):
        return None
    failed = tuple(values["failed"])
    return BatchRecord(values["objects"], values["bytes"], failed, tuple(checksums))


def recorded_batches(destination: Store, area: str) -> list[tuple[Round, int]]:
    """Return which batches the ledger of a run has a record of, whole or not."""
    prefix = f"{area}/ledger/"
    keys = (key.removeprefix(prefix) for key in list_keys(destination, prefix))
    records = map(RECORD_KEY.fullmatch, keys)
    return [(Round(record[1]), int(record[2])) for record in records if record]


def begun_phases(destination: Store, area: str) -> set[tuple[Round, int]]:
    """Return the phases of which a run may have done something."""
    prefix = f"{area}/{BEGUN}/"
    names = (key.removeprefix(prefix) for key in list_keys(destination, prefix))
    records = (BEGUN_KEY.fullmatch(name) for name in names)
    return {(Round(record[1]), int(record[2])) for record in records if record}


def begun_at(destination: Store, area: str, round_: Round) -> float | None:
    """Return when a run began a round, in seconds since the epoch; None if that is not known."""
    try:
        # Versions that sealed nothing did not say it.
        record = read_record(destination, f"{area}/{BEGUN}/{round_}-0.json", {})
    except (UnsoundError, IntegrityError):
        return None
    return record.values.get("at") if record else None
