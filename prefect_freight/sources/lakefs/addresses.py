"""Where an object of a commit is read from, as a text that manifests keep.

It has all that any way of reading needs, since a run that is resumed may read another way.
"""

from dataclasses import dataclass
from typing import Self
from urllib.parse import unquote

import pyarrow as pa
import pyarrow.compute as pc

SCHEME = "lakefs://"
ID_SIZE = 64


@dataclass(frozen=True, slots=True)
class Location:
    """An object of a commit."""

    commit: str
    key: str
    """Its whole key in the repository."""
    address: str
    """Of its bytes in the storage below, such as `s3://bucket/namespace/data/…`."""

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the location that `to_locations` wrote.

        >>> Location.parse(f"lakefs://r/{'0' * 64}/a b at s3://b/with%20space").key
        'a b'
        """
        path, _, address = text.rpartition(" at ")
        inside = path.removeprefix(SCHEME).partition("/")[2]
        return cls(inside[:ID_SIZE], inside[ID_SIZE + 1 :], unquote(address))


def to_locations(repository: str, commit: str, keys: pa.Array, addresses: pa.Array) -> pa.Array:
    """Return the locations of a commit's objects, as lakeFS's own URIs and their addresses."""
    # An address may hold anything if it was imported, but no space in this text.
    quoted = pc.replace_substring(pc.replace_substring(addresses, "%", "%25"), " ", "%20")
    root = f"{SCHEME}{repository}/{commit}/"
    return pc.binary_join_element_wise(root, keys, " at ", quoted, "")
