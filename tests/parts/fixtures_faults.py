"""Repositories of many small objects, and what lies at an S3 destination."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import icechunk
import numpy as np
import pytest
import zarr
from servers import S3Server

from prefect_freight.stores import Store
from prefect_freight.stores.urls import open_store

NATIVE, INLINE, SPARSE = 880, 50, 50
NATIVE_LOCAL = 1100
INLINE_BYTES = 32


def write_many(storage: icechunk.Storage, native: int = NATIVE) -> None:
    """Make a repository: chunks that are objects, some inline, some that nobody wrote."""
    config = icechunk.RepositoryConfig(inline_chunk_threshold_bytes=INLINE_BYTES)
    repository = icechunk.Repository.create(storage, config=config)
    session = repository.writable_session("main")
    root = zarr.group(session.store, zarr_format=3)
    numbers = np.random.default_rng(1).integers(0, 2**31, native * 16, dtype="i4")
    root.create_array("grid", data=numbers.reshape(-1, 16), chunks=(1, 16), compressors=None)
    small = np.arange(1, 1 + INLINE * 4, dtype="i2")
    root.create_array("deep/down/small", data=small, chunks=(4,), compressors=None)
    sparse = root.create_array("deep/sparse", shape=(SPARSE * 4,), chunks=(4,), dtype="i8")
    sparse[8:80] = 5
    root.attrs["title"] = "many small objects"
    session.commit("write")


def read_copy(store: Store) -> dict[str, bytes]:
    """Return the copy alone: without the control area and the markers."""
    keys = [key for page in store.list() for key in page["key"].to_pylist()]
    data = [key for key in keys if not key.startswith((".freight/", "EXPORT_"))]
    with ThreadPoolExecutor(16) as pool:
        return dict(zip(data, pool.map(store.read, data), strict=True))


@pytest.fixture(scope="session")
def many(s3: S3Server) -> str:
    """Return the URL of a repository on S3 of about a thousand small objects."""
    url = f"s3://{s3.new_bucket()}/repository"
    write_many(s3.icechunk_storage(url))
    return url


@pytest.fixture(scope="session")
def many_local(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a local repository of twelve hundred small objects."""
    path = tmp_path_factory.mktemp("many") / "repository"
    write_many(icechunk.local_filesystem_storage(str(path)), native=NATIVE_LOCAL)
    return path


@pytest.fixture(scope="session")
def many_copy(s3: S3Server, many: str) -> dict[str, bytes]:
    """Return what a copy of `many` holds, made without faults."""
    from prefect_freight import export

    store = open_store(f"s3://{s3.new_bucket()}/clean", s3.config())
    export(many, store, source_config=s3.config())
    return read_copy(store)
