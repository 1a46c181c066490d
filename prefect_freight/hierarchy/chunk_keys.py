"""The names of nodes and chunks in a copy. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from prefect_freight.errors import InputError, UnsupportedNodeError
from prefect_freight.hierarchy.document_names import DOCUMENT_NAMES
from prefect_freight.hierarchy.named import parse_named
from prefect_freight.model import CONTROL_AREA
from prefect_freight.plan.keys import check_key

Coords = npt.NDArray[np.uint32]
NUMBER = "(?:0|[1-9][0-9]{0,9})"
"""An index along an axis, as keys spell it."""


def check_node_path(path: str) -> None:
    """Return if a node of this path can be exported: its keys are safe and no one else's.

    Raises `InputError` as `check_key` does, and for the names of the formats' own documents and of
    the control area.
    """
    if not path:
        return
    check_key(path)
    segments = path.split("/")
    # The names of both formats: a store that was exported as one may be exported as the other.
    taken = [name for name in segments if name in DOCUMENT_NAMES]
    taken += [name for name in segments[:1] if name == CONTROL_AREA]
    if taken:
        raise InputError(
            f"unsafe key {path!r}: a node cannot be called {taken[0]!r}, which is the name of "
            "an object that the copy has beside its nodes; rename the node in the source"
        )


@dataclass(frozen=True, slots=True)
class ChunkKeys:
    """How the keys of one array's chunks are spelled, relative to the store's root."""

    path: str
    """The array's path, `""` for the root."""
    style: Literal["default", "v2"]
    """`default` is `c/0/1`, for scalars `c`; `v2` is `0.1`, for scalars `0`."""
    separator: Literal[".", "/"]

    @property
    def folder(self) -> str:
        """What all keys of the array's chunks begin with."""
        return f"{self.path}/" if self.path else ""

    def pattern(self, ndim: int) -> str:
        """Return what matches (RE2) the keys of chunks behind `folder`."""
        joint = "[.]" if self.separator == "." else "/"
        numbers = joint.join([NUMBER] * ndim)
        if self.style == "v2":
            return f"^{numbers or '0'}$"
        return f"^c{joint}{numbers}$" if ndim else "^c$"

    def read(self, keys: pa.StringArray, ndim: int) -> tuple[npt.NDArray[np.bool_], Coords]:
        """Return which keys, without `folder`, are those of chunks; and the coordinates of these.

        The inverse of `spell`, in columns.
        """
        is_chunk = pc.match_substring_regex(keys, self.pattern(ndim))
        chosen = keys.filter(is_chunk)
        matched = is_chunk.to_numpy(zero_copy_only=False)
        if not ndim:
            return matched, np.empty((len(chosen), 0), np.uint32)
        if self.style == "default":
            chosen = pc.utf8_slice_codeunits(chosen, len(f"c{self.separator}"))
        parts = pc.split_pattern(chosen, self.separator).flatten().cast(pa.uint64())
        coords = parts.to_numpy(zero_copy_only=False).reshape(-1, ndim)
        fits = (coords < 2**32).all(axis=1)
        matched[np.flatnonzero(matched)[~fits]] = False
        return matched, coords[fits].astype(np.uint32)

    def spell(self, coords: npt.NDArray[Any]) -> pa.StringArray:
        """Return the key of each chunk, given its grid coordinates (n, ndim), as strings.

        Follows the chunk key encodings of the Zarr 3 specification, in columns.
        """
        n, ndim = coords.shape
        folder = self.folder
        if ndim == 0:
            key = folder + ("c" if self.style == "default" else "0")
            return pa.array([key] * n, pa.string())
        axes = [
            pc.cast(pa.array(np.ascontiguousarray(coords[:, axis])), pa.string())
            for axis in range(ndim)
        ]
        keys: pa.StringArray = pc.binary_join_element_wise(*axes, self.separator)
        head = f"{folder}c{self.separator}" if self.style == "default" else folder
        return self._prefixed(head, keys) if head else keys

    @staticmethod
    def _prefixed(head: str, keys: pa.StringArray) -> pa.StringArray:
        parts: list[Any] = [pa.scalar(head), keys, ""]
        prefixed: pa.StringArray = pc.binary_join_element_wise(*parts)
        return prefixed


def chunk_keys_of(path: str, document: Mapping[str, Any]) -> ChunkKeys:
    """Return how an array's document, of Zarr 3 or `.zarray` of Zarr 2, has its chunks named.

    Raises `UnsupportedNodeError` for what no reader of ours knows.
    """
    if document.get("zarr_format") == 2:
        # Null is what one library writes for the usual one.
        return _chunk_keys(path, "v2", document.get("dimension_separator") or ".")
    name, configuration = parse_named(document["chunk_key_encoding"])
    if name not in ("default", "v2"):
        raise UnsupportedNodeError(f"its chunk key encoding {name!r} is unknown")
    style: Literal["default", "v2"] = "v2" if name == "v2" else "default"
    return _chunk_keys(path, style, configuration.get("separator", "." if style == "v2" else "/"))


def _chunk_keys(path: str, style: Literal["default", "v2"], separator: Any) -> ChunkKeys:
    if separator not in (".", "/"):
        raise UnsupportedNodeError(f"its chunk keys have the unknown separator {separator!r}")
    return ChunkKeys(path, style, separator)
