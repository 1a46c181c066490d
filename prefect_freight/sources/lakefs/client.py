"""The few requests of lakeFS's REST interface that an export needs. All of them only read.

What is asked for of a commit wants its full id: a name could be another commit a moment later, and
a plain branch name shows what is not committed.
"""

import difflib
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Self
from urllib.parse import quote

import httpx
import pyarrow as pa

from prefect_freight.config import Secret, StoreConfig
from prefect_freight.errors import (
    AccessError,
    ConfigError,
    FreightError,
    InputError,
    IntegrityError,
    InternalError,
    NotARepositoryError,
    NotFoundError,
    RefNotFoundError,
)
from prefect_freight.retry import retrying
from prefect_freight.sources.lakefs.bodies import Body, Reader
from prefect_freight.sources.lakefs.columns import to_changes, to_objects
from prefect_freight.sources.lakefs.connection import Connection, translating
from prefect_freight.sources.lakefs.errors import of_answer
from prefect_freight.sources.lakefs.lakectl import API_PATH

ROWS_PER_PAGE = 1000
"""The most that the server gives."""
COMMIT_ID = re.compile(r"[0-9a-f]{64}")
REPOSITORY = re.compile(r"[a-z0-9][a-z0-9-]{2,62}")
MODIFIER = re.compile(r"[~^@$]")
SHOWN_NAMES = 20


@dataclass(frozen=True, slots=True)
class Commit:
    """What a ref was found to name."""

    id: str
    created_at: int
    """Seconds since 1970."""
    message: str


@dataclass(frozen=True, slots=True)
class Storage:
    """What lies below a server."""

    kind: str
    """`s3`, `gs`, `azure`, `local` or `mem`."""
    presigns: bool


@dataclass(frozen=True, slots=True)
class Presigned:
    """An address that anybody may read from until it expires."""

    url: Secret
    expires_at: int
    """Seconds since 1970; 0 is unknown."""


class LakeFSClient:
    """Reads one repository. Picklable; may be used from many threads at once.

    All but `read` retry what may be retried. Raises only errors of `prefect_freight.errors`.
    """

    def __init__(self, config: StoreConfig, repository: str) -> None:
        if not REPOSITORY.fullmatch(repository):
            raise NotARepositoryError(
                f"expected a repository's name of 3 to 63 of a-z, 0-9 and '-', found {repository!r}"
            )
        self._config, self.repository = config, repository
        self._connection = Connection(config)

    def __reduce__(self) -> tuple[object, ...]:
        return LakeFSClient, (self._config, self.repository)

    def __repr__(self) -> str:
        return f"LakeFSClient({self.endpoint!r}, {self.repository!r})"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def endpoint(self) -> str:
        """Where the server is."""
        return self._connection.endpoint

    def close(self) -> None:
        """Close all connections."""
        self._connection.close()

    def read_storage(self) -> Storage:
        """Return what lies below the server; raises `AccessError` without fs:ReadConfig."""
        settings = self._ask("/config", {}, "could not read the server's configuration")
        storage = self._taken(lambda: settings["storage_config"])
        kind = storage.get("blockstore_type", "") if isinstance(storage, dict) else ""
        return Storage(str(kind), bool(kind and storage.get("pre_sign_support")))

    def read_namespace(self) -> str:
        """Return where the repository's objects lie, such as `s3://bucket/prefix`.

        Raises `NotARepositoryError` if there is no such repository.
        """
        try:
            told = self._ask(self._path(), {}, f"could not open {self.repository!r}")
        except NotFoundError:
            raise NotARepositoryError(
                f"expected a lakeFS repository {self.repository!r} at {self.endpoint}, found none"
            ) from None
        return str(self._taken(lambda: told["storage_namespace"]))

    def resolve(self, ref: str) -> Commit:
        """Return the commit that a branch (its head), tag, id or expression names now.

        Raises `RefNotFoundError`, which lists near names, and `NotARepositoryError`.
        """
        if ref.endswith("$"):
            raise RefNotFoundError(
                f"expected a commit, found {ref!r}, which is what is staged on a branch. Commit it "
                "first: what is not committed is not exported"
            )
        # Dots alone would be steps through the path of the request.
        told = retrying(self._look_up(ref)) if ref.strip(".") else None
        if told is None:
            raise self._no_such_ref(ref)
        return self._taken(lambda: Commit(told["id"], told["creation_date"], told["message"]))

    def list_objects(
        self, commit: str, prefix: str = "", after: str = ""
    ) -> Iterator[pa.RecordBatch]:
        """Yield all objects of a commit below a prefix and behind a key, in the order of keys.

        In pages of `columns.OBJECTS`.
        """
        path = self._path("refs", _full(commit), "objects", "ls")
        for page in self._pages(path, {}, prefix, after, f"could not list commit {commit}"):
            yield self._taken(lambda: to_objects(page))  # noqa: B023

    def compare(
        self, before: str, commit: str, prefix: str = "", after: str = ""
    ) -> Iterator[pa.RecordBatch]:
        """Yield what a commit has otherwise than another, whatever their history.

        In the order of keys, in pages of `columns.CHANGES`. Another content type or other metadata
        is a change too; the same bytes at another address are none.
        """
        path = self._path("refs", _full(before), "diff", _full(commit))
        failure = f"could not compare commit {commit} with {before}"
        asked = {"type": "two_dot", "include_right_stats": "true"}
        for page in self._pages(path, asked, prefix, after, failure):
            yield self._taken(lambda: to_changes(page))  # noqa: B023

    def stat(self, commit: str, key: str) -> pa.RecordBatch:
        """Return one object as a page of one row (`columns.OBJECTS`)."""
        path = self._path("refs", _full(commit), "objects", "stat")
        failure = f"could not look at {key!r} of commit {commit}"
        told = self._ask(path, {"path": key}, failure)
        return self._taken(lambda: to_objects([told]))

    def presign(self, commit: str, key: str) -> Presigned:
        """Return an address of an object's bytes: for one read that follows at once.

        Raises `InputError` where the storage has none.
        """
        return retrying(lambda: self._presign(commit, key))

    def read(
        self,
        commit: str,
        key: str,
        offset: int = 0,
        size: int | None = None,
        *,
        presigned: bool = False,
    ) -> tuple[bytes, str]:
        """Return `size` bytes of an object from `offset` (to the end without), and its checksum.

        Through the server, or (`presigned`) from its storage, whose tag it then is. Retries
        nothing but a presigned address that has expired. Raises `NotFoundError` if the object or
        its data is gone, and `IntegrityError` if it ends before `offset + size`.
        """
        with self.open(commit, key, offset, size, presigned=presigned) as body:
            data, tag = b"".join(body.chunks), body.tag
        if size is not None and len(data) != size:
            raise IntegrityError(
                f"expected {size} bytes at {offset} of {key!r} in commit {commit} of "
                f"{self.repository!r}, found {len(data)}"
            )
        return data, tag

    def open(
        self,
        commit: str,
        key: str,
        offset: int = 0,
        size: int | None = None,
        *,
        presigned: bool = False,
    ) -> AbstractContextManager[Body]:
        """Give an object's bytes as they come, however many there are; see `read`."""
        failure = f"could not read {key!r} of commit {commit} of {self.repository!r}"
        path = f"{API_PATH}{self._path('refs', _full(commit), 'objects')}"
        presign = (lambda: self._presign(commit, key).url) if presigned else None
        return Reader(self._connection, path, key, failure, presign).open(offset, size)

    def _look_up(self, ref: str) -> Callable[[], Any]:
        """Return an attempt at a ref's commit, to be made again; it returns None of a wrong one."""
        failure = f"could not look {ref!r} up in {self.repository!r}"
        path, server_errors = self._path("commits", ref), 0

        def attempt() -> Any:
            nonlocal server_errors
            response = self._fetch(path, {}, failure)
            server_errors += response.status_code == 500
            # A modifier that cannot stand there is answered with 500, as a server in trouble does:
            # it is believed the second time.
            is_wrong = server_errors > 1 and MODIFIER.search(ref)
            return (
                None if response.status_code == 404 or is_wrong else self._parse(response, failure)
            )

        return attempt

    def _presign(self, commit: str, key: str) -> Presigned:
        path = self._path("refs", _full(commit), "objects", "stat")
        failure = f"could not have {key!r} of commit {commit} presigned"
        try:
            told = self._ask_once(path, {"path": key, "presign": "true"}, failure)
        except InputError as error:
            if isinstance(error, ConfigError):
                raise
            raise InputError(
                f"{failure}: {self.endpoint} has a storage without presigned addresses. Read "
                "another way"
            ) from None
        url = self._taken(lambda: Secret(told["physical_address"]))
        if not url.reveal().startswith(("http://", "https://")):
            raise InputError(f"{failure}: {self.endpoint} gave no address to read from")
        return Presigned(url, int(told.get("physical_address_expiry", 0)))

    def _no_such_ref(self, ref: str) -> FreightError:
        """Return the error of a ref that is none; or of a repository that is none."""
        self.read_namespace()
        names = [*self._names("branches"), *self._names("tags")]
        near = difflib.get_close_matches(ref, names, n=3, cutoff=0.5)
        hint = f"Did you mean {' or '.join(map(repr, near))}? " if near else ""
        shown = f"{', '.join(names[:SHOWN_NAMES])}{', …' if len(names) > SHOWN_NAMES else ''}"
        return RefNotFoundError(
            f"no branch, tag or commit {ref!r} in {self.repository!r} at {self.endpoint}. {hint}"
            f"It has: {shown}"
        )

    def _names(self, kind: str) -> list[str]:
        """Return the first names of branches or tags; none where we may not list them."""
        parameters, failure = {"amount": str(ROWS_PER_PAGE)}, f"could not list {kind}"
        try:
            page = self._ask(self._path(kind), parameters, failure)
        except AccessError:
            return []
        return self._taken(lambda: [str(one["id"]) for one in page["results"]])

    def _pages(
        self, path: str, parameters: Mapping[str, str], prefix: str, after: str, failure: str
    ) -> Iterator[Sequence[dict[str, Any]]]:
        """Yield the results of a list page by page, up to its end; none of an empty one."""
        more = True
        while more:
            asked = {"prefix": prefix, "after": after, "amount": str(ROWS_PER_PAGE), **parameters}
            page = self._ask(path, asked, failure)
            # An answer that does not say whether it is the end is none: a part would pass for all.
            results, more = self._taken(
                lambda: (page["results"], bool(page["pagination"]["has_more"]))  # noqa: B023
            )
            keys = self._taken(lambda: [after, *(one["path"] for one in results)])  # noqa: B023
            # Manifests rely on the order, and a page that came again would be asked for for ever.
            if any(key <= before for before, key in pairwise(keys)) or (more and not results):
                raise IntegrityError(
                    f"{failure}: expected keys in order behind {after!r} from {self.endpoint}, "
                    "found others"
                )
            after = keys[-1]
            if results:
                yield results

    def _path(self, *parts: str) -> str:
        encoded = (quote(part, safe="") for part in (self.repository, *parts))
        return "/".join(("/repositories", *encoded))

    def _ask(self, path: str, parameters: Mapping[str, str], failure: str) -> Any:
        return retrying(lambda: self._ask_once(path, parameters, failure))

    def _ask_once(self, path: str, parameters: Mapping[str, str], failure: str) -> Any:
        return self._parse(self._fetch(path, parameters, failure), failure)

    def _fetch(self, path: str, parameters: Mapping[str, str], failure: str) -> httpx.Response:
        where = f"{API_PATH}{path}"
        with self._connection.get(where, parameters, {}, failure) as response:
            translating(response.read, failure, self.endpoint)
            return response

    def _parse(self, response: httpx.Response, failure: str) -> Any:
        if response.status_code != 200:
            raise of_answer(response, failure, self.endpoint)
        # lakeFS answers for its user interface under any path that it doesn't know.
        return self._taken(response.json)

    def _taken[T](self, take: Callable[[], T]) -> T:
        """Return a part of an answer; what has no such part is none of lakeFS's."""
        try:
            return take()
        except (LookupError, TypeError, AttributeError, ValueError):
            pass
        raise ConfigError(
            f"expected the REST interface of lakeFS at {self.endpoint}, found something else. "
            "Check endpoint_url"
        )


def _full(commit: str) -> str:
    if not COMMIT_ID.fullmatch(commit):
        raise InternalError(f"expected the full id of a commit, found {commit!r}")
    return commit
