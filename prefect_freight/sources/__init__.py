"""Where snapshots are read from. Sources only read, and know nothing of destinations.

This module holds the protocol and its records, which planning uses without any reader. `kinds`
turns a URL into a source: `icechunk` repositories, plain `objects`, and Zarr stores of objects,
`plain_zarr`; `waited` has them waited for.

A source gives references (of chunks, of objects) in columns, and bytes of its storage; it decodes
nothing. Not promised: that a snapshot stays. A repository that expires it and collects the garbage
fails an export with `NotFoundError` in the middle.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from prefect_freight.model import Format, Snapshot

SOURCE_URLS = (
    "a path or URL of an Icechunk repository or of a Zarr store, the same with icechunk+ or zarr+ "
    "before it, objects+file:///path or objects+s3://bucket/prefix for plain objects, or "
    "lakefs://repository or lakefs://repository/prefix"
)


@dataclass(frozen=True, slots=True)
class Node:
    """An array or group of a snapshot."""

    path: str
    """`""` for the root, else `a/b`."""
    kind: Literal["array", "group"]
    document: Mapping[str, Any]
    """Its metadata document, parsed: of Zarr 3, or `.zarray` or `.zgroup` of Zarr 2."""
    content: str = ""
    """Equal content (of two snapshots of the repository), equal chunk references. "" is unknown."""
    attributes: Mapping[str, Any] | None = None
    """What Zarr 2 keeps beside the document, `.zattrs`; None where there is none."""
    notes: tuple[str, ...] = ()
    """What is to be told of it, and at the root of all of the source; for the user."""


@dataclass(frozen=True, slots=True)
class ChunkRefs:
    """Chunk references of one array, in columns: row `i` of each is one chunk.

    | column    | type             | meaning                                                   |
    |-----------|------------------|-----------------------------------------------------------|
    | coords    | uint32 (n, ndim) | chunk grid coordinates                                    |
    | virtual   | bool (n,)        | the bytes lie outside of the repository                   |
    | locations | n strings        | object of the source's storage, to `Source.read`; "" inline |
    | offsets   | int64 (n,)       | first byte within the object; 0 for inline                |
    | sizes     | int64 (n,)       | bytes                                                     |
    | inlined   | row → bytes      | the bytes themselves, of inline rows only                 |
    | contents  | n strings, None  | identity of each object, to `Source.read`; None: the      |
    |           |                  | objects of this source never change                       |
    """

    coords: npt.NDArray[np.uint32]
    virtual: npt.NDArray[np.bool_]
    locations: pa.StringArray
    offsets: npt.NDArray[np.int64]
    sizes: npt.NDArray[np.int64]
    inlined: Mapping[int, bytes]
    contents: pa.StringArray | None = None


OBJECT_SCHEMA = pa.schema(
    [
        pa.field("key", pa.string(), nullable=False),
        pa.field("size", pa.int64(), nullable=False),  # bytes
        pa.field("content", pa.string(), nullable=False),  # identity: equal, equal bytes
        pa.field("location", pa.string(), nullable=False),  # what `Source.read` takes
        # Content type and the user's metadata, as JSON; null where there are none, or unknown.
        pa.field("attributes", pa.string()),
    ]
)
"""Columns of a page of objects."""


@runtime_checkable
class Source(Protocol):
    """What snapshots are read from, whatever they are made of.

    Picklable: it opens its connection on first use. Raises only errors of
    `prefect_freight.errors`. `read` retries nothing, as `Store.read` does not; the other methods
    retry what may be retried.
    """

    @property
    def url(self) -> str:
        """Canonical URL, such as `icechunk+s3://bucket/prefix`, without secrets."""
        ...

    @property
    def storage_url(self) -> str:
        """URL of the place where the repository's objects lie."""
        ...

    def resolve(self, ref: str) -> Snapshot:
        """Return the snapshot that a branch, tag or snapshot id names now.

        Raises `RefNotFoundError`, which lists near names, and `NotARepositoryError`.
        """
        ...

    def read(self, location: str, offset: int, size: int, content: str = "") -> bytes:
        """Return exactly `size` bytes of an object; raises as `Store.read` does.

        Where objects can change, and `content` is given, raises `IntegrityError` if it is not the
        identity of the object any more.
        """
        ...


@runtime_checkable
class ZarrSource(Source, Protocol):
    """A versioned repository of Zarr nodes."""

    def read_nodes(self, snapshot: Snapshot) -> list[Node]:
        """Return all arrays and groups of the snapshot, in the order of their paths."""
        ...

    def read_chunks(self, snapshot: Snapshot, path: str) -> Iterator[ChunkRefs]:
        """Yield the references of all chunks of an array.

        In the lexicographic order of their coordinates.
        """
        ...

    def open_zarr(self, snapshot: Snapshot) -> Any:
        """Return the snapshot's root (a `zarr.Group` or `zarr.Array`), as zarr-python reads it."""
        ...


@runtime_checkable
class Formatted(Protocol):
    """A source whose copy has a format unless another one is wanted."""

    def own_format(self) -> Format:
        """Return the format that what lies there has now; raises `NotARepositoryError`."""
        ...


@runtime_checkable
class Phased(Protocol):
    """A source whose objects move in an order unless another one is wanted."""

    @property
    def rounds(self) -> tuple[str, ...]:
        """Regular expressions, as `Options.phases`."""
        ...


@runtime_checkable
class Below(Protocol):
    """A source whose objects lie elsewhere than its URL says."""

    def namespace(self) -> str:
        """Return the URL of the place where they lie; "" is unknown."""
        ...


@runtime_checkable
class ManyWays(Protocol):
    """A source whose bytes can be read in several ways."""

    def reading_through(self, way: str) -> Source:
        """Return the same source, read one way; raises `InputError` that lists them."""
        ...


@runtime_checkable
class ObjectSource(Source, Protocol):
    """Objects as they are, under keys."""

    def list_objects(self, snapshot: Snapshot) -> Iterator[pa.RecordBatch]:
        """Yield all objects of the snapshot in the order of their keys (`OBJECT_SCHEMA`).

        The order is that of code points.
        """
        ...

    def notes(self) -> tuple[str, ...]:
        """Return what the user ought to know of the last listing, such as what it left out."""
        ...
