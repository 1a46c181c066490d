"""How long an export that ends may take over its ending."""

import time
from collections.abc import Callable

from prefect_freight.threads import aside

GRACE_S = 6.0
"""After an interrupt, for what is under way and for the marker of the failure."""
RELEASE_S = 1.5
"""After that, for giving up the lock."""


class Grace:
    """What is left of the time: after an interrupt little, after an error as much as it takes.

    An error's end is bounded by the requests that it makes. Who interrupts wants an end now, and a
    store that hangs would hang in those requests too; what they leave undone is told by what is
    missing: there is no `_SUCCESS`, the run is open, and the lock's lease ends by itself.
    """

    def __init__(self, error: BaseException, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        # An interrupt, a process that is told to end, a cancelled flow: none of them is an error.
        self.is_short = not isinstance(error, Exception)
        self._began = clock()

    def left_s(self, share: float = 1.0) -> float | None:
        """Return the seconds that are left of this share of the time; None is no limit."""
        if not self.is_short:
            return None
        return max(0.0, self._began + share * GRACE_S - self._clock())

    def spend[T](self, call: Callable[[], T], share: float, otherwise: Callable[[], T]) -> T:
        """Return what a call returns, or what `otherwise` does if there is no time left for it."""
        try:
            return aside(call, self.left_s(share))
        except TimeoutError:
            return otherwise()
