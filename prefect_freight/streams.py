"""Standard streams of the command that nobody's going away can hurt.

A reader that has seen enough (`| head -1`) ends what is shown, and neither the export nor its exit
status.
"""

import os
import sys
from typing import Any, TextIO, cast


def protect_streams() -> None:
    """Have standard output and error take all that is written, whoever reads it or not.

    A stream that was closed leads nowhere from now on: with its number free, the next file that is
    opened, one of the copy perhaps, would get what some library writes to standard error.
    """
    for descriptor in (0, 1, 2):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # gets the lowest number that is free: this one
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name) or open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115
        setattr(sys, name, cast("TextIO", _Stream(stream)))


class _Stream:
    """A text stream that leads nowhere once its pipe is broken."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Write text; return how much of it was taken."""
        try:
            return self._stream.write(text)
        except OSError:  # a pipe that nobody reads, a disk that is full
            self._lead_nowhere()
            return len(text)

    def flush(self) -> None:
        """Have what was written leave this process."""
        try:
            self._stream.flush()
        except OSError:  # a pipe that nobody reads, a disk that is full
            self._lead_nowhere()

    def _lead_nowhere(self) -> None:
        # The descriptor, and not only this object: what is in the stream's buffer still wants out.
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, self._stream.fileno())
        os.close(nowhere)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)
