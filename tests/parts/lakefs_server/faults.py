"""What can go wrong on purpose: which requests it meets, and what becomes of their answers."""

import re
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from urllib.parse import unquote

from lakefs_server.messages import Answer, Request, error_answer
from lakefs_server.s3 import s3_error

S3_CODES = {429: "SlowDown", 500: "InternalError", 503: "SlowDown", 403: "AccessDenied"}
MESSAGES = {
    401: "error authenticating request",
    410: "No data",
    429: "Too many attempts, try again later",
    500: "branch is currently locked, try again later",
    503: "Throughput exceeded. Slow down and retry",
}


@dataclass
class Fault:
    """Something that goes wrong with the requests that it meets."""

    status: int = 0
    """Answer this instead."""
    message: str = ""
    body: bytes | None = None
    """Of that answer; an error of the door's own kind without it."""
    headers: dict[str, str] = field(default_factory=dict)
    cut: bool = False
    """End the connection in the middle of the body."""
    pause_s: float = 0.0
    """Send the second half of the body so much later."""
    meanwhile: Callable[[], object] | None = None
    """Do this before it is answered: move a branch's head, say."""

    door: str = "rest|gateway|presigned"
    method: str = ".*"
    target: str = ".*"
    """Regular expression, anywhere in path and query, decoded."""
    first: int = 1
    times: int | None = None
    """How many of the requests that match, from the first on; None is all."""
    matched: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def meets(self, door: str, request: Request) -> bool:
        """Count a request; return whether the fault meets it."""
        if not re.fullmatch(self.door, door) or not re.fullmatch(self.method, request.method):
            return False
        if not re.search(self.target, unquote(request.target)):
            return False
        with self._lock:
            self.matched += 1
            number = self.matched - self.first
        return number >= 0 and (self.times is None or number < self.times)

    def answer(self, door: str, real: Callable[[], Answer]) -> Answer:
        """Return what is answered instead of the real answer."""
        if self.meanwhile is not None:
            self.meanwhile()
        if self.status:
            message = self.message or MESSAGES.get(self.status, "")
            answer = (
                error_answer(self.status, message)
                if door == "rest"
                else s3_error(S3_CODES.get(self.status, "InternalError"), message, self.status)
            )
            answer.headers |= self.headers
            answer.body = answer.body if self.body is None else self.body
            return answer
        answer = real()
        answer.cut, answer.pause_s = self.cut, self.pause_s
        return answer
