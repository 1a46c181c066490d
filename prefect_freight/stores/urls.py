"""Which store a path or URL names."""

import os
from dataclasses import fields
from urllib.parse import unquote, urlsplit

from prefect_freight.config import StoreConfig
from prefect_freight.errors import ConfigError
from prefect_freight.stores import Store
from prefect_freight.stores.credentials import refuse_credentials

LAKEFS_ONLY = {"storage", "read_through"}


def open_store(url: str, config: StoreConfig | None = None) -> Store:
    """Return the store at a path, or at a file://, s3:// or any other fsspec URL.

    Connects to nothing yet. Raises `ConfigError` for a URL that holds credentials, for one that no
    store can have, and for settings that its kind of store would ignore.
    """
    config = config or StoreConfig()
    refuse_credentials(url)
    scheme, separator, _ = url.partition("://")
    if not separator:
        return _local(url)
    parts = urlsplit(url)
    match scheme:
        case "file" | "local":
            if parts.netloc not in ("", "localhost"):
                raise ConfigError(f"expected file:///path, found the host {parts.netloc!r}")
            return _local(unquote(parts.path))
        case "s3" | "s3a":
            from prefect_freight.stores.s3.store import S3Store

            if not parts.netloc:
                raise ConfigError(f"expected s3://bucket/prefix, found no bucket in {url!r}")
            _refuse_ignored(config, {"storage_options"}, url, "is for other URLs than s3://")
            _refuse_ignored(config, LAKEFS_ONLY, url, "is for lakefs:// alone")
            return S3Store(parts.netloc, parts.path.strip("/"), config)
        case _:
            from prefect_freight.stores.fsspec import FsspecStore

            s3_only = {field.name for field in fields(StoreConfig)} - {"storage_options"}
            hint = f"is for s3:// alone. Say what {scheme}:// needs in storage_options"
            _refuse_ignored(config, s3_only, url, hint)
            return FsspecStore(url, config)


def with_checksums(store: Store) -> Store:
    """Return the store, sending a checksum with every put if it knows how to."""
    from prefect_freight.stores.s3.store import S3Store

    return store.with_checksums() if isinstance(store, S3Store) else store


def with_linked(store: Store, *folders: str) -> Store:
    """Return the store; on a local disk, these folders of it may be links to anywhere."""
    from prefect_freight.stores.local import LocalStore

    return store.with_linked(*folders) if isinstance(store, LocalStore) else store


def _local(path: str) -> Store:
    from prefect_freight.stores.local import LocalStore

    if not path:
        raise ConfigError("expected a path or URL, found an empty one")
    return LocalStore(os.path.abspath(os.path.expanduser(path)))


def _refuse_ignored(config: StoreConfig, names: set[str], url: str, hint: str) -> None:
    for name in sorted(names):
        if getattr(config, name) not in (None, False):
            raise ConfigError(f"{name} would do nothing for {url}: it {hint}")
