"""The ways to an object's bytes: the best that is offered is taken, unless one is wanted.

| way       | through                                | objects/s | CPU-s for 1,000 |
|-----------|----------------------------------------|-----------|-----------------|
| bucket    | the storage below lakeFS itself        | 2,796     | 0.22            |
| gateway   | lakeFS's S3 gateway                    | 1,586     | 0.20            |
| rest      | lakeFS's REST interface                | 416       | 2.04            |
| presigned | addresses that lakeFS signs one by one | 284       | 3.24            |

(4 KiB each, 32 threads, 2 cores.) A key that the client of the first two cannot express is read
over REST whatever the way.
"""

import threading
from enum import StrEnum
from urllib.parse import urlsplit

from prefect_freight.config import StoreConfig
from prefect_freight.errors import (
    AccessError,
    ConfigError,
    InputError,
    NotFoundError,
)
from prefect_freight.sources.lakefs.addresses import Location
from prefect_freight.sources.lakefs.client import LakeFSClient
from prefect_freight.stores import Store
from prefect_freight.stores.s3.store import MAX_KEY_BYTES, UNSUPPORTED_KEY
from prefect_freight.stores.urls import open_store

REFUSED = (AccessError, NotFoundError, ConfigError, InputError)
"""What one who offers no such way answers."""


class Way(StrEnum):
    """What bytes are read through."""

    BUCKET = "bucket"
    GATEWAY = "gateway"
    PRESIGNED = "presigned"
    REST = "rest"


TEXT = {
    Way.BUCKET: "from the bucket below lakeFS itself",
    Way.GATEWAY: "through lakeFS's S3 gateway",
    Way.PRESIGNED: "from addresses that lakeFS presigned",
    Way.REST: "through lakeFS's REST interface",
}
"""What is told of each."""


def parse_way(text: str) -> Way:
    """Return the way of a name; raises `InputError` that lists them."""
    try:
        return Way(text)
    except ValueError:
        raise InputError(f"expected read_through {' or '.join(Way)}, found {text!r}") from None


class Ways:
    """Reads objects of one repository, by one way once it is known which are offered."""

    def __init__(
        self,
        client: LakeFSClient,
        gateway: StoreConfig,
        storage: StoreConfig | None,
        wanted: Way | None,
    ) -> None:
        if wanted is Way.BUCKET and storage is None:
            raise ConfigError(
                "expected the bucket's own endpoint and keys to read through the bucket, found "
                "none. Set storage: beside the server's settings"
            )
        self._client, self._gateway, self._storage = client, gateway, storage
        self.chosen = wanted or (Way.BUCKET if storage is not None else None)
        """None until the first object is at hand."""
        self._choosing = threading.Lock()
        self._stores: dict[str, Store] = {}
        self._refused: set[str] = set()

    def choose(self, example: Location) -> None:
        """Find the best way that is offered, by an object that is there; raises as `read` does."""
        with self._choosing:
            if self.chosen is not None or not _is_plain(f"{example.commit}/{example.key}"):
                return
            try:
                self._at_gateway(example).read(example.key, 0, 0)
                self.chosen = Way.GATEWAY
            except REFUSED:
                # No gateway there, or none for these keys: a proxy passes on what it likes.
                self.chosen = Way.REST

    def read(self, location: Location, offset: int, size: int) -> bytes:
        """Return bytes of an object; raises as `Source.read` does."""
        self.choose(location)
        commit, key = location.commit, location.key
        if self.chosen is Way.BUCKET and (place := self._in_bucket(location)) is not None:
            store, at = place
            try:
                return store.read(at, offset, size)
            except AccessError:
                # What was imported lies in buckets of others, which lakeFS may read.
                if location.address.startswith(self._namespace()):
                    raise
                self._refused.add(_bucket_of(location.address))
        if self.chosen is Way.GATEWAY and _is_plain(f"{commit}/{key}"):
            return self._at_gateway(location).read(key, offset, size)
        presigned = self.chosen is Way.PRESIGNED
        return self._client.read(commit, key, offset, size, presigned=presigned)[0]

    def read_storage(self, location: Location, size: int) -> tuple[bytes, str] | None:
        """Return an object anew, and the tag that its storage itself has; None where none tells."""
        if (place := self._in_bucket(location)) is not None:
            store, at = place
            data, tag = store.read_tagged(at)
            return data, (tag or "").strip('"')
        try:
            return self._client.read(location.commit, location.key, 0, size, presigned=True)
        except (InputError, AccessError):
            return None

    def _at_gateway(self, location: Location) -> Store:
        # The commit stands in the key, so that nothing else can be read.
        return self._open(f"s3://{self._client.repository}/{location.commit}", self._gateway)

    def _in_bucket(self, location: Location) -> tuple[Store, str] | None:
        """Return the store and key of an address, None of one that our own cannot be."""
        parts = location.address.partition("://")[2].partition("/")
        bucket = _bucket_of(location.address)
        known = urlsplit(bucket).scheme in ("s3", "s3a", "gs") and _is_plain(parts[2])
        if self._storage is None or not known or bucket in self._refused:
            return None
        return self._open(bucket, self._storage), parts[2]

    def _open(self, url: str, config: StoreConfig) -> Store:
        # Two threads may both make it; one of the two is dropped.
        if url not in self._stores:
            self._stores[url] = open_store(url, config)
        return self._stores[url]

    def _namespace(self) -> str:
        return f"{self._client.read_namespace().rstrip('/')}/"


def _is_plain(key: str) -> bool:
    """Say whether our client of S3 can express a key."""
    return not UNSUPPORTED_KEY.search(key) and len(key.encode()) <= MAX_KEY_BYTES


def _bucket_of(address: str) -> str:
    scheme, _, rest = address.partition("://")
    return f"{scheme}://{rest.partition('/')[0]}"
