"""The server: three doors on two ports of 127.0.0.1, running while its context is open."""

import contextlib
import secrets
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

from lakefs_server.blockstore import Blockstore, MemoryBlockstore
from lakefs_server.faults import Fault
from lakefs_server.gateway import Gateway
from lakefs_server.messages import Answer, Request
from lakefs_server.presigned import Presigned
from lakefs_server.repository import Repository
from lakefs_server.rest import Rest
from lakefs_server.signing import is_signed
from lakefs_server.writes import Writes
from prefect_freight.config import Secret, StoreConfig

ACCESS_KEY_ID = "AKIAIOSFODNN7EXAMPLE"
BODILESS = {204, 304}


@dataclass(frozen=True)
class Seen:
    """A request that came, at which door, and what status it was answered with."""

    door: str
    request: Request
    status: int


class Lake:
    """A lakeFS server: `kind` is that of its blockstore, in memory if none is given."""

    def __init__(self, kind: str = "s3", blockstore: Blockstore | None = None) -> None:
        self.blockstore = blockstore or MemoryBlockstore(kind)
        self.access_key_id = ACCESS_KEY_ID
        self.secret_access_key = f"secret-{secrets.token_hex(16)}"
        self.repositories: dict[str, Repository] = {}
        self.faults: list[Fault] = []
        self.seen: list[Seen] = []
        self.presigned = Presigned(self.blockstore)
        keys = {self.access_key_id: self.secret_access_key}
        kind, writes = self.blockstore.kind, Writes(self.repositories, self.create_repository)
        rest = Rest(self.repositories, keys, kind, self.presigned.url, writes)
        gateway = Gateway(self.repositories, keys)
        self._front = _listener(lambda r: self._at("gateway" if is_signed(r) else "rest", r))
        self._back = _listener(lambda r: self._at("presigned", r))
        self._doors = {
            "rest": rest.answer,
            "gateway": gateway.answer,
            "presigned": self.presigned.answer,
        }

    def __enter__(self) -> Self:
        self.presigned.host = f"127.0.0.1:{self._back.server_port}"
        for one in (self._front, self._back):
            threading.Thread(target=one.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        for one in (self._front, self._back):
            one.shutdown()
            one.server_close()

    @property
    def endpoint_url(self) -> str:
        """Where clients find it, the gateway too."""
        return f"http://127.0.0.1:{self._front.server_port}"

    def config(self, **changes: Any) -> StoreConfig:
        """Return where it is, and who one is there."""
        secret = Secret(self.secret_access_key)
        config = StoreConfig(self.endpoint_url, self.access_key_id, secret)
        return replace(config, **changes)

    def create_repository(self, name: str) -> Repository:
        """Make an empty repository with a branch `main`."""
        self.repositories[name] = Repository(name, self.blockstore)
        return self.repositories[name]

    def break_with(self, *faults: Fault) -> None:
        """Have these go wrong from now on, in place of what went wrong up to now."""
        self.faults[:] = faults

    def count(self, door: str = "", target: str = "") -> int:
        """Return how many requests came to a door, with a text in path or query."""
        return sum(s.door.startswith(door) and target in s.request.target for s in self.seen)

    def _at(self, door: str, request: Request) -> Answer:
        answer = self._answer(door, request)
        self.seen.append(Seen(door, request, answer.status))
        return answer

    def _answer(self, door: str, request: Request) -> Answer:
        if request.path == "/_health":
            return Answer(200, {"Content-Type": "text/plain"}, b"alive!")
        for fault in self.faults:
            if fault.meets(door, request):
                return fault.answer(door, lambda: self._doors[door](request))
        return self._doors[door](request)


class _Listener(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, *_: Any) -> None:
        """Say nothing of clients that went away."""


def _listener(answer: Callable[[Request], Answer]) -> _Listener:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def _do(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            path, _, query = self.path.partition("?")
            headers = {name.lower(): value for name, value in self.headers.items()}
            self._send(
                answer(Request(self.command, path, query, headers, body, self.client_address[1]))
            )

        def _send(self, given: Answer) -> None:
            body = given.body
            if given.status not in BODILESS:
                given.headers["Content-Length"] = str(len(body))
            lines = [f"HTTP/1.1 {given.status} {self.responses.get(given.status, ('',))[0]}"]
            lines += (f"{name}: {value}" for name, value in given.headers.items())
            if self.command == "HEAD" or given.status in BODILESS:
                body = b""
            first = body[: len(body) // 2] if given.cut or given.pause_s else body
            head = ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")
            # One write: of two, the second would wait for the other end's acknowledgement.
            self.wfile.write(head + first)
            if given.cut:
                self.close_connection = True
                with contextlib.suppress(OSError):
                    self.connection.shutdown(socket.SHUT_RDWR)
                return
            if given.pause_s:
                time.sleep(given.pause_s)
                self.wfile.write(body[len(first) :])

        def __getattr__(self, name: str) -> Any:
            if not name.startswith("do_"):
                raise AttributeError(name)
            return self._do  # of any method

        def log_message(self, *_: object) -> None:
            pass

    return _Listener(("127.0.0.1", 0), Handler)
