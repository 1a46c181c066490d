"""S3 and what speaks its protocol, by obstore's synchronous calls.

obstore retries nothing here, and of these operations only `list` does: whoever calls them tries
again, by `prefect_freight.retry` or a patience.
"""

import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from prefect_freight.config import StoreConfig
from prefect_freight.errors import (
    ConfigError,
    FreightError,
    InputError,
    IntegrityError,
    NotFoundError,
)
from prefect_freight.retry import retrying
from prefect_freight.stores import Attributes
from prefect_freight.stores.pages import ROWS_PER_PAGE, to_page
from prefect_freight.stores.s3.body import SMALL_BYTES, read_body
from prefect_freight.stores.s3.cause import read_cause
from prefect_freight.stores.s3.client import IDLE_S, Timeouts, open_obstore
from prefect_freight.stores.s3.errors import CONFLICT_CODES, no_s3_service, translate_error

if TYPE_CHECKING:
    import obstore.store

KEYS_PER_DELETE = 10_000
KEYS_PER_ANSWER = 1_000
MAX_KEY_BYTES = 1024  # of S3
SINGLE_PUT_BYTES = 64 * 2**20
PART_BYTES = 32 * 2**20  # of at most 10,000 parts
LARGE_PUT_BYTES = 2**20
"""A smaller body has to arrive within the time that a request may be idle."""
ENDPOINTS = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT")
"""Where the environment names the service, for want of a configuration."""
NO_TAG = '"00000000000000000000000000000000"'
"""A tag that no object has, in the form that they have."""
LAST_CHARACTER = "\U0010fffd"
"""Behind every key below a folder."""
UNSUPPORTED_KEY = re.compile(r"(^|/)(\.{0,2})(/|$)|[\x00-\x1f\x7f]")
"""Empty, `.` and `..` segments and control characters: obstore refuses them, or drops a `/`."""

CONTENT_TYPE = "Content-Type"
OWN_HEADERS = {
    *("content-type", "content-disposition", "content-encoding", "content-language"),
    *("cache-control", "storage-class"),
}
"""What obstore takes for something else than the user's metadata."""
HEADER_NAME, HEADER_VALUE = re.compile(r"[-_.!#$%&'*+^`|~\w]+", re.ASCII), re.compile(r"[ -~]*")
MAX_METADATA_BYTES = 2048  # of S3


class S3Store:
    """Objects of a bucket under a prefix.

    A request has failed without an answer for `idle_s`, and if it takes longer than the `Timeouts`
    made of that; see `read_body` for those whose answer may be large.
    """

    def __init__(
        self,
        bucket: str,
        prefix: str,
        config: StoreConfig,
        idle_s: int = IDLE_S,
        checksum: str | None = None,
    ) -> None:
        if prefix and UNSUPPORTED_KEY.search(prefix):
            raise ConfigError(f"expected s3://bucket/folder/folder, found {prefix!r} for folders")
        self._bucket, self._prefix, self._config, self._idle_s = bucket, prefix, config, idle_s
        self._checksum = checksum
        self._replaces: bool | None = None  # the service honours `If-Match`; None is not known yet
        self._opened: dict[Timeouts, obstore.store.S3Store] = {}

    def __repr__(self) -> str:
        return f"S3Store({self.url!r})"

    def __reduce__(self) -> tuple[object, ...]:
        made_of = (self._bucket, self._prefix, self._config, self._idle_s, self._checksum)
        return S3Store, made_of

    def with_checksums(self) -> "S3Store":
        """Return the same store, which sends a SHA-256 with every put for the server to check."""
        return S3Store(self._bucket, self._prefix, self._config, self._idle_s, "SHA256")

    @property
    def url(self) -> str:
        """`s3://bucket/prefix`."""
        return f"s3://{self._bucket}/{self._prefix}".rstrip("/")

    @property
    def endpoint(self) -> str:
        """Address of the service; `""` is AWS."""
        given = self._config.endpoint_url or next(filter(None, map(os.environ.get, ENDPOINTS)), "")
        return given.rpartition("@")[2]

    def parent(self) -> "S3Store | None":
        """Return the folder above, or the bucket."""
        above = self._prefix.rpartition("/")[0]
        return S3Store(self._bucket, above, self._config, self._idle_s) if self._prefix else None

    def read(self, key: str, offset: int = 0, length: int | None = None) -> bytes:
        """Get an object, or a range of it, in one request."""
        import obstore

        path = self._path(key)
        if length == 0:
            # HTTP has no range of no bytes; the request still tells whether the object exists.
            self._call("read", key, lambda: obstore.head(self._client(), path))
            return b""

        def get() -> bytes:
            if length is not None and length <= SMALL_BYTES:
                return bytes(obstore.get_range(self._client(), path, start=offset, length=length))
            range_ = {"offset": offset} if length is None else (offset, offset + length)
            options = {"range": range_} if offset or length is not None else None
            answer = obstore.get(self._body_client(length or 0), path, options=options)  # type: ignore[arg-type]
            self._refuse_page(key, answer.meta["e_tag"], answer.attributes)
            return read_body(answer, self._idle_s, self._failure("read", key))

        try:
            data = self._call("read", key, get)
        except IntegrityError:
            if length is None:
                return b""  # `offset` is at the object's end
            raise
        if length is not None and len(data) != length:
            raise IntegrityError(
                f"expected {length} bytes from {offset} of {key!r} in {self.url}, found {len(data)}"
            )
        return data

    def read_tagged(self, key: str) -> tuple[bytes, str | None]:
        """Get an object and the entity tag of the same answer."""
        import obstore

        path, client = self._path(key), self._body_client()

        def get() -> tuple[bytes, str | None]:
            answer = obstore.get(client, path)
            data = read_body(answer, self._idle_s, self._failure("read", key))
            return data, answer.meta["e_tag"]

        return self._call("read", key, get)

    def write(self, key: str, data: bytes, attributes: Attributes | None = None) -> None:
        """Put an object: in one request, or in parts if it is large."""
        import obstore

        path, client = self._path(key), self._client(len(data))
        parts = len(data) > SINGLE_PUT_BYTES
        self._call(
            "write",
            key,
            lambda: obstore.put(
                client,
                path,
                data,
                attributes=dict(attributes) if attributes else None,
                use_multipart=parts,
                chunk_size=PART_BYTES,
                max_concurrency=4,
            ),
        )

    def can_keep(self, attributes: Attributes) -> bool:
        """Say whether S3 keeps these: they travel as headers, of at most 2 KB."""
        named = {key.lower(): value for key, value in attributes.items() if key != CONTENT_TYPE}
        return (
            len(named) == len(attributes) - (CONTENT_TYPE in attributes)
            and not named.keys() & OWN_HEADERS
            and all(HEADER_NAME.fullmatch(name) for name in named)
            and all(HEADER_VALUE.fullmatch(value) for value in attributes.values())
            and sum(len(name) + len(value) for name, value in named.items()) <= MAX_METADATA_BYTES
        )

    def write_new(self, key: str, data: bytes) -> bool:
        """Put an object unless there is one (`If-None-Match: *`).

        A service without conditional puts is asked for the object first: then two callers at once
        may both find none.
        """
        import obstore
        from obstore.exceptions import AlreadyExistsError

        path, client = self._path(key), self._client(len(data))

        def create() -> bool | None:
            try:
                obstore.put(client, path, data, mode="create")
            except AlreadyExistsError as error:
                # S3 answers 409 while another put of the key is under way, which may still fail:
                # a False here could leave the key without any object, so it is asked again.
                if read_cause(error).code in CONFLICT_CODES:
                    raise
                return False
            except Exception as error:
                if read_cause(error).status != 501:
                    raise
                return None
            return True

        was_put = self._call("write", key, create)
        return self._write_if_missing(key, data) if was_put is None else was_put

    def replace(self, key: str, data: bytes, tag: str | None) -> bool:
        """Put an object in place of the one with this tag (`If-Match`).

        A service without conditional replaces is asked for the tag first: then two callers at once
        may both put theirs. Which it is shows at the first call: some services answer that they
        have none, and some ignore the condition.
        """
        if tag is None:
            return False
        if self._replaces is None:
            # Looked at first, since to a service that ignores conditions the next request is a put.
            if self._tag(key) != tag:
                return False
            replaced = self._put_over(key, data, NO_TAG)
            self._replaces = replaced is False
            if replaced:
                return True
        if self._replaces and (replaced := self._put_over(key, data, tag)) is not None:
            return replaced
        if self._tag(key) != tag:
            return False
        self.write(key, data)
        return True

    def _put_over(self, key: str, data: bytes, tag: str | None) -> bool | None:
        """Put an object over the one with this tag; None where the service has no such thing."""
        import obstore
        from obstore.exceptions import PreconditionError

        path, client = self._path(key), self._client(len(data))

        def put() -> bool | None:
            try:
                obstore.put(client, path, data, mode={"e_tag": tag})
            except PreconditionError as error:
                if read_cause(error).code in CONFLICT_CODES:
                    raise  # another put is under way, which may fail
                return False
            except Exception as error:
                if read_cause(error).status != 501:
                    raise
                return None
            return True

        try:
            return self._call("write", key, put)
        except NotFoundError:
            return False

    def _tag(self, key: str) -> str | None:
        try:
            return self.read_tagged(key)[1]
        except NotFoundError:
            return None

    def delete(self, keys: Iterable[str]) -> None:
        """Delete objects, up to 1,000 in a request."""
        import obstore

        paths = [self._path(key) for key in keys]
        for first in range(0, len(paths), KEYS_PER_DELETE):
            batch = paths[first : first + KEYS_PER_DELETE]
            try:
                self._call("delete", batch[0], lambda: obstore.delete(self._client(), batch))  # noqa: B023
            except NotFoundError:
                continue

    def list(self, prefix: str = "", *, without: str = "") -> Iterator[pa.RecordBatch]:
        """Yield the objects below a prefix, in the server's order.

        A listing that breaks goes on where it broke, which its caller could not do: among a million
        keys, one that began anew after each fault might never end.
        """
        for page in self._list(prefix, without):
            if not without:
                yield page
                continue
            yield page.filter(pc.invert(pc.starts_with(page["key"], without)))

    def _list(self, prefix: str, without: str) -> Iterator[pa.RecordBatch]:
        import obstore
        from obstore.exceptions import InvalidPathError

        client, last = self._client(), None
        stream: Any = None

        def next_page() -> Any:
            nonlocal stream
            if stream is None:  # the first time, or after an error: behind the last key seen
                # Of an answer's size, so that no more is asked for of what is left out.
                rows = KEYS_PER_ANSWER if without else ROWS_PER_PAGE
                stream = obstore.list(
                    client, prefix.rstrip("/") or None, offset=last, chunk_size=rows
                )
            try:
                return next(stream, None)
            except InvalidPathError:  # somebody's key that obstore cannot express
                return self._list_any_keys(prefix, last)
            except Exception:
                stream = None  # one that has failed cannot be asked for its next page
                raise

        while page := retrying(lambda: self._call("list", prefix, next_page)):
            if isinstance(page, Iterator):
                yield from page
                return
            last = page[-1]["path"]
            if without and last.startswith(without):
                # What comes next is behind all of these keys, and they need not be listed.
                stream, last = None, f"{without}{LAST_CHARACTER}"
            yield to_page((item["path"], item["size"], item["e_tag"]) for item in page)

    def _list_any_keys(self, prefix: str, after: str | None) -> Iterator[pa.RecordBatch]:
        from prefect_freight.stores.s3.listing import list_pages

        root = f"{self._prefix}/" if self._prefix else ""
        pages = list_pages(
            self._config,
            self._bucket,
            prefix=root + prefix,
            after=root + after if after else "",
        )
        while page := retrying(lambda: self._call("list", prefix, lambda: next(pages, None))):
            yield to_page(
                (item["Key"].removeprefix(root), item["Size"], item["ETag"]) for item in page
            )

    def _write_if_missing(self, key: str, data: bytes) -> bool:
        try:
            self.read(key, 0, 0)
        except NotFoundError:
            self.write(key, data)
            return True
        return False

    def _path(self, key: str) -> str:
        if UNSUPPORTED_KEY.search(key):
            raise InputError(
                f"expected a key without empty, '.' or '..' segments and control characters, "
                f"found {key!r} for {self.url}"
            )
        size = len(f"{self._prefix}/{key}".lstrip("/").encode())
        if size > MAX_KEY_BYTES:
            raise InputError(
                f"expected a key of up to {MAX_KEY_BYTES} bytes with its prefix, found {size} in "
                f"{key!r} for {self.url}. Use a shorter prefix"
            )
        return key

    def _client(self, put_bytes: int = 0) -> "obstore.store.S3Store":
        large = put_bytes > LARGE_PUT_BYTES
        return self._open(Timeouts.of_large_put() if large else Timeouts.of_small(self._idle_s))

    def _body_client(self, size: int = 0) -> "obstore.store.S3Store":
        return self._open(Timeouts.of_body(self._idle_s, size))

    def _open(self, timeouts: Timeouts) -> "obstore.store.S3Store":
        # Those of a client are fixed when it is made, so there is one of each kind. Two threads
        # may both make it: one of the two is dropped, and nothing else comes of it.
        if timeouts not in self._opened:
            self._opened[timeouts] = open_obstore(
                self._bucket, self._prefix, self._config, timeouts, self._checksum
            )
        return self._opened[timeouts]

    def _refuse_page(self, key: str, tag: str | None, attributes: Mapping[str, str]) -> None:
        """Refuse what a web server answers to any request: S3 gives each object a tag."""
        if tag is None and attributes.get("Content-Type", "").startswith("text/html"):
            failure = self._failure("read", key)
            raise no_s3_service(failure, self._answering, "answers with a web page")

    @property
    def _answering(self) -> str:
        return self._config.endpoint_url or "S3"

    def _call[T](self, verb: str, key: str, call: Callable[[], T]) -> T:
        try:
            return call()
        except FreightError:
            raise
        except Exception as error:  # noqa: BLE001 - translated
            failure = self._failure(verb, key)
            translated = translate_error(error, failure, self._bucket, self._answering)
        # Raised out here, so that the library's error, which may quote a secret, isn't its context.
        raise translated

    def _failure(self, verb: str, key: str) -> str:
        return f"could not {verb} {key!r} in {self.url}"
