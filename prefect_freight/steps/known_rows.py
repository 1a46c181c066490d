"""Which rows of a manifest are known to lie there already, since unfinished runs put them.

A flag and a checksum a row, in a file of the local disk: they are found by a hash of the key, so
in no order, and there may be as many as the copy has objects.
"""

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from prefect_freight.control.manifest import Part
from prefect_freight.control.part_checksums import CHECKSUM_BYTES

Flags = npt.NDArray[np.bool_]


class KnownRows:
    """Rows of the parts of a manifest, none at first."""

    def __init__(self, parts: Sequence[Part], file: npt.NDArray[np.uint8]) -> None:
        self._first = np.cumsum([0, *(part.rows for part in parts)])
        self._file = file
        self._parts: set[int] = set()

    def add(self, parts: pa.Array, rows: pa.Array, checksums: pa.Array) -> None:
        """Add rows, each of a part by its number, with their checksums."""
        if not len(parts):
            return
        numbers, where = parts.to_numpy(), rows.to_numpy()
        at = self._first[numbers] + where
        texts = b"".join(checksum or bytes(CHECKSUM_BYTES) for checksum in checksums.to_pylist())
        self._file[at, 0] = 1
        self._file[at, 1:] = np.frombuffer(texts, np.uint8).reshape(-1, CHECKSUM_BYTES)
        self._parts.update(np.unique(numbers).tolist())

    def flags(self, number: int) -> Flags | None:
        """Say of each row of a part whether it is known; None if none is."""
        return self._of(number)[:, 0].astype(np.bool_) if number in self._parts else None

    def checksums(self, number: int) -> bytes:
        """Return the checksums of a part's rows, zeros for those that are not known."""
        return self._of(number)[:, 1:].tobytes()

    def _of(self, number: int) -> npt.NDArray[np.uint8]:
        return self._file[self._first[number] : self._first[number + 1]]


@contextmanager
def known_rows(parts: Sequence[Part]) -> Iterator[KnownRows]:
    """Give rows of a manifest's parts, of which none is known yet."""
    rows = sum(part.rows for part in parts)
    with tempfile.TemporaryFile(prefix="freight-") as file:
        shape = (max(rows, 1), 1 + CHECKSUM_BYTES)
        yield KnownRows(parts, np.memmap(file, np.uint8, "w+", shape=shape))
