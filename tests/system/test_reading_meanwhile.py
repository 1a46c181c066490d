"""A reader that opens the copy over and over while exports change it, and reads everything.

It opens through consolidated metadata, as xarray does. It must never meet an error, a value that is
in neither snapshot, or new chunks decoded by an old document.
"""

import functools
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import xarray
from changes import CHANGES
from histories import Change, History, attributes, delete, write

from prefect_freight import export
from prefect_freight.stores import Store
from prefect_freight.stores.local import LocalStore

SETTLE_S = 1.5
ship = functools.partial(export, settle_s=SETTLE_S, concurrency=2)


def create(name: str, n: int = 24, **changes: object) -> Change:
    """Return a change that creates an array as xarray has them, of values that name their array."""
    from histories import create as plain

    shape = changes.get("shape", (n,))
    dimensions = [f"{name}_{axis}" for axis in range(len(shape))]
    return plain(name, n, **({"dimension_names": dimensions} | changes))


KINDS: dict[str, tuple[Change, ...]] = {
    "chunks changed": (write("a", slice(0, 12), 99),),
    "appended": CHANGES["chunk added"],
    "shrunk": CHANGES["array resized smaller"],
    "dtype": (create("a", dtype="f8"),),
    "chunk shape": (create("a", chunks=(4,)),),
    "codec": (create("a", compressors=None),),
    "created again": (delete("a"), create("a", 5)),
    "deleted": (delete("a"),),
    "added": (create("n"),),
    "scale": (attributes("a", scale_factor=0.5), write("a", slice(0, 24), 2)),
}


USUAL = {("zarr2", kind) for kind in ("appended", "dtype", "created again", "deleted")}
"""The others withdraw, put and delete in the same rounds as one of these."""


class SlowStore(LocalStore):
    """A local folder that takes its time, so that a reader meets every moment of an export."""

    def write(self, key: str, data: bytes) -> None:
        threading.Event().wait(0.02)
        super().write(key, data)


class Reader(threading.Thread):
    """Opens a copy and reads all of it, until it is told to stop; keeps what it saw."""

    def __init__(self, path: Path) -> None:
        super().__init__(daemon=True)
        self._path, self._ended = path, threading.Event()
        self.seen: list[dict[str, np.ndarray]] = []
        self.errors: list[BaseException] = []

    def run(self) -> None:
        while not self._ended.is_set():
            try:
                with xarray.open_zarr(self._path, consolidated=True) as dataset:
                    values = {name: np.asarray(v) for name, v in dataset.variables.items()}
                    self.seen.append({str(name): array for name, array in values.items()})
            except BaseException as error:  # what the test is about
                self.errors.append(error)

    def stop(self) -> None:
        self._ended.set()
        self.join()


@contextmanager
def reading(path: Path) -> Iterator[Reader]:
    reader = Reader(path)
    reader.start()
    try:
        yield reader
    finally:
        reader.stop()


def values(path: Path) -> dict[str, np.ndarray]:
    with xarray.open_zarr(path) as dataset:
        return {str(name): np.asarray(v) for name, v in dataset.variables.items()}


def agrees(seen: np.ndarray, old: np.ndarray | None, new: np.ndarray | None) -> bool:
    """Say whether each value seen is that of one of the snapshots at its place."""
    for whole in (old, new):
        if whole is not None and whole.shape == seen.shape and whole.dtype == seen.dtype:
            break
    else:
        return False
    candidates = [w for w in (old, new) if w is not None]
    for index, value in np.ndenumerate(seen):
        there = [
            w[index] for w in candidates if all(i < n for i, n in zip(index, w.shape, strict=True))
        ]
        if not any(value == one for one in there):
            return False
    return True


@pytest.mark.usually("dtype")
@pytest.mark.usually("deleted")
@pytest.mark.parametrize(
    ("kind", "format_"),
    [
        pytest.param(*case, marks=[] if case[::-1] in USUAL else pytest.mark.slow)
        for kind in KINDS
        for case in [(kind, "zarr2"), (kind, "zarr3")]
    ],
)
def test_a_reader_beside_an_export_sees_the_old_or_the_new(
    tmp_path: Path, kind: str, format_: str
) -> None:
    history = History(tmp_path / "repository")
    history.commit(create("a"), create("b"))
    copy: Store = SlowStore(str(tmp_path / "copy"))
    ship(history.path, copy, format=format_)
    old = values(tmp_path / "copy")
    history.commit(*KINDS[kind])
    with reading(tmp_path / "copy") as reader:
        ship(history.path, copy, format=format_, from_ref="last")
    new = values(tmp_path / "copy")
    assert not reader.errors
    assert len(reader.seen) > 3
    for seen in reader.seen:
        assert "b" in seen
        for name, array in seen.items():
            assert agrees(array, old.get(name), new.get(name)), (name, array)
