"""The shapes of the records of versions 1 and 2, which sealed nothing: a closed list."""

from typing import Any, Literal, TypedDict

from prefect_freight.model import Round

Batches = list[tuple[int, int]]


class Reading(TypedDict):
    """How the document of an array had its chunks read."""

    identity: str
    shape: list[int]


class ChunkKeys(TypedDict):
    """How chunk keys were spelled."""

    style: str
    separator: str


class Facts(TypedDict, total=False):
    """Facts of a section."""

    reading: Reading
    chunk_keys: ChunkKeys
    groups: list[str]


class Section(TypedDict):
    """A section of version 2."""

    name: str
    start: str
    content: str
    facts: Facts
    areas: list[str]
    rows: int
    changes: int
    origin: str
    space: str


class Part(TypedDict):
    """A part of a manifest of version 2."""

    key: str
    round: Round
    batches: Batches
    slices: list[tuple[str, str, int, int]]
    kept: int


class Manifest(TypedDict):
    """`manifest.json` of version 2."""

    area: str
    sections: list[Section]
    parts: list[Part]
    totals: dict[str, int]
    notes: list[str]


class DiffPart(TypedDict):
    """A part of a diff."""

    key: str
    round: Round
    phase: int
    first_batch: int
    batches: Batches
    slices: list[tuple[str, int, int]]


class DiffOptional(TypedDict, total=False):
    """What was added to diffs."""

    replaced: tuple[int, list[str]]
    known: int
    is_damaged: bool


class Diff(DiffOptional):
    """`diff.json`."""

    parts: list[DiffPart]
    kept: int
    totals: dict[str, int]
    notes: list[str]


class Array(TypedDict):
    """An array of a manifest of version 1."""

    area: str
    reading: Reading


class Part1Optional(TypedDict, total=False):
    """What was added to parts of version 1."""

    phase: int


class Part1(Part1Optional):
    """A part of a manifest of version 1, which had two rounds that are none any more."""

    key: str
    round: Round | Literal["kept-chunks", "kept-documents"]
    first_batch: int
    batches: Batches
    nodes: list[str]


class Manifest1(TypedDict):
    """`manifest.json` of version 1, which said as well what was to be done."""

    parts: list[Part1]
    arrays: dict[str, Array]
    groups: int
    notes: list[str]


class BatchOptional(TypedDict, total=False):
    """What was added to the record of a batch."""

    checksums: list[str]


class Batch(BatchOptional):
    """A record of the ledger."""

    batch: int
    objects: int
    bytes: int
    failed: list[str]


MANIFESTS: dict[int, Any] = {1: Manifest1, 2: Manifest}
DIFFS: dict[int, Any] = {1: Diff}
BATCHES: dict[int, Any] = {1: Batch}
