"""A lakeFS repository, or what lies below a prefix of it, as objects."""

import hashlib
import json
import re
from collections.abc import Iterator
from functools import lru_cache
from typing import Self

import pyarrow as pa
import pyarrow.compute as pc

from prefect_freight.config import StoreConfig
from prefect_freight.errors import AccessError, IntegrityError, NotARepositoryError
from prefect_freight.model import Snapshot
from prefect_freight.plan.entries import md5
from prefect_freight.sources import OBJECT_SCHEMA
from prefect_freight.sources.lakefs.addresses import SCHEME, Location, to_locations
from prefect_freight.sources.lakefs.client import LakeFSClient
from prefect_freight.sources.lakefs.lakectl import find_lakefs
from prefect_freight.sources.lakefs.ways import TEXT, Way, Ways, parse_way

SUCCESS_LAST = (r"(.*/|^)_SUCCESS$",)
"""The rounds that lakeFS's own exporter has: what Spark puts when a job has ended comes last."""
MD5 = re.compile(r"[0-9a-f]{32}")


class LakeFSObjects:
    """The objects of a commit, by their keys below the prefix.

    An object's identity is its checksum, size, content type and metadata: not where its bytes lie,
    but of a checksum that is no MD5, which may be another object's too.
    """

    def __init__(
        self,
        repository: str,
        prefix: str = "",
        config: StoreConfig | None = None,
        read_through: Way | None = None,
    ) -> None:
        self._config, self._wanted = config or StoreConfig(), read_through
        named = self._config.read_through
        wanted = read_through or (parse_way(named) if named else None)
        server = find_lakefs(self._config)
        self._repository, self._prefix = repository, prefix.strip("/")
        self._client = LakeFSClient(server, repository)
        self._ways = Ways(self._client, server, self._config.storage, wanted)

    def __reduce__(self) -> tuple[object, ...]:
        # As it was given: whoever reads elsewhere may have keys of its own there.
        return LakeFSObjects, (self._repository, self._prefix, self._config, self._wanted)

    def __repr__(self) -> str:
        return f"LakeFSObjects({self.url!r})"

    @classmethod
    def of_url(cls, url: str, config: StoreConfig | None = None) -> Self:
        """Return the source at `lakefs://repository[/prefix]`."""
        repository, _, prefix = url.removeprefix(SCHEME).partition("/")
        return cls(repository, prefix, config)

    def reading_through(self, way: str) -> Self:
        """Return the same source, read another way."""
        return type(self)(self._repository, self._prefix, self._config, parse_way(way))

    @property
    def url(self) -> str:
        """Canonical URL."""
        return f"{SCHEME}{self._repository}/{self._prefix}".rstrip("/")

    @property
    def storage_url(self) -> str:
        """The same; `namespace` tells where the bytes lie."""
        return self.url

    @property
    def rounds(self) -> tuple[str, ...]:
        """The order in which objects move, unless the user wants another."""
        return SUCCESS_LAST

    def namespace(self) -> str:
        """Return where the repository's objects lie; "" where we may not know it."""
        try:
            return self._client.read_namespace()
        except AccessError:
            return ""

    def resolve(self, ref: str) -> Snapshot:
        """Return the commit that a ref names now; what is not committed is never in it.

        Raises `RefNotFoundError`, and `NotARepositoryError` if nothing lies below the prefix.
        """
        commit = self._client.resolve(ref).id
        if self._prefix and next(self._client.list_objects(commit, self._below), None) is None:
            first = self._prefix.partition("/")[0]
            raise NotARepositoryError(
                f"expected objects below {self._prefix!r} in {ref!r} (commit {commit}) of "
                f"{self._repository!r}, found none. If {first!r} is a branch or tag: a source is "
                f"lakefs://repository/prefix, and --ref {first} names the branch"
            )
        return Snapshot(self.url, ref, commit)

    def list_objects(self, snapshot: Snapshot) -> Iterator[pa.RecordBatch]:
        """Yield all objects in the order of their keys, as pages of `OBJECT_SCHEMA`."""
        for page in self._client.list_objects(snapshot.id, self._below):
            # The object that some clients put where a folder begins, `prefix/`.
            page = page.filter(pc.not_equal(page["key"], self._below)) if self._prefix else page
            if page.num_rows:
                objects = self._to_objects(snapshot.id, page)
                self._choose(objects)
                yield objects

    def has(self, snapshot: Snapshot, key: str) -> bool:
        """Say whether a commit has an object."""
        pages = self._client.list_objects(snapshot.id, self._below + key)
        return any(page["key"][0].as_py() == self._below + key for page in pages)

    def read(self, location: str, offset: int, size: int, content: str = "") -> bytes:
        """Return bytes of an object of a commit.

        Raises `NotFoundError` if they are lost, and `IntegrityError` if they are not as many as
        the commit says, or have not its checksum.
        """
        place = Location.parse(location)
        data = self._ways.read(place, offset, size)
        checksum = content.partition(":")[0]
        is_all = bool(content) and offset == 0 and content.split(":")[1] == str(size)
        if not is_all or not MD5.fullmatch(checksum) or md5(data).hex() == checksum:
            return data
        return self._second(place, data, checksum)

    def notes(self) -> tuple[str, ...]:
        """Return which way objects are read."""
        way = self._ways.chosen
        return (f"objects are read {TEXT[way]} (--read-through {way})",) if way else ()

    @property
    def _below(self) -> str:
        return f"{self._prefix}/" if self._prefix else ""

    def _choose(self, objects: pa.RecordBatch) -> None:
        from prefect_freight.retry import retrying

        for location in objects["location"].slice(0, 1).to_pylist():
            retrying(lambda: self._ways.choose(Location.parse(location)))  # noqa: B023

    def _second(self, place: Location, data: bytes, checksum: str) -> bytes:
        """Return an object that has another MD5 than its checksum, if that is no MD5.

        An encrypted bucket gives tags that look like one, and who uploads by himself may say what
        he likes. Then its storage still has the very same bytes under that tag.
        """
        second = self._ways.read_storage(place, len(data))
        if second is not None and md5(second[0]).hex() == checksum:
            return second[0]
        if second == (data, checksum):
            return data
        raise IntegrityError(
            f"expected {place.key!r} of commit {place.commit} of {self._repository!r} with "
            f"checksum {checksum}, found bytes with MD5 {md5(data).hex()}: they were changed "
            "behind lakeFS, or on their way"
        )

    def _to_objects(self, commit: str, page: pa.RecordBatch) -> pa.RecordBatch:
        keys, sizes = page["key"], page["size"]
        columns = ("checksum", "size", "content_type", "metadata", "address")
        rows = zip(*(page[name].to_pylist() for name in columns), strict=True)
        content = pa.array([_identity(*row) for row in rows], pa.string())
        pairs = zip(page["content_type"].to_pylist(), page["metadata"].to_pylist(), strict=True)
        attributes = pa.array([_attributes(*pair) for pair in pairs], pa.string())
        locations = to_locations(self._repository, commit, keys, page["address"])
        if self._below:
            keys = pc.utf8_slice_codeunits(keys, len(self._below))
        return pa.record_batch([keys, sizes, content, locations, attributes], OBJECT_SCHEMA)


def _identity(checksum: str, size: int, content_type: str, metadata: str, address: str) -> str:
    """Return what tells an object from any other that another commit has under its key."""
    if MD5.fullmatch(checksum):
        return f"{checksum}:{size}:{_digest(content_type, metadata)}"
    token = hashlib.blake2b(checksum.encode(), digest_size=16).hexdigest()
    return f"token-{token}:{size}:{_digest(content_type, metadata, address)}"


@lru_cache(4096)
def _digest(*texts: str) -> str:
    # Far fewer than objects, as a rule.
    return hashlib.blake2b(json.dumps(texts).encode(), digest_size=8).hexdigest()


@lru_cache(4096)
def _attributes(content_type: str, metadata: str) -> str | None:
    """Return content type and metadata as JSON, None where there is nothing to keep."""
    kept = {"content_type": content_type} if content_type else {}
    held = json.loads(metadata) if metadata else {}
    return json.dumps(kept | ({"metadata": held} if held else {})) if kept or held else None
