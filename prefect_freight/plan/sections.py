"""Sections: what of a copy is compared and remembered as one. Pure.

A copy is a list of named components (the chunks of an array, the metadata, the objects), and the
entries of each come in an order of *positions* that never changes: chunk indices, keys. A section
is a range of positions. Its bounds are inherited from the export before and only ever split, so
that an entry stays in its section whatever is added before it or behind it.
"""

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from prefect_freight.model import Round

INLINE_BYTES_PER_SECTION = 64 * 2**20
"""Inline data is held in memory with its section."""


@dataclass(frozen=True, slots=True)
class Section:
    """A range of the entries of one component of the copy."""

    name: str
    """What it is a range of: the path of an array, or a layout's own word."""
    start: str
    """Its first position; `""` is before all others."""
    content: str
    """Digest of its entries: equal content, equal entries. `""` is unknown: always compared."""
    facts: Mapping[str, Any]
    """What its layout must know again."""
    areas: tuple[str, ...]
    """Whose manifests hold its entries: a whole one, then changes over it, newest last."""
    rows: int
    """Objects that the copy has of it."""
    changes: int = 0
    """Rows that the areas after the first hold."""
    origin: str = ""
    """Equal origin, equal entries, so that they need not be read. `""` is unknown."""
    space: str = ""
    """Starts of different spaces cannot be compared."""


class Positions(Protocol):
    """Where consecutive entries stand in the order of their component."""

    def text(self, row: int) -> str:
        """Return the position of a row, as sections record it."""
        ...

    def find(self, bound: str) -> int:
        """Return the number of rows before a position."""
        ...

    def slice(self, first: int, stop: int) -> "Positions":
        """Return the positions of some rows."""
        ...


@dataclass(frozen=True, slots=True)
class TextPositions:
    """Positions that are texts in the order of their code points."""

    texts: pa.StringArray

    def text(self, row: int) -> str:
        """Return the text of a row."""
        position: str = self.texts[row].as_py()
        return position

    def find(self, bound: str) -> int:
        """Return the number of rows before a text."""
        count: int = pc.sum(pc.less(self.texts, bound)).as_py() or 0
        return count

    def slice(self, first: int, stop: int) -> "TextPositions":
        """Return the texts of some rows."""
        return TextPositions(self.texts.slice(first, stop - first))


@dataclass(frozen=True, slots=True)
class Stretch:
    """Consecutive entries of one round, in the order of their positions."""

    round: Round
    entries: pa.RecordBatch
    """Columns of `ENTRY_SCHEMA`."""
    positions: Positions

    def slice(self, first: int, stop: int) -> "Stretch":
        """Return some rows."""
        entries = self.entries.slice(first, stop - first)
        return Stretch(self.round, entries, self.positions.slice(first, stop))


@dataclass(frozen=True, slots=True)
class Piece:
    """All entries between two bounds, or as many of them as fit in a section."""

    start: str
    stretches: tuple[Stretch, ...]
    bound: int
    """Number of the inherited bound that it lies behind."""
    last: bool
    """No other piece lies behind the same bound."""

    @property
    def rows(self) -> int:
        """Number of entries."""
        return sum(stretch.entries.num_rows for stretch in self.stretches)


def cut(stretches: Iterable[Stretch], bounds: Sequence[str], max_rows: int) -> Iterator[Piece]:
    """Cut entries at the inherited bounds, and where a section would grow too large.

    `bounds` are ascending and begin with `""`. Behind each of them comes at least one piece, an
    empty one if there is no entry; a section is split when it has twice `max_rows`, so that one
    that grows and shrinks is not split again and again, or at once where nothing is inherited.
    """
    inherited = len(bounds) > 1
    limit = 2 * max_rows if inherited else max_rows
    gathered = _Gathered("", 0)
    for whole in stretches:
        stretch = whole
        while stretch.entries.num_rows:
            stop = stretch.entries.num_rows
            if gathered.bound + 1 < len(bounds):
                stop = stretch.positions.find(bounds[gathered.bound + 1])
            taken, rest = stretch.slice(0, stop), stretch.slice(stop, stretch.entries.num_rows)
            yield from gathered.add(taken, limit)
            stretch = rest
            if rest.entries.num_rows:
                yield gathered.close(last=True)
                gathered = _Gathered(bounds[gathered.bound + 1], gathered.bound + 1)
    yield gathered.close(last=True)
    for number in range(gathered.bound + 1, len(bounds)):
        yield _Gathered(bounds[number], number).close(last=True)


class _Gathered:
    """The entries behind a bound that are not given out yet."""

    def __init__(self, start: str, bound: int) -> None:
        self.start, self.bound = start, bound
        self._stretches: list[Stretch] = []
        self._rows = self._bytes = 0

    def add(self, stretch: Stretch, limit: int) -> Iterator[Piece]:
        for first, stop in _portions(stretch.entries, limit):
            portion = stretch.slice(first, stop)
            size = inline_bytes(portion.entries)
            full = self._rows + portion.entries.num_rows > limit
            # Never an empty piece, however large one entry is.
            if self._rows and (full or self._bytes + size > INLINE_BYTES_PER_SECTION):
                yield self.close(last=False)
                self.start = portion.positions.text(0)
            self._stretches.append(portion)
            self._rows, self._bytes = self._rows + portion.entries.num_rows, self._bytes + size

    def close(self, *, last: bool) -> Piece:
        piece = Piece(self.start, tuple(self._stretches), self.bound, last)
        self._stretches, self._rows, self._bytes = [], 0, 0
        return piece


def _portions(entries: pa.RecordBatch, limit: int) -> Iterator[tuple[int, int]]:
    """Yield ranges of rows, none larger than a section may be."""
    if not entries.num_rows:
        return
    lengths = pc.fill_null(pc.binary_length(entries["data"]), 0).to_numpy(zero_copy_only=False)
    ends = np.cumsum(lengths, dtype=np.int64)
    first = 0
    while first < entries.num_rows:
        before = ends[first - 1] if first else 0
        fitting = int(np.searchsorted(ends, before + INLINE_BYTES_PER_SECTION, side="right"))
        stop = min(first + limit, max(fitting, first + 1))
        yield first, stop
        first = stop


def inline_bytes(entries: pa.RecordBatch | pa.Table) -> int:
    """Return how many bytes of inline data entries have (of a slice, only its own)."""
    size: int = pc.sum(pc.binary_length(entries["data"])).as_py() or 0
    return size


class ContentDigest:
    """The digest of keys and contents of entries that come some at a time."""

    def __init__(self) -> None:
        # One a column, of lengths and of texts, since the columns of batches come in turns.
        self._digests = [hashlib.blake2b(digest_size=16) for _ in range(4)]
        self._is_known = True
        self.rows = 0

    def add(self, batch: pa.RecordBatch) -> None:
        """Take entries, of which `key` and `content` count."""
        self.rows += batch.num_rows
        self._is_known &= not pc.any(pc.equal(batch["content"], "")).as_py()
        for column, (lengths, texts) in (
            ("key", self._digests[:2]),
            ("content", self._digests[2:]),
        ):
            lengths.update(np.ascontiguousarray(pc.binary_length(batch[column]).to_numpy()).data)
            texts.update(_text_bytes(batch[column]))

    def text(self) -> str:
        """Return the digest in hexadecimal, `""` if the content of an entry was unknown."""
        together = b"".join(digest.digest() for digest in self._digests)
        return hashlib.blake2b(together, digest_size=16).hexdigest() if self._is_known else ""


def section_content(batches: Iterable[pa.RecordBatch]) -> str:
    """Return the digest of keys and contents of entries in their order, `""` if one is unknown.

    It does not depend on how they are cut into batches.

    >>> one = pa.record_batch({"key": ["a", "b"], "content": ["1", "2"]})
    >>> section_content([one]) == section_content([one.slice(0, 1), one.slice(1)])
    True
    """
    digest = ContentDigest()
    for batch in batches:
        digest.add(batch)
    return digest.text()


def _text_bytes(values: pa.StringArray) -> memoryview:
    """Return the texts of an array one after the other, as they lie in memory."""
    _, offsets, data = values.buffers()
    if data is None or not len(values):
        return memoryview(b"")
    ends = np.frombuffer(offsets, np.int32)[values.offset : values.offset + len(values) + 1]
    return memoryview(data)[int(ends[0]) : int(ends[-1])]
