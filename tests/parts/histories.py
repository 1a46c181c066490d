"""Changes of a repository, one by one, and helpers to read what lies at a destination."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import icechunk
import numpy as np
import zarr

Change = Callable[[zarr.Group], Any]


def tree(root: Path) -> dict[str, bytes]:
    """Return all files under a root by their path."""
    return {str(p.relative_to(root)): p.read_bytes() for p in root.rglob("*") if p.is_file()}


def data(root: Path) -> dict[str, bytes]:
    """Return the copy alone: without the control area and the markers."""
    return {k: v for k, v in tree(root).items() if not k.startswith((".freight", "EXPORT_"))}


class History:
    """A repository, made unless it is there, that is changed commit by commit."""

    def __init__(self, path: Path, storage: icechunk.Storage | None = None) -> None:
        self.path = path
        config = icechunk.RepositoryConfig(inline_chunk_threshold_bytes=16)
        storage = storage or icechunk.local_filesystem_storage(str(path))
        self.repository = icechunk.Repository.open_or_create(storage, config=config)

    def commit(self, *changes: Change, branch: str = "main") -> str:
        """Apply changes and return the new snapshot."""
        session = self.repository.writable_session(branch)
        root = zarr.open_group(session.store, mode="a", zarr_format=3)
        for change in changes:
            change(root)
        return session.commit("change", allow_empty=True)

    def move(self, old: str, new: str) -> str:
        """Move a node and return the new snapshot."""
        session = self.repository.rearrange_session("main")
        session.move(f"/{old}", f"/{new}")
        return session.commit("move")


def create(name: str, n: int = 8, **changes: Any) -> Change:
    """Return a change that creates an array of n numbers, or replaces it."""

    def change(root: zarr.Group) -> None:
        given = {"chunks": (3,), "dtype": "i4", "fill_value": 0, "overwrite": True} | changes
        shape = given.pop("shape", (n,))
        array = root.create_array(name, shape=shape, **given)
        array[...] = np.arange(1, 1 + int(np.prod(shape))).reshape(shape)

    return change


def write(name: str, where: slice, value: int) -> Change:
    """Return a change that writes a value (0, the fill value, removes whole chunks)."""
    return lambda root: root[name].__setitem__(where, value)


def resize(name: str, n: int, value: int = 0) -> Change:
    """Return a change of an array's length; what is new gets a value."""

    def change(root: zarr.Group) -> None:
        array = root[name]
        old = array.shape[0]
        array.resize((n, *array.shape[1:]))
        if value and n > old:
            array[old:] = value

    return change


def delete(name: str) -> Change:
    """Return a change that deletes a node and all below it."""
    return lambda root: root.__delitem__(name)


def attributes(name: str, **said: Any) -> Change:
    """Return a change that replaces a node's attributes."""
    return lambda root: (root[name] if name else root).attrs.put(said)


def group(name: str) -> Change:
    """Return a change that creates a group."""
    return lambda root: root.require_group(name)
