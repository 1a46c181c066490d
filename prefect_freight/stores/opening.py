"""Which store a path or URL names."""

import os
from urllib.parse import unquote, urlsplit

from prefect_freight.config import StoreConfig
from prefect_freight.errors import ConfigError
from prefect_freight.stores import Store


def open_store(url: str, config: StoreConfig | None = None) -> Store:
    """Return the store at a path, or at a file://, s3:// or any other fsspec URL.

    Connects to nothing yet. Raises `ConfigError` for a URL that holds credentials, and for one that
    no store can have.
    """
    config = config or StoreConfig()
    scheme, separator, _ = url.partition("://")
    if not separator:
        return _local(url)
    parts = urlsplit(url)
    if "@" in parts.netloc or parts.query or parts.fragment:
        raise ConfigError(
            f"expected a {scheme}:// URL of host and path alone, found one with credentials, a "
            "query or a fragment. Put credentials into the configuration file or a block"
        )
    match scheme:
        case "file":
            if parts.netloc not in ("", "localhost"):
                raise ConfigError(f"expected file:///path, found a host in {url!r}")
            return _local(unquote(parts.path))
        case "s3":
            from prefect_freight.stores.s3 import S3Store

            if not parts.netloc:
                raise ConfigError(f"expected s3://bucket/prefix, found no bucket in {url!r}")
            return S3Store(parts.netloc, parts.path.strip("/"), config)
        case _:
            from prefect_freight.stores.fsspec import FsspecStore

            return FsspecStore(url, config)


def _local(path: str) -> Store:
    from prefect_freight.stores.local import LocalStore

    return LocalStore(os.path.abspath(os.path.expanduser(path)))
