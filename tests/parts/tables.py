"""Entries, stretches and pieces as tests write them down."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence

import pyarrow as pa

from prefect_freight.model import Round
from prefect_freight.plan.entries import inline_entries, make_entries
from prefect_freight.plan.join import STATE_SCHEMA
from prefect_freight.plan.sections import Piece, Stretch, TextPositions


def stretch(keys: Sequence[str], round_: Round = Round.OBJECTS) -> Stretch:
    """Return entries of empty objects, whose positions are their keys."""
    texts = pa.array(list(keys), pa.string())
    entries = make_entries(texts, "a", size=pa.array([0] * len(texts), pa.int64()), content=texts)
    return Stretch(round_, entries, TextPositions(texts))


def inline_stretch(keys: Sequence[str], data: Sequence[bytes]) -> Stretch:
    """Return entries that hold their bytes, whose positions are their keys."""
    positions = TextPositions(pa.array(list(keys), pa.string()))
    return Stretch(Round.OBJECTS, inline_entries(keys, [""] * len(keys), data), positions)


def in_stretches(keys: Sequence[str], step: int) -> Iterable[Stretch]:
    """Return the keys so many a stretch."""
    return [stretch(keys[first : first + step]) for first in range(0, len(keys), step)]


def keys_of(piece: Piece) -> list[str]:
    """Return the keys of a piece in their order."""
    return [key for some in piece.stretches for key in some.entries["key"].to_pylist()]


def state_of(contents: Mapping[str, str], node: str = "a") -> pa.Table:
    """Return the record of a copy; a checksum is that of the content's text."""
    rows = [
        {"key": key, "node": node, "content": content, "checksum": md5_of(content)}
        for key, content in contents.items()
    ]
    return pa.Table.from_pylist(rows, STATE_SCHEMA)


def md5_of(text: str) -> bytes:
    """Return a checksum that tells the text that it was made of."""
    return hashlib.md5(text.encode()).digest()
