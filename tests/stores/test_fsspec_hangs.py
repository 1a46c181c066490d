"""A file system without time-outs of its own is not waited for, either."""

import threading
from collections.abc import Callable

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from prefect_freight.config import StoreConfig
from prefect_freight.errors import TransientError
from prefect_freight.stores.fsspec import FsspecStore


class HangingFileSystem(MemoryFileSystem):
    """Files in memory that nobody ever gets, puts or lists."""

    protocol = "hanging"

    def _hang(self, *_: object, **__: object) -> None:
        threading.Event().wait()

    cat_file = pipe_file = ls = rm_file = exists = info = _hang


@pytest.mark.parametrize(
    "act",
    [
        lambda store: store.read("k"),
        lambda store: store.read("k", 0, 5),
        lambda store: store.write("k", b"x"),
        lambda store: store.write_new("k", b"x"),
        lambda store: store.delete(["k"]),
        pytest.param(lambda store: list(store.list()), marks=pytest.mark.slow),
    ],
    ids=["read", "range", "write", "write_new", "delete", "list"],
)
def test_an_operation_that_never_returns_has_failed(act: Callable[[FsspecStore], object]) -> None:
    fsspec.register_implementation("hanging", HangingFileSystem, clobber=True)
    store = FsspecStore("hanging://place", StoreConfig(), limit_s=0.2)
    with pytest.raises(TransientError, match="did not answer in time"):
        act(store)
