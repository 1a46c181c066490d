"""Zarr 2 stores that zarr-python wrote, exported, and read by zarr, xarray and tensorstore."""

import json
from pathlib import Path
from typing import Any, Literal

import numcodecs
import numpy as np
import pytest
import tensorstore
import xarray as xr
import zarr
from histories import data
from runners import export_at_once
from zarr.core.buffer import default_buffer_prototype

pytestmark = pytest.mark.filterwarnings("ignore")

PAIR = [("a", "i4"), ("b", "f8")]
NESTED = [("a", "u2"), ("n", [("s", "S2"), ("t", "M8[s]")])]
TYPES: list[Any] = [
    *("?", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8", "c8", "c16"),
    *(">i2", ">f8", ">c8", ">U3", ">M8[s]", "M8[s]", "M8[10us]", "m8[ns]", "m8[D]"),
    *("U3", "S3", "V5", "str", PAIR, NESTED, [("a", ">i4"), ("n", [("t", ">c8")])]),
]
FILLS: list[tuple[Any, Any]] = [
    *(("f4", np.nan), ("f8", np.inf), ("f2", -np.inf), ("f8", -0.0), ("f4", 0.1), (">f4", 0.1)),
    *(("c8", complex(np.nan, -0.0)), ("c16", complex(1, -np.inf)), ("?", True), ("i2", -999)),
    *(("i8", 2**63 - 1), ("u8", 2**64 - 1), ("m8[h]", np.timedelta64(5, "h"))),
    *(("M8[s]", np.datetime64("NaT", "s")), ("M8[ms]", np.datetime64(-7, "ms"))),
    *(("U3", "né"), ("S3", b"a"), ("V3", np.void(b"\x00\x01\xff")), ("str", "long é")),
    (PAIR, np.array((7, 2.5), PAIR)[()]),
]
COMPRESSORS: list[Any] = [
    *(None, numcodecs.Zstd(3, checksum=True), numcodecs.GZip(5), numcodecs.Zlib(2)),
    *(numcodecs.BZ2(1), numcodecs.LZMA(preset=1), numcodecs.LZ4(), numcodecs.Blosc("zstd", 1, 0)),
    *(numcodecs.Blosc("lz4", 5, 2), numcodecs.Blosc("zlib", 5, -1)),
]
FILTERS: list[tuple[str, list[Any]]] = [
    ("i4", [numcodecs.Delta("<i4")]),
    ("i4", [numcodecs.Delta("<i4", "<i2")]),
    ("f8", [numcodecs.FixedScaleOffset(0.5, 2, "<f8", "<i2")]),
    ("f8", [numcodecs.Quantize(3, "<f8")]),
    ("f4", [numcodecs.BitRound(9)]),
    ("f4", [numcodecs.AsType("<f2", "<f4")]),
    ("?", [numcodecs.PackBits()]),
    ("f8", [numcodecs.Shuffle(8)]),
    ("f8", [numcodecs.Shuffle(8), numcodecs.Zlib(1), numcodecs.CRC32()]),
    ("i4", [numcodecs.Delta("<i4"), numcodecs.Fletcher32()]),
    ("i4", [numcodecs.Adler32(), numcodecs.JenkinsLookup3()]),
]
SHAPES: list[dict[str, Any]] = [
    *({"shape": (), "chunks": ()}, {"shape": (0, 3), "chunks": (1, 3)}, {"order": "F"}),
    *({"shape": (30,), "chunks": (2,)}, {"shape": (5, 4, 3), "chunks": (2, 3, 2), "order": "F"}),
    *(
        {"chunk_key_encoding": {"name": "v2", "separator": "/"}},
        {"order": "F", "filters": [numcodecs.Delta("<f4")]},
    ),
]
NUMBERS = [t for t in TYPES[:14] if t != "?"]
ARRAYS: dict[str, dict[str, Any]] = {
    **{f"type {t}": {"dtype": t} for t in TYPES},
    **{f"fill {t} {f!r}": {"dtype": t, "fill_value": f} for t, f in FILLS},
    **{f"codec {c!r}": {"dtype": "f4", "compressors": c} for c in COMPRESSORS},
    **{f"text by {c!r}": {"dtype": "str", "compressors": c} for c in COMPRESSORS[:2]},
    **{f"filters of {t} {f!r}": {"dtype": t, "filters": f} for t, f in FILTERS},
    **{f"shape {s}": {"dtype": "f4"} | s for s in SHAPES},
}
"""By what is odd of them."""
NAMES = {text: f"a{number}" for number, text in enumerate(ARRAYS)}


def sample(dtype: Any, shape: tuple[int, ...]) -> np.ndarray[Any, Any]:
    """Return distinct values of a data type."""
    n = int(np.prod(shape))
    if dtype == "str":
        return np.array([f"é{i}" * (i % 3) for i in range(n)], object).reshape(shape)
    dtype = np.dtype(dtype)
    if dtype.names:
        flat = np.zeros(n, dtype)
        for name in dtype.names:
            flat[name] = sample(dtype[name], (n,))
        return flat.reshape(shape)
    if dtype.kind == "V":
        return np.array([bytes([i + 1] * dtype.itemsize) for i in range(n)], dtype).reshape(shape)
    return (np.arange(n) + 1).astype(dtype).reshape(shape)


def create(group: zarr.Group, name: str, **options: Any) -> None:
    """Create an array with some chunks stored, and some missing."""
    # No compressor of zarr's encodes times, and no other those within structs.
    compressor = None if options["dtype"] is NESTED else numcodecs.Zstd()
    given = {"shape": (5, 4), "chunks": (2, 2), "compressors": compressor} | options
    shape = given["shape"]
    names = {"_ARRAY_DIMENSIONS": [f"d{n}_{axis}" for axis, n in enumerate(shape)]}
    given["attributes"] = names | given.get("attributes", {})
    array = group.create_array(name, **given)
    rows = min(2, shape[0]) if shape else 1
    if shape and rows:
        array[:rows] = sample(given["dtype"], (rows, *shape[1:]))
    elif not shape:
        array[...] = 7


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Return a Zarr 2 store, and its copies by their formats."""
    folder = tmp_path_factory.mktemp("zarr2")
    group = zarr.open_group(folder / "source", mode="w", zarr_format=2)
    for text, options in ARRAYS.items():
        create(group, NAMES[text], **options)
    for format_ in ("zarr2", "zarr3"):
        export_at_once(folder / "source", folder / format_, format=format_)
    return {name: folder / name for name in ("source", "zarr2", "zarr3")}


def same(one: Any, other: Any) -> bool:
    """Bit for bit; byte order does not count."""
    one, other = np.asarray(one), np.asarray(other)
    if one.dtype.kind in "OT" or one.shape != other.shape:
        return bool(np.array_equal(one, other))
    little = one.dtype.newbyteorder("<")
    return bool(one.astype(little).tobytes() == other.astype(little).tobytes())


@pytest.mark.parametrize("text", ARRAYS)
def test_zarr_reads_the_same_of_a_zarr3_copy(places: dict[str, Path], text: str) -> None:
    was = zarr.open_array(places["source"], path=NAMES[text], mode="r", zarr_format=2)
    now = zarr.open_array(places["zarr3"], path=NAMES[text], mode="r", zarr_format=3)
    assert same(was[...], now[...])
    document = json.loads((places["zarr3"] / NAMES[text] / "zarr.json").read_bytes())
    assert document["dimension_names"] == was.attrs["_ARRAY_DIMENSIONS"]


def alike(one: Any, other: Any) -> bool:
    """Compare as texts, since a NaN is not even itself."""
    return json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)


@pytest.mark.parametrize("text", [f"type {t}" for t in NUMBERS] + [f"shape {s}" for s in SHAPES])
def test_tensorstore_reads_the_same_of_a_zarr3_copy(places: dict[str, Path], text: str) -> None:
    if "Delta" in text:
        return  # which it lacks
    was = zarr.open_array(places["source"], path=NAMES[text], mode="r", zarr_format=2)
    kvstore = {"driver": "file", "path": f"{places['zarr3']}/{NAMES[text]}/"}
    opened = tensorstore.open({"driver": "zarr3", "kvstore": kvstore}, open=True).result()
    assert same(was[...], opened.read().result())


def test_documents_of_a_zarr3_copy_are_those_that_zarr_would_write(
    places: dict[str, Path],
) -> None:
    group = zarr.open_group(places["zarr3"], mode="r", use_consolidated=False)
    for name, array in group.arrays():
        ours = json.loads((places["zarr3"] / name / "zarr.json").read_bytes())
        written = array.metadata.to_buffer_dict(default_buffer_prototype())["zarr.json"]
        assert alike(ours, json.loads(written.to_bytes())), name


def test_a_zarr2_copy_is_the_same_store_with_consolidated_metadata(
    places: dict[str, Path],
) -> None:
    was, now = data(places["source"]), data(places["zarr2"])
    assert now.keys() - was.keys() == {".zmetadata"}
    assert not was.keys() - now.keys()
    documents = {key for key in was if key.rpartition("/")[2].startswith(".z")}
    for key in was:
        if key in documents:
            assert alike(json.loads(was[key]), json.loads(now[key]))
        else:
            assert was[key] == now[key]
    consolidated = json.loads(now[".zmetadata"])["metadata"]
    assert alike(consolidated, {key: json.loads(was[key]) for key in documents})


MASKED = [
    text
    for text, options in ARRAYS.items()
    if options["dtype"] == "?" or str(options["dtype"])[-2:-1] in ("i", "u", "f", "c", "1")
]


@pytest.mark.parametrize("text", MASKED)
def test_xarray_shows_of_a_zarr3_copy_what_it_shows_of_the_source(
    places: dict[str, Path], text: str
) -> None:
    def read(place: str, number: Literal[2, 3]) -> xr.Dataset:
        others = [name for name in NAMES.values() if name != NAMES[text]]
        store = zarr.open_group(places[place], mode="r", zarr_format=number).store
        with xr.open_zarr(
            store, zarr_format=number, drop_variables=others, consolidated=False, chunks=None
        ) as opened:
            return opened.load()

    was, now = read("source", 2), read("zarr3", 3)
    assert now.identical(was)
    assert {k: v.dtype for k, v in now.variables.items()} == {
        k: v.dtype for k, v in was.variables.items()
    }
