"""Real Zarr 3 arrays, their documents planned anew, their chunk bytes copied, read by others."""

import base64
import itertools
import json
import struct
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import tensorstore
import xarray as xr
import zarr
import zarr.codecs as zc
import zarr.codecs.numcodecs as zn
from zarr.dtype import VariableLengthBytes

from prefect_freight.formats.zarr.consolidated import plan_consolidated
from prefect_freight.formats.zarr.documents import TargetArray, TargetGroup, plan_array, plan_group
from prefect_freight.model import Format

pytestmark = pytest.mark.filterwarnings("ignore")
BOTH = pytest.mark.parametrize("format_", list(Format))


def number_of(format_: Format) -> Literal[2, 3]:
    return 2 if format_ is Format.ZARR2 else 3


def plan_all(source: Path, format_: Format) -> list[TargetArray | TargetGroup]:
    """Plan every node of a Zarr 3 store on disk."""
    plans: list[TargetArray | TargetGroup] = []
    for file in sorted(source.rglob("zarr.json")):
        path = file.parent.relative_to(source).as_posix().removeprefix(".")
        document = json.loads(file.read_bytes())
        plan = plan_array if document["node_type"] == "array" else plan_group
        plans.append(plan(path, document, format_))
    return plans


def stored_chunks(source: Path, path: str) -> Iterator[tuple[tuple[int, ...], bytes]]:
    """Yield coordinates and bytes of the chunks that an array has."""
    array = zarr.open_array(source, path=path, mode="r")
    sizes = zip(array.shape, array.shards or array.chunks, strict=True)
    grid = itertools.product(*(range(-(-n // size)) for n, size in sizes))
    for coords in grid:
        file = source / path / array.metadata.encode_chunk_key(coords)
        if file.is_file():
            yield coords, file.read_bytes()


def copy(source: Path, target: Path, format_: Format) -> Path:
    """Copy a store as an export does: documents planned, chunks as they are or filled."""
    plans = plan_all(source, format_)
    objects = {key: data for plan in plans for key, data in plan.documents}
    objects |= plan_consolidated(plans, format_)
    for plan in plans:
        if isinstance(plan, TargetArray):
            there = dict(stored_chunks(source, plan.path))
            indices = list(np.ndindex(plan.grid))
            coords = np.array(indices, np.uint32).reshape(len(indices), len(plan.grid))
            for key, index in zip(plan.chunk_keys(coords).to_pylist(), indices, strict=True):
                data = there.get(index, plan.fill_chunk)
                if data is not None:
                    objects[key] = data
    for key, data in objects.items():
        (target / key).parent.mkdir(parents=True, exist_ok=True)
        (target / key).write_bytes(data)
    return target


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


def create(source: Path, **options: Any) -> zarr.Array[Any]:
    """Write a root group with the array `a` in group `g`: some chunks stored, some missing."""
    group = zarr.open_group(source, mode="a", zarr_format=3).require_group("g")
    shape = options.setdefault("shape", (5, 4))
    options.setdefault("chunks", (2, 2))
    names = options.pop("dimension_names", ["y", "x", "z"][: len(shape)])
    array = group.create_array("a", dimension_names=names, **options)
    if shape:
        with np.errstate(all="ignore"):
            array[:2] = sample(options["dtype"], (2, *shape[1:])) if shape[0] else 0
    return array


def read_both(source: Path, target: Path, format_: Format) -> tuple[Any, Any]:
    with zarr.config.set({"array.rectilinear_chunks": True}):
        was = zarr.open_array(source, path="g/a", mode="r")
        number = number_of(format_)
        now = zarr.open_array(target, path="g/a", mode="r", zarr_format=number)
        assert now.metadata.zarr_format == number
        return was[...], now[...]


def same(one: Any, other: Any) -> bool:
    """Bit for bit; byte order does not count."""
    one, other = np.asarray(one), np.asarray(other)
    if one.dtype.kind in "OT" or one.shape != other.shape:
        return bool(np.array_equal(one, other))
    little = one.dtype.newbyteorder("<")
    return bool(one.astype(little).tobytes() == other.astype(little).tobytes())


def tensorstore_read(target: Path, format_: Format) -> Any:
    driver = "zarr" if format_ is Format.ZARR2 else "zarr3"
    spec = {"driver": driver, "kvstore": {"driver": "file", "path": f"{target}/g/a/"}}
    return tensorstore.open(spec, open=True).result().read().result()


PLAIN = ["?", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8", "c8", "c16"]
TIMES = ["M8[s]", "M8[10us]", "m8[ns]", "m8[D]"]
OTHERS = [
    "U3",
    "S3",
    "V5",
    "str",
    [("a", "i4"), ("b", "f8")],
    [("a", "u2"), ("n", [("s", "S2"), ("t", "M8[s]")])],
]
FILLS: list[tuple[Any, Any]] = [
    # what a missing chunk must still read as
    ("f4", np.nan),
    ("f8", np.inf),
    ("f2", -np.inf),
    ("f8", -0.0),
    ("f4", 0.1),
    ("c8", complex(np.nan, -0.0)),
    ("c16", complex(1, -np.inf)),
    ("?", True),
    ("i8", 2**63 - 1),
    ("i8", -(2**63)),
    ("u8", 2**64 - 1),
    ("M8[s]", np.datetime64("NaT", "s")),
    ("M8[ms]", np.datetime64(-7, "ms")),
    ("m8[h]", np.timedelta64(5, "h")),
    ("U3", "né"),
    ("S3", b"a"),
    ("V3", np.void(b"\x00\x01\xff")),
    ("str", "long é"),
    ([("a", "i4"), ("b", "f8")], np.array((7, 2.5), [("a", "i4"), ("b", "f8")])[()]),
]
COMPRESSORS: list[Any] = [
    None,
    zc.ZstdCodec(level=3, checksum=True),
    zc.GzipCodec(level=5),
    zc.BloscCodec(cname="lz4", shuffle="bitshuffle"),
    zc.BloscCodec(cname="zlib", clevel=1, shuffle="noshuffle"),
    zn.Zlib(level=2),
    zn.BZ2(level=1),
    zn.LZMA(preset=1),
    zn.LZ4(),
    zn.Zstd(level=2),
    zn.Blosc(cname="zstd", shuffle=1),
    zn.GZip(level=1),
]
ORDERS = [None, (0, 1), (1, 0)]
KEYS = [(name, separator) for name in ("default", "v2") for separator in "./"]
ENDIANS: list[Literal["little", "big"]] = ["little", "big"]


def options_of(
    compressor: Any = None,
    order: Any = None,
    keys: Any = ("default", "/"),
    endian: Literal["little", "big"] = "little",
) -> dict[str, Any]:
    return {
        "compressors": compressor,
        "filters": None if order is None else [zc.TransposeCodec(order=order)],
        "chunk_key_encoding": {"name": keys[0], "separator": keys[1]},
        "serializer": zc.BytesCodec(endian=endian),
    }


def check(tmp_path: Path, format_: Format, options: dict[str, Any]) -> Path:
    if options["dtype"] == "str":
        options.pop("serializer", None)
    create(tmp_path / "source", **options)
    target = copy(tmp_path / "source", tmp_path / "target", format_)
    was, now = read_both(tmp_path / "source", target, format_)
    assert same(was, now)
    return target


@BOTH
@pytest.mark.parametrize("dtype", [*PLAIN, *TIMES, *OTHERS], ids=str)
def test_each_data_type_reads_the_same(tmp_path: Path, dtype: Any, format_: Format) -> None:
    target = check(tmp_path, format_, {"dtype": dtype, "compressors": zc.ZstdCodec()})
    if dtype in PLAIN:
        expected = zarr.open_array(tmp_path / "source", path="g/a", mode="r")[...]
        assert same(expected, tensorstore_read(target, format_))


@BOTH
@pytest.mark.parametrize(("dtype", "fill"), FILLS, ids=str)
def test_missing_chunks_read_as_the_fill_value(
    tmp_path: Path, dtype: Any, fill: Any, format_: Format
) -> None:
    target = check(
        tmp_path, format_, {"dtype": dtype, "fill_value": fill, "compressors": zc.GzipCodec()}
    )
    if dtype in PLAIN and not np.isnan(fill):
        assert (
            tensorstore_read(target, format_)[-1, -1].tobytes() == np.array(fill, dtype).tobytes()
        )


@pytest.mark.parametrize("dtype", ["f4", "i2"])
@pytest.mark.parametrize("compressor", COMPRESSORS, ids=str)
def test_each_compressor_reads_the_same_in_zarr2(
    tmp_path: Path, compressor: Any, dtype: str
) -> None:
    target = check(
        tmp_path, Format.ZARR2, {"dtype": dtype, "fill_value": 3} | options_of(compressor)
    )
    if not isinstance(compressor, zn.LZ4 | zn.LZMA):
        assert (tensorstore_read(target, Format.ZARR2)[2:] == 3).all()


@BOTH
@pytest.mark.parametrize("dtype", ["f8", "str"])
@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("keys", KEYS, ids=str)
def test_orders_and_chunk_keys_read_the_same(
    tmp_path: Path, keys: Any, order: Any, dtype: str, format_: Format
) -> None:
    target = check(tmp_path, format_, {"dtype": dtype} | options_of(None, order, keys))
    if dtype == "f8":
        was = zarr.open_array(tmp_path / "source", path="g/a", mode="r")[...]
        assert same(was, tensorstore_read(target, format_))


@BOTH
@pytest.mark.parametrize(
    "dtype", ["f8", "i2", "U3", "M8[s]", [("a", "i4"), ("n", [("t", "c8")])]], ids=str
)
def test_big_endian_chunks_read_the_same(tmp_path: Path, dtype: Any, format_: Format) -> None:
    check(tmp_path, format_, {"dtype": dtype} | options_of(endian="big"))


@BOTH
@pytest.mark.parametrize(
    "shape",
    [
        ((), ()),  # a scalar has one chunk
        ((0, 3), (1, 3)),  # nothing along an axis
        ((1, 7, 1), (1, 2, 1)),  # axes of one element may lie anywhere
    ],
)
def test_odd_shapes_read_the_same(tmp_path: Path, shape: Any, format_: Format) -> None:
    array = create(tmp_path / "source", shape=shape[0], chunks=shape[1], dtype="i4")
    if not array.shape:
        array[...] = 7
    target = copy(tmp_path / "source", tmp_path / "target", format_)
    was, now = read_both(tmp_path / "source", target, format_)
    assert same(was, now)
    assert same(was, tensorstore_read(target, format_))


def test_a_scalar_that_was_never_written_reads_as_its_fill_value(tmp_path: Path) -> None:
    target = check(
        tmp_path, Format.ZARR2, {"shape": (), "chunks": (), "dtype": "i4", "fill_value": 9}
    )
    assert tensorstore_read(target, Format.ZARR2) == 9


def test_bytes_of_variable_length_read_the_same_in_zarr2(tmp_path: Path) -> None:
    create(tmp_path / "source", shape=(0, 4), dtype=VariableLengthBytes(), fill_value=b"\xffa")
    array = zarr.open_array(tmp_path / "source", path="g/a", mode="a")
    array.resize((4, 4))
    array[:2] = np.array([b"", b"\x00x", b"yy", b"z"] * 2, object).reshape(2, 4)
    target = copy(tmp_path / "source", tmp_path / "target", Format.ZARR2)
    was, now = read_both(tmp_path / "source", target, Format.ZARR2)
    assert same(was, now)
    assert now[3, 3] == b"\xffa"


def test_shards_and_odd_codecs_are_copied_as_they_are_in_zarr3(tmp_path: Path) -> None:
    create(
        tmp_path / "source",
        dtype="f4",
        shards=(4, 4),
        compressors=[zc.ZstdCodec(), zc.Crc32cCodec()],
    )
    target = copy(tmp_path / "source", tmp_path / "target", Format.ZARR3)
    was, now = read_both(tmp_path / "source", target, Format.ZARR3)
    assert same(was, now)
    assert same(was, tensorstore_read(target, Format.ZARR3))


def test_rectilinear_chunks_are_copied_as_they_are_in_zarr3(tmp_path: Path) -> None:
    with zarr.config.set({"array.rectilinear_chunks": True}):
        array = create(tmp_path / "source", dtype="f4", chunks=[[1, 3, 1], 3], fill_value=5)
        plans = plan_all(tmp_path / "source", Format.ZARR3)
        target = tmp_path / "target"
        for key, data in [d for p in plans for d in p.documents]:
            (target / key).parent.mkdir(parents=True, exist_ok=True)
            (target / key).write_bytes(data)
        planned = next(p for p in plans if isinstance(p, TargetArray))
        for key in planned.chunk_keys(
            np.array([(0, 0), (0, 1), (1, 0), (1, 1)], np.uint32)
        ).to_pylist():
            (target / key).parent.mkdir(parents=True, exist_ok=True)
            (target / key).write_bytes((tmp_path / "source" / key).read_bytes())
        assert planned.grid == (3, 2)
        assert same(array[...], zarr.open_array(target, path="g/a", mode="r")[...])
        assert plan_consolidated(plans, Format.ZARR3) == []


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [*PLAIN, *TIMES, *OTHERS], ids=str)
@pytest.mark.parametrize("compressor", COMPRESSORS, ids=str)
def test_all_combinations_read_the_same(tmp_path: Path, dtype: Any, compressor: Any) -> None:
    combinations = itertools.product(ORDERS, KEYS, ENDIANS, Format)
    for n, (order, keys, endian, format_) in enumerate(combinations):
        check(
            tmp_path / str(n),
            format_,
            {"dtype": dtype} | options_of(compressor, order, keys, endian),
        )


def float_mask(value: float) -> str:
    return base64.b64encode(struct.pack("<d", value)).decode()


MASKS: list[tuple[Any, Any, dict[str, Any]]] = [
    # data type, fill value, attributes
    ("i4", 0, {}),  # zarr's default: no 0 may be masked
    ("i4", 0, {"_FillValue": -999}),
    ("i4", -999, {"_FillValue": -999}),
    ("i2", 0, {"_FillValue": 2, "scale_factor": 0.5, "add_offset": 10.0}),
    ("i4", 0, {"missing_value": 3}),
    ("i4", 0, {"missing_value": 3, "_FillValue": 4}),
    ("i8", 0, {"units": "days since 2000-01-01", "calendar": "standard"}),
    ("i8", 0, {"units": "hours since 2000-01-01", "_FillValue": 2}),
    ("i8", 0, {"units": "hours", "dtype": "timedelta64[ns]"}),
    (
        "u1",
        0,
        {"_FillValue": -1},
    ),  # no value of the data type, but the result is float all the same
    ("u1", 0, {"_FillValue": -1, "_Unsigned": "false"}),
    ("i1", 0, {"_FillValue": -1, "_Unsigned": "true"}),
    ("i4", 0, {"_FillValue": 3.7}),  # is read as 3
    ("u8", 1, {"_FillValue": 2**64 - 1}),
    ("f4", np.nan, {}),
    ("f4", 0.0, {}),
    ("f4", np.nan, {"_FillValue": float_mask(np.nan)}),  # what xarray writes
    ("f4", 0.0, {"_FillValue": float_mask(np.nan)}),
    ("f4", np.nan, {"_FillValue": float_mask(2.0)}),
    ("f4", 0.0, {"_FillValue": float_mask(-0.0)}),
    ("f4", 0.0, {"_FillValue": float_mask(float(np.float32(1e20)))}),
    ("f4", 0.0, {"_FillValue": float_mask(1e20)}),  # no value of float32
    ("f2", np.nan, {"scale_factor": 2}),
    ("f4", np.nan, {"scale_factor": 2.0, "add_offset": 1.0}),
    ("f4", np.nan, {"units": "days since 2000-01-01"}),
    ("f8", np.nan, {"missing_value": 2.0}),
    ("c8", complex(np.nan, 0), {}),
    ("c8", 0, {}),
    ("c16", 0, {"_FillValue": [float_mask(1.0), float_mask(0.0)]}),
    ("c8", 0, {"_FillValue": [float_mask(1e300), float_mask(0.1)]}),
    ("?", False, {}),
    ("?", False, {"_FillValue": True}),
    ("?", True, {"dtype": "bool"}),
    ("M8[s]", np.datetime64("NaT", "s"), {}),
    ("M8[s]", np.datetime64(0, "s"), {}),
    ("m8[ns]", np.timedelta64("NaT", "ns"), {}),
    ("U3", "", {}),
    ("S3", b"", {}),
    ("V3", np.void(b"\0\0\0"), {}),
    ("str", "", {}),
    ("str", "long é", {}),
    ([("a", "i4"), ("b", "f8")], np.zeros((), [("a", "i4"), ("b", "f8")])[()], {}),
]


@BOTH
@pytest.mark.parametrize(("dtype", "fill", "attributes"), MASKS, ids=str)
def test_xarray_shows_of_the_copy_what_it_shows_of_the_source(
    tmp_path: Path,
    dtype: Any,
    fill: Any,
    attributes: dict[str, Any],
    format_: Format,
) -> None:
    create(tmp_path / "source", dtype=dtype, fill_value=fill, attributes=attributes)
    with xr.open_zarr(tmp_path / "source", group="g", consolidated=False, chunks=None) as source:
        was = source.load()
    target = copy(tmp_path / "source", tmp_path / "target", format_)
    with xr.open_zarr(target, group="g", zarr_format=number_of(format_), chunks=None) as copied:
        now = copied.load()
    assert now.identical(was)
    assert now["a"].dtype == was["a"].dtype


@BOTH
def test_xarray_shows_datasets_that_it_wrote_as_they_were(tmp_path: Path, format_: Format) -> None:
    time = np.array(["2020-01-01", "2020-01-02", "NaT"], "M8[ns]")
    dataset = xr.Dataset(
        {
            "t": (("time", "x"), np.array([[0.0, np.nan], [1, 2], [3, 4]], "f4"), {"units": "K"}),
            "n": (("time", "x"), np.arange(6, dtype="i2").reshape(3, 2)),
            "packed": (
                ("time",),
                [0.5, np.nan, 2.5],
                {},
                {"dtype": "i2", "scale_factor": 0.5, "_FillValue": -9},
            ),
            "when": (("time",), time),
            "good": (("time",), [True, False, True]),
            "label": (("x",), np.array(["", "b"], object)),
            "scalar": ((), 0, {"grid_mapping_name": "none"}),
        },
        {"time": time[[0, 1, 1]] + np.arange(3), "x": [0, 1], "spot": ("x", [0.0, 2.0])},
        {"title": "é", "nan": float("nan")},
    )
    dataset.to_zarr(tmp_path / "source", zarr_format=3, consolidated=False)
    with xr.open_zarr(tmp_path / "source", consolidated=False) as source:
        was = source.load()
    with xr.open_zarr(
        copy(tmp_path / "source", tmp_path / "target", format_), zarr_format=number_of(format_)
    ) as copied:
        assert copied.load().identical(was)
        assert {k: v.dtype for k, v in copied.variables.items()} == {
            k: v.dtype for k, v in was.variables.items()
        }


def test_an_array_with_nameless_dimensions_does_not_close_its_group_to_xarray(
    tmp_path: Path,
) -> None:
    create(tmp_path / "source", dtype="f4", dimension_names=[None, "x"])
    target = copy(tmp_path / "source", tmp_path / "target", Format.ZARR2)
    with (
        xr.open_zarr(tmp_path / "source", group="g", consolidated=False) as was,
        xr.open_zarr(target, group="g") as now,
    ):
        assert now.identical(was)


@BOTH
def test_consolidated_metadata_says_what_zarr_would_make_of_the_copy(
    tmp_path: Path, format_: Format
) -> None:
    create(tmp_path / "source", dtype="i4", attributes={"units": "m", "nan": float("nan")})
    root = zarr.open_group(tmp_path / "source")
    root.attrs["title"] = "é"
    root.create_group("empty/deep", attributes={"k": [1, None]})
    root.create_array("top", shape=(2,), dtype="f8", fill_value=np.nan)
    target = copy(tmp_path / "source", tmp_path / "target", format_)
    number = number_of(format_)
    ours = zarr.open_consolidated(target, zarr_format=number)
    members = {path: str(node.metadata.to_dict()) for path, node in ours.members(max_depth=None)}
    bare = zarr.open_group(target, zarr_format=number, use_consolidated=False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = zarr.consolidate_metadata(bare.store, zarr_format=number)
    assert members == {
        path: str(node.metadata.to_dict()) for path, node in theirs.members(max_depth=None)
    }
    assert sorted(members) == ["empty", "empty/deep", "g", "g/a", "top"]
    assert str(ours.attrs.asdict()) == str(root.attrs.asdict())


def test_stale_consolidated_metadata_of_the_source_is_not_copied(tmp_path: Path) -> None:
    zarr.open_group(tmp_path / "source", mode="w", zarr_format=3)
    zarr.consolidate_metadata(tmp_path / "source")
    create(tmp_path / "source", dtype="i4")
    target = copy(tmp_path / "source", tmp_path / "target", Format.ZARR3)
    assert "g/a" in dict(zarr.open_consolidated(target).members(max_depth=None))
