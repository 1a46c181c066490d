"""Codecs: from a Zarr 3 chain to the order, filters and compressor of Zarr 2, same bytes. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numcodecs

from prefect_freight.errors import UnsupportedNodeError
from prefect_freight.formats.zarr.dtypes import (
    DataType,
    VariableLength,
    to_big_endian,
)
from prefect_freight.hierarchy.named import parse_named

SHUFFLES = {"noshuffle": 0, "shuffle": 1, "bitshuffle": 2}
CNAMES = ("blosclz", "lz4", "lz4hc", "snappy", "zlib", "zstd")
NUMCODECS = ("zlib", "bz2", "lzma", "lz4", "zstd", "gzip", "blosc")
# A document may leave out what only tells how to compress; these are zarr-python's defaults.
BLOSC = {"cname": "zstd", "clevel": 5, "shuffle": "noshuffle", "blocksize": 0}


@dataclass(frozen=True, slots=True)
class Codecs:
    """How chunks are stored, in the fields of a Zarr 2 document."""

    data_type: DataType
    """In the stored byte order."""
    order: Literal["C", "F"]
    filters: list[dict[str, Any]] | None
    compressor: dict[str, Any] | None


def to_v2_codecs(codecs: Iterable[Any], data_type: DataType, chunks: Sequence[int]) -> Codecs:
    """Return the codecs of a Zarr 3 document in the terms of Zarr 2, so that bytes stay the same.

    Raises `UnsupportedNodeError` where Zarr 2 cannot express them.
    """
    chain = [parse_named(codec) for codec in codecs]
    axes = list(range(len(chunks)))
    # Several are allowed in a row; only what they come to together is of interest.
    while chain and chain[0][0] == "transpose":
        axes = _transposed(axes, chain.pop(0)[1].get("order"))
    if not chain:
        raise UnsupportedNodeError("it has no codec that makes bytes of an array")
    data_type, filters = _serializer(*chain[0], data_type)
    if len(chain) > 2:
        names = ", ".join(name for name, _ in chain[1:])
        raise UnsupportedNodeError(f"Zarr 2 has one compressor, and it has several codecs: {names}")
    compressor = _compressor(*chain[1]) if len(chain) == 2 else None
    return Codecs(data_type, _order(axes, chunks), filters, compressor)


def _transposed(axes: list[int], order: Any) -> list[int]:
    if order in ("C", "F"):  # an early draft's spelling
        return axes if order == "C" else axes[::-1]
    if not isinstance(order, list | tuple) or sorted(order) != list(range(len(axes))):
        raise UnsupportedNodeError(f"transpose has the order {order!r}, which is no permutation")
    return [axes[axis] for axis in order]


def _order(axes: list[int], chunks: Sequence[int]) -> Literal["C", "F"]:
    # Where an axis of one element stands among the others changes nothing in the bytes.
    long = [axis for axis in axes if chunks[axis] > 1]
    if long == sorted(long):
        return "C"
    if long == sorted(long, reverse=True):
        return "F"
    raise UnsupportedNodeError(
        f"Zarr 2 knows C and F order only, and its axes are stored as {axes}"
    )


def _serializer(
    name: str, configuration: Mapping[str, Any], data_type: DataType
) -> tuple[DataType, list[dict[str, Any]] | None]:
    if name == "sharding_indexed":
        raise UnsupportedNodeError("Zarr 2 has no shards")
    if isinstance(data_type, VariableLength):
        if name != data_type.value:
            raise UnsupportedNodeError(f"Zarr 2 stores this data type by {data_type}, not {name!r}")
        return data_type, [{"id": data_type.value}]
    if name != "bytes":
        raise UnsupportedNodeError(f"Zarr 2 has no counterpart for the codec {name!r}")
    match configuration.get("endian"):
        case "little" | None:  # what has single bytes only needs none
            return data_type, None
        case "big":
            return to_big_endian(data_type), None
        case endian:
            raise UnsupportedNodeError(f"the codec 'bytes' has the unknown endian {endian!r}")


def _compressor(name: str, configuration: Mapping[str, Any]) -> dict[str, Any]:
    match name:
        case "zstd":
            # Without `checksum`, which old readers refuse; each frame tells itself if it has one.
            config = {"id": "zstd", "level": configuration.get("level", 0)}
        case "gzip":
            config = {"id": "gzip", "level": configuration.get("level", 5)}
        case "blosc":
            config = _blosc({key: configuration.get(key, value) for key, value in BLOSC.items()})
        case _ if name.removeprefix("numcodecs.") in NUMCODECS and name.startswith("numcodecs."):
            config = dict(configuration) | {"id": name.removeprefix("numcodecs.")}
            # As with zstd above: an old reader refuses the key, and the bytes tell it themselves.
            config.pop("checksum", None)
        case _:
            raise UnsupportedNodeError(f"Zarr 2 has no counterpart for the codec {name!r}")
    try:
        # Tried with what will read it, rather than by a list of what each version of it takes.
        numcodecs.get_codec(config)
    except (ValueError, TypeError) as err:
        raise UnsupportedNodeError(f"the codec {name!r} has a bad configuration: {err}") from err
    return config


def _blosc(configuration: dict[str, Any]) -> dict[str, Any]:
    # Without `typesize`, which old readers refuse; each chunk has it in its header.
    cname, shuffle = configuration["cname"], configuration["shuffle"]
    if cname not in CNAMES or shuffle not in SHUFFLES:
        raise UnsupportedNodeError(f"blosc with {cname!r} and shuffle {shuffle!r} is unknown")
    return {"id": "blosc"} | configuration | {"shuffle": SHUFFLES[shuffle]}
