"""Where objects are read from and written to: S3, a local disk, anything that fsspec opens.

A store is a flat name space of objects under one root, the store's URL. Keys are relative to it,
`/`-separated, without a leading `/`. Sources read through stores and destinations are stores, so
that the bytes of both take the same way in and the same errors come out.

`urls` turns a path or URL into a store of `local`, `s3` or `fsspec`, and `credentials` refuses
those in a URL; `disk`, `exclusive`, `files` and `links` are what `local` needs of a file system.
`pages` makes the columns of listings, `sorting` puts these in order. Stores over another one are
`wrapping` it: `patient` is one that is waited for, `limited` one that is no faster than it may be,
`remembering` reads records once; `overlay` is that of dry runs. `locations` tells what lies above a
store, and whether two are at one service. Not promised: any order of a listing, that an object
lasts through a power failure (but see `Flushing`), any atomic change of more than one object, and
that `write_new` and `replace` are atomic: of what fsspec opens, on a file system without locks, on
an S3 service without conditional puts, two callers at once may both be told that they did it.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Protocol, runtime_checkable

import pyarrow as pa

LISTING_SCHEMA = pa.schema(
    [
        pa.field("key", pa.string(), nullable=False),
        pa.field("size", pa.int64(), nullable=False),  # bytes
        pa.field("etag", pa.string()),
    ]
)
"""Columns of a listing page: the key relative to the root, its size, its entity tag if known."""

type Attributes = Mapping[str, str]
"""What some stores keep beside an object's bytes: `Content-Type`, and the user's metadata."""


class Store(Protocol):
    """Objects under one root.

    All methods may be called from many threads at once, and a store can be pickled: it opens its
    connection on first use. None but `list` retries (see `prefect_freight.retry`), and all raise
    only errors of `prefect_freight.errors`: `TransientError` for what may be retried,
    `AccessError`, `NoSuchBucketError`, `NotFoundError`, `StorageFullError`, and `InputError` for a
    key that the store cannot hold.
    """

    @property
    def url(self) -> str:
        """The root: absolute, in canonical spelling, without a trailing `/` and without secrets."""
        ...

    def read(self, key: str, offset: int = 0, length: int | None = None) -> bytes:
        """Return `length` bytes from `offset` (to the end without a length).

        Raises `NotFoundError` if there is no such object, and `IntegrityError` if it ends before
        `offset + length`.
        """
        ...

    def read_tagged(self, key: str) -> tuple[bytes, str | None]:
        """Return an object and its entity tag, both of the same moment.

        The tag is what `list` gives of the object. Raises `IntegrityError` if it changes meanwhile.
        """
        ...

    def write(self, key: str, data: bytes, attributes: Attributes | None = None) -> None:
        """Put an object in place of an older one; a reader sees old or new, never a part.

        Only a store that is `Attributed` keeps the attributes.
        """
        ...

    def write_new(self, key: str, data: bytes) -> bool:
        """Put an object unless there is one already; return whether it was put."""
        ...

    def replace(self, key: str, data: bytes, tag: str | None) -> bool:
        """Put an object in place of the one that `read_tagged` gave with `tag`.

        Returns whether it was put: False where another lies there now, or none.
        """
        ...

    def delete(self, keys: Iterable[str]) -> None:
        """Delete objects; a key without an object is no error."""
        ...

    def list(self, prefix: str = "", *, without: str = "") -> Iterator[pa.RecordBatch]:
        """Yield all objects whose key starts with `prefix` as pages of `LISTING_SCHEMA`.

        But none whose key starts with `without`, which are not asked for either. Both are empty or
        end in `/`. The order is the store's. A missing root is empty. A listing that breaks goes on
        where it broke, which the caller could not do: do not retry it.
        """
        ...


@runtime_checkable
class Attributed(Protocol):
    """A store that keeps attributes beside an object's bytes."""

    def can_keep(self, attributes: Attributes) -> bool:
        """Say whether it keeps these; it refuses others."""
        ...


@runtime_checkable
class Flushing(Protocol):
    """A store that answers before what was written would outlive a power failure."""

    def flush(self) -> None:
        """Return when all that was written would."""
        ...
