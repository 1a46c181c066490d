"""The names of nodes and chunks in a copy. Pure."""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from prefect_freight.errors import InputError
from prefect_freight.model import CONTROL_AREA
from prefect_freight.plan.keys import check_key

DOCUMENT_NAMES = frozenset({"zarr.json", ".zarray", ".zgroup", ".zattrs", ".zmetadata"})


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

    def spell(self, coords: npt.NDArray[Any]) -> pa.StringArray:
        """Return the key of each chunk, given its grid coordinates (n, ndim), as strings.

        Follows the chunk key encodings of the Zarr 3 specification, in columns.
        """
        n, ndim = coords.shape
        folder = f"{self.path}/" if self.path else ""
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
