"""A reverse proxy on 127.0.0.1 that breaks what it is told to break between a client and S3.

The client signs the proxy's own address as the host; the proxy passes it on unchanged, so the
server, which checks the signature against that, is none the wiser.
"""

import asyncio
import contextlib
import enum
import random
import re
import socket
import struct
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Self
from urllib.parse import unquote, urlsplit
from xml.sax.saxutils import escape

LATENCY_S = 0.02
SLOW_BODY_S = 0.3
DRIP_EVERY_S = 0.2
HEAD_LIMIT = 2**20


class Fault(enum.Enum):
    """What becomes of a request."""

    SLOW_DOWN = "503 SlowDown"
    SERVER_ERROR = "500 InternalError"
    EXPIRED = "403 ExpiredToken"
    DENIED = "403 AccessDenied"
    RESET_BEFORE = "the connection is reset, and the server never hears of it"
    RESET_AFTER = "the server does it, and the connection is reset before it can say so"
    TRUNCATED = "the answer's body ends half-way"
    SLOW_BODY = "the answer's body comes in two halves"
    DRIP = "the answer's body comes byte by byte"
    LATENCY = "the request waits a little"
    ECHO = "403 with all of the request in its message"
    HANG = "the request never arrives"
    HANG_AFTER = "the server does it, and its answer never arrives"


ANSWERS = {
    Fault.SLOW_DOWN: (503, "SlowDown"),
    Fault.SERVER_ERROR: (500, "InternalError"),
    Fault.EXPIRED: (403, "ExpiredToken"),
    Fault.DENIED: (403, "AccessDenied"),
}


@dataclass
class Rule:
    """Which requests a fault meets."""

    fault: Fault
    method: str = ".*"
    """Regular expression, of all of it."""
    key: str = ".*"
    """Regular expression, of the key without the bucket, anywhere in it."""
    first: int = 1
    """The first of the requests that match."""
    times: int | None = None
    """How many from there on; None is all."""
    probability: float = 1.0
    matched: int = 0
    hit: threading.Event = field(default_factory=threading.Event)
    """Set when the fault has met a request."""

    def meets(self, method: str, key: str, rng: random.Random) -> bool:
        """Count a request; return whether the fault meets it."""
        if not re.fullmatch(self.method, method) or not re.search(self.key, key):
            return False
        self.matched += 1
        number = self.matched - self.first
        if number < 0 or (self.times is not None and number >= self.times):
            return False
        if rng.random() >= self.probability:
            return False
        self.hit.set()
        return True


@dataclass(frozen=True)
class _Message:
    head: bytes
    body: bytes
    closes: bool = False

    @property
    def first_line(self) -> list[str]:
        return self.head.split(b"\r\n", 1)[0].decode("latin-1").split(" ")


class FaultProxy:
    """A proxy before a server, running in a thread of its own while the context is open."""

    def __init__(self, upstream: str, rules: Sequence[Rule] = (), seed: int = 0) -> None:
        parts = urlsplit(upstream)
        self._upstream = (parts.hostname, parts.port)
        self.rules = list(rules)
        self._rng = random.Random(seed)
        self.requests: Counter[tuple[str, str]] = Counter()
        """By method and key: all that clients sent."""
        self.arrived: Counter[tuple[str, str]] = Counter()
        """By method and key: those that the server did."""
        self.faults: Counter[Fault] = Counter()
        self.met: Counter[tuple[str, str]] = Counter()
        """By method and key: those that met a fault."""
        self._loop = asyncio.new_event_loop()
        self._started = threading.Event()
        self._thread = threading.Thread(target=self._run, name="fault-proxy", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        self._started.wait()
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()

    @property
    def endpoint_url(self) -> str:
        """Where clients find it."""
        return f"http://127.0.0.1:{self._port}"

    def puts(self, key: str = ".*") -> int:
        """Return how many objects the server was given whose key matches."""
        arrived = self.arrived.copy()  # which the proxy's thread goes on counting in
        return sum(n for (method, k), n in arrived.items() if method == "PUT" and re.search(key, k))

    def forget(self) -> None:
        """Start counting anew, without faults."""
        self.rules = []
        for counter in (self.requests, self.arrived, self.faults, self.met):
            counter.clear()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_until_complete(self._serve())
        self._loop.close()

    async def _serve(self) -> None:
        self._stop = asyncio.Event()
        server = await asyncio.start_server(self._client, "127.0.0.1", 0, limit=HEAD_LIMIT)
        self._port = server.sockets[0].getsockname()[1]
        self._started.set()
        await self._stop.wait()
        server.close()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    async def _client(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = _Upstream(*self._upstream)
        try:
            while (request := await _read(reader)) is not None:
                if not await self._answer(request, reader, writer, connection):
                    break
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            connection.close()
            writer.close()

    async def _answer(
        self,
        request: _Message,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        upstream: "_Upstream",
    ) -> bool:
        """Answer a request; return whether the connection lives on."""
        method, target = request.first_line[:2]
        key = unquote(urlsplit(target).path).lstrip("/").partition("/")[2]
        self.requests[method, key] += 1
        fault = self._choose(method, key)
        match fault:
            case Fault.RESET_BEFORE:
                return _reset(writer)
            case Fault.HANG:
                await reader.read(1)  # until the client goes away
                return False
            case Fault.LATENCY:
                await asyncio.sleep(LATENCY_S)
            case _ if fault in ANSWERS:
                status, code = ANSWERS[fault]
                writer.write(_error(status, code, method))
                await writer.drain()
                return True
            case Fault.ECHO:
                said = escape(request.head.decode("latin-1"))
                writer.write(_error(403, "SignatureDoesNotMatch", method, said))
                await writer.drain()
                return True
        answer = await upstream.ask(request, method)
        self.arrived[method, key] += 1
        match fault:
            case Fault.RESET_AFTER:
                return _reset(writer)
            case Fault.HANG_AFTER:
                await reader.read(1)
                return False
            case Fault.TRUNCATED if answer.body:
                writer.write(answer.head + answer.body[: len(answer.body) // 2])
                await writer.drain()
                return _reset(writer)
            case Fault.SLOW_BODY | Fault.DRIP:
                await _send_slowly(writer, answer, fault)
            case _:
                writer.write(answer.head + answer.body)
        await writer.drain()
        return not answer.closes

    def _choose(self, method: str, key: str) -> Fault | None:
        for rule in self.rules:
            if rule.meets(method, key, self._rng):
                self.faults[rule.fault] += 1
                self.met[method, key] += 1
                return rule.fault
        return None


class _Upstream:
    """A connection to the server, opened when it is needed and again when it was closed."""

    def __init__(self, host: str, port: int) -> None:
        self._address = host, port
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def ask(self, request: _Message, method: str) -> _Message:
        used = self._streams is not None
        try:
            return await self._ask(request, method)
        except (ConnectionError, asyncio.IncompleteReadError):
            self.close()
            if not used:
                raise
        return await self._ask(request, method)  # it had been idle for too long

    def close(self) -> None:
        if self._streams:
            self._streams[1].close()
        self._streams = None

    async def _ask(self, request: _Message, method: str) -> _Message:
        if self._streams is None:
            self._streams = await asyncio.open_connection(*self._address, limit=HEAD_LIMIT)
        reader, writer = self._streams
        writer.write(request.head + request.body)
        await writer.drain()
        while True:
            answer = await _read(reader, to_method=method)
            if answer is None:
                raise ConnectionResetError
            if answer.first_line[1] != "100":
                break
        if answer.closes:
            self.close()
        return answer


async def _read(reader: asyncio.StreamReader, to_method: str | None = None) -> _Message | None:
    """Read a request, or the answer to one of a method, whole; None at the end."""
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError as error:
        if error.partial:
            raise
        return None
    lowered = head.lower()
    closes = b"connection: close" in lowered
    status = head.split(b" ", 2)[1] if to_method is not None else b""
    length = re.search(rb"\r\ncontent-length: *(\d+)", lowered)
    if to_method == "HEAD" or status in (b"204", b"304") or status.startswith(b"1"):
        return _Message(head, b"", closes)
    if b"\r\ntransfer-encoding: chunked" in lowered:
        return _Message(head, await _read_chunked(reader), closes)
    return _Message(head, await reader.readexactly(int(length[1])) if length else b"", closes)


async def _read_chunked(reader: asyncio.StreamReader) -> bytes:
    parts = []
    while True:
        line = await reader.readuntil(b"\r\n")
        size = int(line.split(b";")[0], 16)
        parts += [line, await reader.readexactly(size + 2)]
        if not size:
            return b"".join(parts)


async def _send_slowly(writer: asyncio.StreamWriter, answer: _Message, fault: Fault) -> None:
    drips = fault is Fault.DRIP
    size, pause_s = (1, DRIP_EVERY_S) if drips else (len(answer.body) // 2 + 1, SLOW_BODY_S)
    writer.write(answer.head)
    for first in range(0, len(answer.body), size):
        writer.write(answer.body[first : first + size])
        await writer.drain()  # which raises once the client has gone
        await asyncio.sleep(pause_s)


def _reset(writer: asyncio.StreamWriter) -> bool:
    """Close a connection so that the other end sees a reset."""
    with contextlib.suppress(OSError):
        sock: Any = writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
    return False


def _error(status: int, code: str, method: str, said: str = "fault") -> bytes:
    body = f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>{said}</Message></Error>"
    head = (
        f"HTTP/1.1 {status} Fault\r\nContent-Type: application/xml\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    return (head + ("" if method == "HEAD" else body)).encode()


@contextlib.contextmanager
def proxied(upstream: str, *rules: Rule, seed: int = 0) -> Iterator[FaultProxy]:
    """Run a proxy with some rules."""
    with FaultProxy(upstream, rules, seed) as proxy:
        yield proxy
