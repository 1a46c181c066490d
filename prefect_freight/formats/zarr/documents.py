"""What a node of a snapshot becomes in the copy: all that differs between Zarr 2 and Zarr 3. Pure.

The input is the node's metadata document, of Zarr 3 or of Zarr 2. Chunks are copied as they are, so
the documents of the copy must tell how the source's bytes are to be read, and the chunks' keys must
be spelled as these documents promise. Follows the Zarr 2 and Zarr 3 core specifications,
`consolidated metadata` as zarr-python writes it, and xarray's conventions for both.
"""

import json
import re
import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from prefect_freight.errors import InputError, UnsupportedNodeError
from prefect_freight.formats.zarr.codecs import to_v2_codecs
from prefect_freight.formats.zarr.documents2 import DIMENSIONS, to_v3_array, to_v3_group
from prefect_freight.formats.zarr.dtypes import parse_data_type, to_v2_data_type
from prefect_freight.formats.zarr.fill import (
    FillChunk,
    fill_chunk,
    parse_fill_value,
    to_v2_fill_value,
)
from prefect_freight.formats.zarr.masks import plan_masking
from prefect_freight.hierarchy.chunk_keys import ChunkKeys, check_node_path, chunk_keys_of
from prefect_freight.hierarchy.document_names import ARRAY2, ATTRIBUTES2, GROUP2, NODE, document_key
from prefect_freight.hierarchy.grid import array_shape, grid_size, regular_chunks
from prefect_freight.model import Format

Documents = tuple[tuple[str, bytes], ...]

NODE_FIELDS = ("zarr_format", "node_type", "attributes")
GROUP_FIELDS = frozenset({*NODE_FIELDS, "consolidated_metadata"})
ARRAY_FIELDS = frozenset(
    {
        *NODE_FIELDS,
        *("shape", "data_type", "chunk_grid", "chunk_key_encoding", "fill_value", "codecs"),
        *("dimension_names", "storage_transformers"),
    }
)


@dataclass(frozen=True, slots=True)
class TargetGroup:
    """A group of the copy."""

    path: str
    """`""` is the root."""
    documents: Documents
    """Metadata documents: key relative to the store's root, bytes."""
    notes: tuple[str, ...] = ()
    """What is lost, for the user."""


@dataclass(frozen=True, slots=True)
class TargetArray:
    """An array of the copy."""

    path: str
    """`""` is the root."""
    grid: tuple[int, ...]
    """Number of stored chunks per axis, () for scalars, which have one."""
    documents: Documents
    """Metadata documents: key relative to the store's root, bytes."""
    keys: ChunkKeys
    fill: FillChunk | None = None
    """If not None, every chunk of the grid that the source does not store has to be written."""
    notes: tuple[str, ...] = ()
    """What is lost, for the user."""

    @property
    def fill_chunk(self) -> bytes | None:
        """The bytes to write for chunks that the source does not store; None leaves them missing.

        Encoded when asked for: look at `fill` to learn whether there are any.
        """
        return None if self.fill is None else self.fill.encode()

    def chunk_keys(self, coords: npt.NDArray[Any]) -> pa.StringArray:
        """Return the keys of chunks, given by grid coordinates (n, ndim), relative to the root."""
        return self.keys.spell(coords)

    def in_grid(self, coords: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
        """Return for each chunk (n, ndim) if it belongs to the array: a resize leaves others."""
        # A grid may have more chunks than fit the numbers of NumPy; a chunk's index has 32 bits.
        inside = coords < np.array([min(n, 2**32) for n in self.grid], np.uint64)
        return np.asarray(inside.all(axis=1), np.bool_)


def plan_array(
    path: str,
    document: Mapping[str, Any],
    format_: Format,
    attributes: Mapping[str, Any] | None = None,
) -> TargetArray:
    """Return the array's counterpart in the copy.

    `document` is of Zarr 3, or of Zarr 2, where `attributes` are what `.zattrs` has. Raises
    `UnsupportedNodeError`, naming array, reason and cure, if the format cannot express what the
    document holds, and `InputError` for a path that is no safe key.
    """
    check_node_path(path)
    if _is_zarr2(document):
        plan2 = _array2_kept if format_ is Format.ZARR2 else _array2_as_3
        return _explained("array", path, format_, lambda: plan2(path, document, attributes), 2)
    plan = _array2 if format_ is Format.ZARR2 else _array3
    return _explained("array", path, format_, lambda: plan(path, document))


def plan_group(
    path: str,
    document: Mapping[str, Any],
    format_: Format,
    attributes: Mapping[str, Any] | None = None,
) -> TargetGroup:
    """Return the group's counterpart in the copy; raises as `plan_array` does."""
    check_node_path(path)
    if _is_zarr2(document):
        if format_ is Format.ZARR2:
            return TargetGroup(path, _kept(path, GROUP2, document, attributes))
        as_3 = to_json(to_v3_group(attributes or {}))
        return TargetGroup(path, ((document_key(path, NODE), as_3),))
    plan = _group2 if format_ is Format.ZARR2 else _group3
    return _explained("group", path, format_, lambda: plan(path, document))


def _array3(path: str, document: Mapping[str, Any]) -> TargetArray:
    if document.get("storage_transformers"):
        raise UnsupportedNodeError("it has storage transformers, which decide where chunks lie")
    keys = chunk_keys_of(path, document)
    documents = ((document_key(path, NODE), to_json(document)),)
    return TargetArray(path, grid_size(document), documents, keys)


def _array2(path: str, document: Mapping[str, Any]) -> TargetArray:
    notes = _unknown_fields(document, ARRAY_FIELDS)
    if document.get("storage_transformers"):
        raise UnsupportedNodeError("Zarr 2 has no storage transformers")
    shape, chunks = array_shape(document), regular_chunks(document)
    grid = grid_size(document)
    data_type = parse_data_type(document["data_type"])
    codecs = to_v2_codecs(document["codecs"], data_type, chunks)
    fill = parse_fill_value(document["fill_value"], codecs.data_type)
    attributes, more_notes = _dimensions(document, len(shape))
    masking = plan_masking(codecs.data_type, fill, attributes, visible=DIMENSIONS in attributes)
    array = {
        "zarr_format": 2,
        "shape": shape,
        "chunks": chunks,
        "dtype": to_v2_data_type(codecs.data_type),
        "order": codecs.order,
        "filters": codecs.filters,
        "compressor": codecs.compressor,
        "fill_value": None if masking.fill is None else to_v2_fill_value(masking.fill),
        # What readers assume where there is no such field, which old ones do not know.
        "dimension_separator": ".",
    }
    return TargetArray(
        path,
        grid,
        _documents(path, ARRAY2, array, masking.attributes),
        ChunkKeys(path, "v2", "."),
        fill_chunk(fill, prod(chunks), codecs.compressor) if masking.write_out else None,
        tuple(f"array {path!r}: {note}" for note in (*notes, *more_notes, *masking.notes)),
    )


def _array2_kept(
    path: str, document: Mapping[str, Any], attributes: Mapping[str, Any] | None
) -> TargetArray:
    """Return the array as it is: what its types and codecs are is no matter of the copy's."""
    documents = _kept(path, ARRAY2, document, attributes)
    return TargetArray(path, grid_size(document), documents, chunk_keys_of(path, document))


def _array2_as_3(
    path: str, document: Mapping[str, Any], attributes: Mapping[str, Any] | None
) -> TargetArray:
    as_3, notes = to_v3_array(document, attributes or {})
    told = tuple(f"array {path!r}: {note}" for note in notes)
    return replace(_array3(path, as_3), notes=told)


def _kept(
    path: str, name: str, document: Mapping[str, Any], attributes: Mapping[str, Any] | None
) -> Documents:
    own = (document_key(path, name), to_json(document))
    if attributes is None:
        return (own,)
    return own, (document_key(path, ATTRIBUTES2), to_json(attributes))


def _is_zarr2(document: Mapping[str, Any]) -> bool:
    return document.get("zarr_format") == 2


def _group3(path: str, document: Mapping[str, Any]) -> TargetGroup:
    # Its consolidated metadata may be older than the nodes; the root's is made anew.
    own = {key: value for key, value in document.items() if key != "consolidated_metadata"}
    return TargetGroup(path, ((document_key(path, NODE), to_json(own)),))


def _group2(path: str, document: Mapping[str, Any]) -> TargetGroup:
    notes = tuple(f"group {path!r}: {note}" for note in _unknown_fields(document, GROUP_FIELDS))
    attributes = document.get("attributes") or {}
    return TargetGroup(path, _documents(path, GROUP2, {"zarr_format": 2}, attributes), notes)


def _unknown_fields(document: Mapping[str, Any], fields: frozenset[str]) -> list[str]:
    """Return notes on the fields that are left out; refuse those that may not be."""
    notes = []
    for name in sorted(set(document) - fields):
        value = document[name]
        if not isinstance(value, Mapping) or value.get("must_understand") is not False:
            raise UnsupportedNodeError(f"its field {name!r} must be understood, and is not")
        notes.append(f"Zarr 2 has no field {name!r}; it is left out")
    return notes


def _dimensions(document: Mapping[str, Any], ndim: int) -> tuple[dict[str, Any], list[str]]:
    """Return the attributes with the dimensions' names among them, as xarray wants them."""
    attributes = dict(document.get("attributes") or {})
    names = document.get("dimension_names")
    if names is None and ndim:
        return attributes, []
    names = list(names or [])
    if len(names) != ndim or not all(isinstance(name, str | None) for name in names):
        raise UnsupportedNodeError(f"its dimension_names {names} do not fit {ndim} dimensions")
    if attributes.setdefault(DIMENSIONS, names) != names:
        raise UnsupportedNodeError(
            f"its attribute {DIMENSIONS} {attributes[DIMENSIONS]!r}, which in Zarr 2 names the "
            f"dimensions, differs from its dimension_names {names}; remove the attribute"
        )
    notes = []
    if None in names:
        # xarray opens no array of a group in which one has no names at all.
        notes.append(f"the nameless among its dimensions {names} are null, known to xarray only")
    own = document.get("attributes") or {}
    hidden = [name for name in own if name == DIMENSIONS or name.lower().startswith("_nc")]
    notes += [f"xarray does not show the attribute {name!r} of Zarr 2 arrays" for name in hidden]
    return attributes, notes


def _explained[T](
    kind: str, path: str, format_: Format, plan: Callable[[], T], version: int = 3
) -> T:
    """Return the plan; name node and cure in its errors."""
    # Of a group with all that it has, or it would stay for the sake of that.
    pattern = f"^{re.escape(path)}{'$' if kind == 'array' else '(/|$)'}"
    cure = f"Leave it out with --exclude {shlex.quote(pattern)}, or rewrite it in the source"
    own = f"zarr{version}"
    if format_ != own:
        cure = f"Export with --format {own}, which keeps it as it is. {cure}"
    try:
        return plan()
    except UnsupportedNodeError as err:
        raise UnsupportedNodeError(
            f"{kind} {path!r} cannot be {format_.value}: {err}. {cure}"
        ) from err
    except (KeyError, TypeError, ValueError, ArithmeticError) as err:
        if isinstance(err, InputError):
            raise
        raise UnsupportedNodeError(
            f"{kind} {path!r} has a metadata document that is not valid Zarr {version} "
            f"({type(err).__name__}: {err}). Repair it in the source"
        ) from err


def _documents(
    path: str, name: str, document: Mapping[str, Any], attributes: Mapping[str, Any]
) -> Documents:
    return _kept(path, name, document, attributes)


def to_json(document: Mapping[str, Any]) -> bytes:
    """Return a metadata document as the copy has it."""
    # NaN and infinities in attributes stand as bare words, as zarr-python writes them.
    return json.dumps(document, indent=2).encode()
