"""The two places of an export, waited for: each by a patience of its own, both by their limits.

One clock for both would be set back by every answer of the source while the destination is gone.
"""

from contextlib import suppress

from prefect_freight.control.holder import LOCK
from prefect_freight.control.lock import Lock
from prefect_freight.errors import ExhaustedError, NotFoundError
from prefect_freight.events import Notice, OnEvent
from prefect_freight.limits import Limits
from prefect_freight.model import Options
from prefect_freight.patience import Patience
from prefect_freight.sources import Source
from prefect_freight.sources.throttled import limited_source
from prefect_freight.sources.waited import patient_source
from prefect_freight.stores import Store
from prefect_freight.stores.limited import LimitedStore
from prefect_freight.stores.patient import PatientStore, UnwaitingStore


class Waits:
    """A source and a destination whose operations wait: for an answer, and for their turn."""

    def __init__(
        self, source: Source, destination: Store, options: Options, on_event: OnEvent
    ) -> None:
        def tell(text: str) -> None:
            on_event(Notice(text))

        # Two of them: a source that answers says nothing of a destination that does not.
        self._reads = Patience(source.storage_url, options.retry_for, tell)
        self._writes = Patience(destination.url, options.retry_for, tell)
        self._limits = Limits(options.bandwidth, options.rate_limit)
        self._raw = destination
        limited = limited_source(source, self._limits) if self._limits else source
        self.source = patient_source(limited, self._reads)
        self.destination = PatientStore(self._limited(destination), self._writes)
        self.unwaiting = UnwaitingStore(destination, self._writes)
        """The destination for the lock: who renews it must not wait behind an outage or others."""

    def hold(self, lock: Lock) -> Store:
        """Return the destination as it can be written only while the lock is held.

        After each wait the lock is looked at before anything is written again, as it may have lived
        out its lease meanwhile. Where nobody could take it, since the store answered nobody, it is
        ours still, and the export goes on.
        """

        def require_lock() -> None:
            with suppress(NotFoundError):  # which the lock says better
                self.unwaiting.read(LOCK)
            lock.check()

        self._writes.ask_after_waits(require_lock)
        # The guard inside, the waiting around it: each attempt asks whether the lock is fresh, and
        # one that the guard puts off is tried again, as if the store had not answered.
        self.destination = PatientStore(self._limited(lock.guard(self._raw)), self._writes)
        return self.destination

    def end(self) -> None:
        """Wait for nothing any more."""
        self._reads.end()
        self._writes.end()
        self._limits.end()

    def forbid(self) -> None:
        """Have all that is asked of either place from now on fail."""
        over = ExhaustedError("the export has ended")
        self._reads.forbid(over)
        self._writes.forbid(over)

    def _limited(self, store: Store) -> Store:
        return LimitedStore(store, self._limits) if self._limits else store
