"""How far units are that move in other processes: their ledger tells."""

from collections.abc import Iterable, Sequence

from prefect_freight.control.diff import read_diff
from prefect_freight.control.ledger import BatchRecord, Ledger
from prefect_freight.model import Job, Outcome, Unit
from prefect_freight.stores import Store
from prefect_freight.stores.wrapping import innermost


class Tally:
    """What is recorded of the units of one phase, read again now and then."""

    def __init__(self, destination: Store, job: Job, units: Sequence[Unit]) -> None:
        # Without all that waits and guards: who only looks is neither to wait behind an outage nor
        # to be counted by those who do.
        self._destination, self._area = innermost(destination), job.area
        self._ledger: Ledger | None = None
        self._round = units[0].round
        self._batches = range(min(u.first for u in units), max(u.stop for u in units))
        self._records: dict[int, BatchRecord] = {}
        self._earlier: set[int] | None = None if job.resumed else set()

    def look(self) -> None:
        """Read what was recorded since the last look; raises what a store raises."""
        if self._ledger is None:
            diff = read_diff(self._destination, self._area)
            self._ledger = Ledger(self._destination, self._area, diff.seal if diff else "")
        # A batch of which some failed may come again, and is not known for good.
        known = {number for number, record in self._records.items() if not record.failed}
        self._records |= self._ledger.read(self._round, self._batches, known)
        if self._earlier is None:  # what lies there at the first look is of an earlier run
            self._earlier = set(self._records)

    def of(self, units: Iterable[Unit]) -> Outcome:
        """Return what was recorded of some of the units, at the last look."""
        total = Outcome()
        for unit in units:
            for number in range(unit.first, unit.stop):
                record = self._records.get(number)
                if record is None:
                    continue
                done = record.objects - len(record.failed)
                if number in (self._earlier or ()):
                    total += Outcome(skipped=done)
                else:
                    total += Outcome(transferred=done, bytes=record.bytes)
        return total
