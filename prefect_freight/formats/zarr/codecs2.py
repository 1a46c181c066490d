"""Codecs: from order, filters and compressor of Zarr 2 to a chain of Zarr 3, same bytes. Pure."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from prefect_freight.errors import UnsupportedNodeError
from prefect_freight.formats.zarr.codecs import BLOSC, CNAMES, SHUFFLES
from prefect_freight.formats.zarr.dtypes import DataType, VariableLength, endian_of

OF_ARRAYS = {"delta", "fixedscaleoffset", "quantize", "bitround", "packbits", "astype"}
"""Filters that make an array of an array; the specification has them as `numcodecs.…`."""
OF_BYTES = {
    *("zlib", "bz2", "lzma", "lz4", "zstd", "gzip", "blosc", "shuffle"),
    *("crc32", "crc32c", "adler32", "fletcher32", "jenkins_lookup3"),
}
"""Those that make bytes of bytes, and compressors."""
AUTOMATIC = -1
"""Blosc's shuffle by the size of an element."""


def object_codec(document: Mapping[str, Any]) -> str | None:
    """Return the codec that makes bytes of objects, the first of the filters; None without one."""
    filters = document.get("filters") or []
    return str(filters[0].get("id")) if filters else None


def to_v3_codecs(document: Mapping[str, Any], data_type: DataType) -> list[dict[str, Any]]:
    """Return the codecs of a Zarr 2 document in the terms of Zarr 3, so that bytes stay the same.

    Raises `UnsupportedNodeError` where Zarr 3 cannot express them.
    """
    filters = [dict(one) for one in document.get("filters") or []]
    if isinstance(data_type, VariableLength):
        del filters[0]
        serializer: dict[str, Any] = {"name": data_type.value, "configuration": {}}
        first = 0
    else:
        behind_arrays = (n for n, one in enumerate(filters) if one["id"] not in OF_ARRAYS)
        first = next(behind_arrays, len(filters))
        serializer = _serializer(data_type, filters[:first])
    behind = [*filters[first:], *([document["compressor"]] if document.get("compressor") else [])]
    return [
        *_transposition(document.get("order", "C"), document["shape"]),
        *(_numcodecs(one) for one in filters[:first]),
        serializer,
        *(_of_bytes(dict(one), data_type) for one in behind),
    ]


def _transposition(order: Any, shape: Sequence[int]) -> Iterator[dict[str, Any]]:
    if order not in ("C", "F"):
        raise UnsupportedNodeError(f"its order {order!r} is unknown")
    if order == "F" and len(shape) > 1:
        axes = list(range(len(shape)))[::-1]
        yield {"name": "transpose", "configuration": {"order": axes}}


def _serializer(data_type: Any, filters: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    orders = [endian_of(data_type)]
    for one in filters:
        # A filter names the types that it takes and makes with their order of bytes; the last of
        # them is what is stored, and in Zarr 3 the order is the serializer's alone.
        names = [one[name] for name in ("dtype", "astype", "encode_dtype") if name in one]
        orders += [endian_of(np.dtype(name)) for name in names]
        if "big" in orders:
            raise UnsupportedNodeError(
                f"Zarr 3 has no counterpart for the filter {one['id']!r} of big-endian numbers"
            )
    endian = next((order for order in orders if order), None)
    return {"name": "bytes"} | ({"configuration": {"endian": endian}} if endian else {})


def _of_bytes(config: dict[str, Any], data_type: DataType) -> dict[str, Any]:
    match name := config.pop("id"):
        case "zstd":
            checksum = bool(config.get("checksum", False))
            return _named("zstd", {"level": config.get("level", 0), "checksum": checksum})
        case "gzip":
            return _named("gzip", {"level": config.get("level", 1)})
        case "blosc":
            return _named("blosc", _blosc(config, data_type))
        case _ if name in OF_BYTES:
            return _numcodecs({"id": name, **config})
        case _:
            raise UnsupportedNodeError(f"Zarr 3 has no counterpart for the codec {name!r} here")


def _blosc(config: Mapping[str, Any], data_type: DataType) -> dict[str, Any]:
    itemsize = 1 if isinstance(data_type, VariableLength) else data_type.itemsize
    cname, shuffle = config.get("cname", "lz4"), config.get("shuffle", 1)
    if shuffle == AUTOMATIC:  # as numcodecs decides it
        shuffle = 2 if itemsize == 1 else 1
    names = {number: name for name, number in SHUFFLES.items()}
    if cname not in CNAMES or shuffle not in names:
        raise UnsupportedNodeError(f"blosc with {cname!r} and shuffle {shuffle!r} is unknown")
    return {
        "typesize": itemsize,
        "cname": cname,
        "clevel": config.get("clevel", BLOSC["clevel"]),
        "shuffle": names[shuffle],
        "blocksize": config.get("blocksize", BLOSC["blocksize"]),
    }


def _numcodecs(config: Mapping[str, Any]) -> dict[str, Any]:
    rest = {key: value for key, value in config.items() if key != "id"}
    return _named(f"numcodecs.{config['id']}", rest)


def _named(name: str, configuration: Mapping[str, Any]) -> dict[str, Any]:
    return {"name": name, "configuration": dict(configuration)}
