"""Icechunk repositories that tests export."""

import datetime
from collections.abc import Callable
from pathlib import Path
from typing import Any

import icechunk
import numpy as np
import pytest
import zarr

from prefect_freight.demo import make_repository


@pytest.fixture(scope="session")
def weather(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the demonstration's repository: groups, coordinates, three commits, branch and tag."""
    path = tmp_path_factory.mktemp("weather") / "repository"
    make_repository(str(path))
    return path


@pytest.fixture
def new_repository(tmp_path: Path) -> Callable[..., Path]:
    """Return a function that makes a repository by calling a function with its root group."""

    def make(write: Callable[[zarr.Group], Any], *, inline_bytes: int = 512) -> Path:
        path = tmp_path / f"repository-{datetime.datetime.now(datetime.UTC).timestamp()}"
        config = icechunk.RepositoryConfig(inline_chunk_threshold_bytes=inline_bytes)
        storage = icechunk.local_filesystem_storage(str(path))
        repository = icechunk.Repository.create(storage, config=config)
        session = repository.writable_session("main")
        write(zarr.group(session.store, zarr_format=3))
        session.commit("write")
        return path

    return make


@pytest.fixture(scope="session")
def typed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a repository with an array of each plain dtype, some chunks of each missing."""
    path = tmp_path_factory.mktemp("typed") / "repository"
    repository = icechunk.Repository.create(icechunk.local_filesystem_storage(str(path)))
    session = repository.writable_session("main")
    root = zarr.group(session.store, zarr_format=3)
    for dtype in (
        "?",
        "i1",
        "i2",
        "<i4",
        "i8",
        "u1",
        "u8",
        "f2",
        "f4",
        "f8",
        "c8",
        "M8[s]",
        "m8[ms]",
    ):
        name = "a_" + "".join(c for c in dtype if c.isalnum())
        array = root.create_array(
            name, shape=(7, 5), chunks=(3, 2), dtype=np.dtype(dtype), dimension_names=["y", "x"]
        )
        array[:4] = np.arange(20).reshape(4, 5).astype(dtype)
    text = root.create_array("text", shape=(5,), chunks=(2,), dtype="str", dimension_names=["t"])
    text[:3] = np.array(["", "é", "long " * 9])
    root.create_array("scalar", shape=(), dtype="f8")[...] = 2.5
    root.create_array("empty", shape=(0, 3), chunks=(1, 3), dtype="i4", dimension_names=["e", "z"])
    root.create_array("unwritten", shape=(4,), chunks=(2,), dtype="i4", dimension_names=["u"])
    session.commit("write")
    return path
