"""Where stores lie: above them, at which service, and whether there are folders.

A store that does not tell what it could (one that wraps another, say) is taken by its URL.
"""

import os
from collections.abc import Iterator
from typing import Protocol, runtime_checkable
from urllib.parse import unquote, urlsplit

from prefect_freight.stores import Store
from prefect_freight.stores.wrapping import innermost

DISKS = frozenset({"file", "local", "sftp", "ssh", "ftp", "smb", "hdfs", "webhdfs", "dbfs"})
"""Schemes of what has folders, so that no file can lie where a folder is."""
LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
PORTS = {"http": 80, "https": 443}


@runtime_checkable
class Nested(Protocol):
    """A store that can open the place that its root lies in."""

    def parent(self) -> Store | None:
        """Return the store of the folder above, None where there is none."""
        ...


@runtime_checkable
class Served(Protocol):
    """A store, or a source, that knows the service that its URL is one of."""

    @property
    def endpoint(self) -> str:
        """Address of the service, without secrets; `""` is the one that everybody means."""
        ...


def ancestors(store: Store) -> Iterator[Store]:
    """Yield the places that the store's root lies in, the nearest first."""
    above: Store | None = innermost(store)
    if not isinstance(above, Nested) and urlsplit(store.url).scheme == "file":
        from prefect_freight.stores.local import LocalStore

        above = LocalStore(unquote(urlsplit(store.url).path))
    while isinstance(above, Nested) and (above := above.parent()) is not None:
        yield above


def has_folders(store: Store) -> bool:
    """Say whether the store is a disk: a file cannot lie where a folder is, nor below a file."""
    return urlsplit(store.url).scheme in DISKS


def is_same_service(one: object, other: object) -> bool:
    """Say whether equal URLs of two stores, or sources, may name the same place.

    Addresses are compared as they are written, but that all names of this machine are one: two
    names of one service are taken for two.
    """
    places = map(innermost, (one, other))
    # A store that does not tell is taken for the same service: to refuse is the safe side.
    addresses = [place.endpoint for place in places if isinstance(place, Served)]
    return len(addresses) < 2 or _service(addresses[0]) == _service(addresses[1])


def endpoint_of(store: Store) -> str:
    """Return the address of a store's service, `""` where it does not tell one."""
    place = innermost(store)
    return place.endpoint if isinstance(place, Served) else ""


def comparable(url: str) -> str:
    """Return a URL so that what lies inside of it begins with it: links of a disk are followed."""
    parts = urlsplit(url)
    return os.path.realpath(unquote(parts.path)) if parts.scheme == "file" else url


def parent_url(url: str) -> str | None:
    """Return the URL of the folder above; None at the root, the bucket, or the container.

    >>> parent_url("s3://bucket/a/b"), parent_url("s3://bucket")
    ('s3://bucket/a', None)
    """
    scheme, separator, path = url.rpartition("://")
    above, slash, _ = path.rstrip("/").rpartition("/")
    return f"{scheme}{separator}{above}" if slash and above else None


def _service(address: str) -> tuple[str, int | None]:
    parts = urlsplit(address)
    host = (parts.hostname or "").lower()
    return ("localhost" if host in LOOPBACK else host), parts.port or PORTS.get(parts.scheme)
