"""Ctrl-C and SIGTERM: the command ends in order, and soon, whatever it waits for.

Python's own handlers run in the main thread, and not before the call returns that is under way
there. So a thread of its own hears of signals too, by a descriptor that the system's handler writes
to, and ends the process where that takes too long.
"""

import os
import signal
import threading
import time
from contextlib import suppress
from types import FrameType

WITHIN_S = 10.0
"""After the first signal, for an end in order: a marker that tells so, the lock given up."""
SAME_S = 0.5
"""One press may come twice: from the terminal, and from a program around this one."""
SIGNALS = (signal.SIGINT, signal.SIGTERM)


def end_when_interrupted(status: int) -> None:
    """Have signals interrupt the main thread, and end this process with a status after a while.

    A second signal ends it at once.
    """
    interrupts = _Interrupts(status)
    # A service that is stopped ends as one that is interrupted: its marker at the destination tells
    # so, and the lock is given up. The default would end the process on the spot.
    for number in SIGNALS:
        signal.signal(number, interrupts.handle)
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    threading.Thread(
        target=interrupts.hear, args=(reader,), name="freight-interrupts", daemon=True
    ).start()


class _Interrupts:
    def __init__(self, status: int) -> None:
        self._status = status
        self._handled_at = float("-inf")

    def handle(self, _number: int, _frame: FrameType | None) -> None:
        """Interrupt the main thread, unless it was just now: that would cut its ending short."""
        last, self._handled_at = self._handled_at, time.monotonic()
        if self._handled_at - last > SAME_S:
            raise KeyboardInterrupt

    def hear(self, reader: int) -> None:
        """End the process some time after the first signal, or at the second."""
        first_at: float | None = None
        while True:
            if os.read(reader, 1)[0] not in SIGNALS:
                continue
            now = time.monotonic()
            if first_at is None:
                first_at = now
                threading.Timer(WITHIN_S, self._end, args=("waited no longer",)).start()
            elif now - first_at > SAME_S:
                self._end("left at once")

    def _end(self, how: str) -> None:
        text = (
            f"Interrupted, and {how} for what was under way. Run the same command again to go on.\n"
        )
        # In a thread of its own: nobody may be reading what is written there.
        said = threading.Thread(target=os.write, args=(2, text.encode()), daemon=True)
        said.start()
        said.join(SAME_S)
        _end_children()
        os._exit(self._status)


def _end_children() -> None:
    """End Prefect's embedded server, which would go on alone; only `/proc` tells of it."""
    with suppress(OSError):
        for entry in os.scandir("/proc"):
            if entry.name.isdecimal() and _parent_of(entry.name) == os.getpid():
                with suppress(OSError):
                    os.kill(int(entry.name), signal.SIGTERM)


def _parent_of(pid: str) -> int:
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
            # Behind the program's name, which may hold spaces and brackets: state, parent.
            return int(file.read().rpartition(")")[2].split()[1])
    except OSError:  # it has ended
        return 0
