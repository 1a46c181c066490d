"""An object's bytes as they come: through the server, or from an address that it presigned."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from urllib.parse import urlsplit

import httpx

from prefect_freight.config import Secret
from prefect_freight.errors import AccessError, NotFoundError
from prefect_freight.sources.lakefs.connection import Connection, translating
from prefect_freight.sources.lakefs.errors import of_answer

EXPIRED = {400, 403}
"""S3's for an address whose time is over, and for one whose signer's is."""
AS_IT_IS = {"Accept-Encoding": "identity"}


@dataclass(frozen=True, slots=True)
class Body:
    """Bytes under way."""

    tag: str
    """The object's checksum as lakeFS knows it; of a presigned read, the storage's own."""
    chunks: Iterator[bytes]
    """To be taken while the context is open."""


@dataclass(frozen=True, slots=True)
class Reader:
    """Opens one object, any part of it."""

    connection: Connection
    path: str
    key: str
    failure: str
    """What to say if it cannot be read."""
    presign: Callable[[], Secret] | None = None
    """Gives a new address; None is to read through the server."""

    @contextmanager
    def open(self, offset: int, size: int | None) -> Iterator[Body]:
        """Give `size` bytes from `offset`, or what there is of them."""
        headers = AS_IT_IS | _range(offset, size)
        presign = self.presign
        way = self._presigned(headers, presign) if presign else self._through_server(headers)
        with way as (response, endpoint):
            tag = response.headers.get("etag", "").strip('"')
            chunks = _guarded(response, self.failure, endpoint)
            # Of a whole answer to a question for a part, the part is taken.
            first = offset if response.status_code == 200 else 0
            yield Body(tag, _window(chunks, first, size))

    @contextmanager
    def _through_server(self, headers: dict[str, str]) -> Iterator[tuple[httpx.Response, str]]:
        connection = self.connection
        parameters = {"path": self.key}
        with connection.get(self.path, parameters, headers, self.failure) as response:
            self._check(response, connection.endpoint)
            yield response, connection.endpoint

    @contextmanager
    def _presigned(
        self, headers: dict[str, str], presign: Callable[[], Secret]
    ) -> Iterator[tuple[httpx.Response, str]]:
        for is_last in (False, True):
            url = presign().reveal()
            host = urlsplit(url).netloc.rpartition("@")[2]
            with self.connection.get_presigned(url, headers, self.failure) as response:
                if response.status_code in EXPIRED and not is_last:
                    continue
                self._check_presigned(response, host)
                yield response, host
                return

    def _check(self, response: httpx.Response, endpoint: str) -> None:
        if response.status_code not in (200, 206):
            translating(response.read, self.failure, endpoint)
            raise of_answer(response, self.failure, endpoint)

    def _check_presigned(self, response: httpx.Response, host: str) -> None:
        if response.status_code in EXPIRED:
            raise AccessError(
                f"{self.failure}: its storage, {host}, refused two addresses that lakeFS had "
                "presigned. Check its clock, and what it may do with the bucket"
            )
        if response.status_code == 404:
            raise NotFoundError(f"{self.failure}: lakeFS knows it, but its data is gone at {host}")
        self._check(response, host)


def _range(offset: int, size: int | None) -> dict[str, str]:
    # Any range of an empty object is refused, so of nothing none is asked for.
    if size == 0 or (offset == 0 and size is None):
        return {}
    last = "" if size is None else str(offset + size - 1)
    return {"Range": f"bytes={offset}-{last}"}


def _guarded(response: httpx.Response, failure: str, endpoint: str) -> Iterator[bytes]:
    raw = response.iter_raw()
    while (chunk := translating(lambda: next(raw, None), failure, endpoint)) is not None:
        yield chunk


def _window(chunks: Iterator[bytes], first: int, size: int | None) -> Iterator[bytes]:
    """Yield what lies in a window of a stream, and take no more of it than that.

    >>> list(_window(iter([b"abc", b"def", b"ghi"]), 2, 3))
    [b'c', b'de']
    """
    end = None if size is None else first + size
    at = 0
    while end is None or at < end:
        chunk = next(chunks, None)
        if chunk is None:
            return
        part = chunk[max(0, first - at) : None if end is None else end - at]
        at += len(chunk)
        if part:
            yield part
