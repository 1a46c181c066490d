"""What documents become: tables of Zarr 3 documents and of what the copy says."""

import json
from typing import Any

import numpy as np
import pytest

from prefect_freight.errors import InputError, UnsupportedNodeError
from prefect_freight.formats.zarr.consolidated import plan_consolidated
from prefect_freight.formats.zarr.documents import (
    TargetArray,
    TargetGroup,
    plan_array,
    plan_group,
)
from prefect_freight.hierarchy.document_names import missing_groups
from prefect_freight.model import Format

LITTLE = {"name": "bytes", "configuration": {"endian": "little"}}
BIG = {"name": "bytes", "configuration": {"endian": "big"}}
BYTES = {"name": "bytes"}
ZSTD = {"name": "zstd", "configuration": {"level": 3, "checksum": True}}
SHARDS = {"name": "sharding_indexed", "configuration": {"chunk_shape": [2, 2], "codecs": [LITTLE]}}
RECTILINEAR = {
    "name": "rectilinear",
    "configuration": {"kind": "inline", "chunk_shapes": [2, [[1, 3], 2]]},
}
GROUP = {"zarr_format": 3, "node_type": "group", "attributes": {}}
NAN8 = "AAAAAAAA+H8="  # NaN as base64 of a float64


def array(**changes: Any) -> dict[str, Any]:
    """Return a document of a float32 array of 2 x 3 chunks, with changes."""
    return {
        "zarr_format": 3,
        "node_type": "array",
        "shape": [4, 5],
        "data_type": "float32",
        "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": [2, 2]}},
        "chunk_key_encoding": {"name": "default", "configuration": {"separator": "/"}},
        "fill_value": 0.0,
        "codecs": [LITTLE],
        "attributes": {},
        "dimension_names": ["y", "x"],
        "storage_transformers": [],
    } | changes


def plan2(**changes: Any) -> tuple[TargetArray, dict[str, Any], dict[str, Any]]:
    """Return the plan of an array for Zarr 2, its `.zarray` and its `.zattrs`."""
    plan = plan_array("g/a", array(**changes), Format.ZARR2)
    documents = dict(plan.documents)
    assert set(documents) == {"g/a/.zarray", "g/a/.zattrs"}
    return plan, json.loads(documents["g/a/.zarray"]), json.loads(documents["g/a/.zattrs"])


def test_a_plain_array_becomes_a_whole_zarr2_document() -> None:
    _, zarray, zattrs = plan2(codecs=[LITTLE, ZSTD], attributes={"units": "m"})
    assert zarray == {
        "zarr_format": 2,
        "shape": [4, 5],
        "chunks": [2, 2],
        "dtype": "<f4",
        "order": "C",
        "filters": None,
        "compressor": {"id": "zstd", "level": 3},  # no `checksum`: numcodecs 0.11 refuses it
        "fill_value": None,  # 0 would be a mask
        "dimension_separator": ".",
    }
    assert zattrs == {"units": "m", "_ARRAY_DIMENSIONS": ["y", "x"]}


def named(name: str, **configuration: Any) -> dict[str, Any]:
    return {"name": name, "configuration": configuration}


FIELDS = [{"name": "a", "data_type": "int32"}, {"name": "b", "data_type": "float64"}]
NESTED = [["n", named("structured", fields=[["s", "int16"]])], ["t", "uint8"]]


@pytest.mark.parametrize(
    ("data_type", "codec", "fill", "dtype"),
    [
        ("bool", BYTES, False, "|b1"),
        ("int8", BYTES, 0, "|i1"),
        ({"name": "int16"}, LITTLE, 0, "<i2"),  # an object without configuration is a name too
        ("uint64", BIG, 0, ">u8"),
        ("float16", LITTLE, 0, "<f2"),
        ("complex128", BIG, [0, 0], ">c16"),
        (named("numpy.datetime64", unit="us", scale_factor=10), LITTLE, 0, "<M8[10us]"),
        (named("numpy.datetime64", unit="μs", scale_factor=1), LITTLE, 0, "<M8[us]"),
        (named("numpy.timedelta64", unit="ns", scale_factor=1), BIG, "NaT", ">m8[ns]"),
        (named("fixed_length_utf32", length_bytes=12), BIG, "", ">U3"),
        (named("null_terminated_bytes", length_bytes=3), BYTES, "", "|S3"),
        (named("raw_bytes", length_bytes=5), BYTES, "", "|V5"),
        ("r16", BYTES, [0, 1], "|V2"),  # the core specification's spelling
        (named("struct", fields=FIELDS), BIG, {}, [["a", ">i4"], ["b", ">f8"]]),
        (named("structured", fields=NESTED), LITTLE, "", [["n", [["s", "<i2"]]], ["t", "|u1"]]),
        ("string", "vlen-utf8", "", "|O"),
        ("variable_length_bytes", "vlen-bytes", "", "|O"),
        ("bytes", named("vlen-bytes"), [], "|O"),  # the name in zarr-extensions
    ],
    ids=str,
)
def test_data_types_have_their_zarr2_names(
    data_type: Any, codec: Any, fill: Any, dtype: Any
) -> None:
    _, zarray, _ = plan2(data_type=data_type, codecs=[codec], fill_value=fill)
    assert zarray["dtype"] == dtype
    filters = {"string": "vlen-utf8", "variable_length_bytes": "vlen-bytes", "bytes": "vlen-bytes"}
    named_filter = filters.get(data_type) if isinstance(data_type, str) else None
    assert zarray["filters"] == ([{"id": named_filter}] if named_filter else None)


@pytest.mark.parametrize(
    ("codec", "compressor"),
    [
        (named("zstd", level=5, checksum=False), {"id": "zstd", "level": 5}),
        ("zstd", {"id": "zstd", "level": 0}),  # a bare name
        (named("gzip", level=1), {"id": "gzip", "level": 1}),
        (
            named("blosc", cname="lz4", clevel=3, shuffle="shuffle", typesize=4, blocksize=0),
            {"id": "blosc", "cname": "lz4", "clevel": 3, "shuffle": 1, "blocksize": 0},
        ),
        (
            named("blosc", cname="zstd", clevel=5, shuffle="bitshuffle", typesize=4, blocksize=9),
            {"id": "blosc", "cname": "zstd", "clevel": 5, "shuffle": 2, "blocksize": 9},
        ),
        (
            named("blosc", cname="zlib", clevel=0, shuffle="noshuffle", blocksize=0),
            {"id": "blosc", "cname": "zlib", "clevel": 0, "shuffle": 0, "blocksize": 0},
        ),
        (named("numcodecs.zlib", level=2), {"id": "zlib", "level": 2}),
        (named("numcodecs.bz2", level=1), {"id": "bz2", "level": 1}),
        (named("numcodecs.lzma", preset=1), {"id": "lzma", "preset": 1}),
        (named("numcodecs.lz4", acceleration=1), {"id": "lz4", "acceleration": 1}),
        (named("numcodecs.zstd", level=1, checksum=True), {"id": "zstd", "level": 1}),
        (named("numcodecs.gzip"), {"id": "gzip"}),
        (named("numcodecs.blosc", shuffle=2), {"id": "blosc", "shuffle": 2}),
    ],
    ids=str,
)
def test_compressors_have_their_zarr2_configuration(codec: Any, compressor: Any) -> None:
    assert plan2(codecs=[LITTLE, codec])[1]["compressor"] == compressor


def transpose(*order: int) -> dict[str, Any]:
    return named("transpose", order=list(order))


@pytest.mark.parametrize(
    ("codecs", "chunks", "order"),
    [
        ([], [2, 2, 2], "C"),
        ([transpose(0, 1, 2)], [2, 2, 2], "C"),
        ([transpose(2, 1, 0)], [2, 2, 2], "F"),
        ([named("transpose", order="F")], [2, 2, 2], "F"),  # an early draft's spelling
        ([transpose(1, 2, 0), transpose(2, 0, 1)], [2, 2, 2], "C"),  # each undoes the other
        ([transpose(1, 0, 2), transpose(2, 0, 1)], [2, 2, 2], "F"),  # 1 0 2, then 2 1 0
        ([transpose(1, 0, 2)], [2, 1, 2], "C"),  # an axis of one element lies anywhere
        ([transpose(1, 2, 0)], [2, 2, 1], "F"),
        ([transpose(2, 1, 0)], [1, 2, 2], "F"),
        ([transpose(2, 1, 0)], [1, 1, 2], "C"),  # both are true; C is what readers know best
    ],
)
def test_orders_of_axes_are_c_or_f(codecs: Any, chunks: Any, order: str) -> None:
    grid = named("regular", chunk_shape=chunks)
    names = ["z", "y", "x"]
    _, zarray, _ = plan2(
        shape=[4, 4, 4], chunk_grid=grid, codecs=[*codecs, LITTLE], dimension_names=names
    )
    assert zarray["order"] == order


NAMELESS = {"dimension_names": None}  # then xarray does not see it, and the fill value is no mask


@pytest.mark.parametrize(
    ("data_type", "said", "says"),
    [
        ("float32", "NaN", "NaN"),
        ("float64", "-Infinity", "-Infinity"),
        ("float64", -0.0, -0.0),
        ("float16", "0x3c00", 1.0),  # the bits, most significant first
        ("float64", "0x7ff0000000000000", "Infinity"),
        ("complex64", ["NaN", -1], ["NaN", -1.0]),
        ("complex64", ["0x7f800000", 0.5], ["Infinity", 0.5]),
        ("bool", True, True),
        ("int64", 2**63 - 1, 2**63 - 1),
        ("uint64", 2**64 - 1, 2**64 - 1),
        ("int32", 7.0, 7),
        (named("numpy.datetime64", unit="s"), "NaT", -(2**63)),
        (named("numpy.datetime64", unit="s"), -5, -5),
        (named("fixed_length_utf32", length_bytes=8), "é", "é"),
        (named("null_terminated_bytes", length_bytes=3), "YQ==", "YQAA"),  # padded with NUL
        (named("raw_bytes", length_bytes=3), "YQBi", "YQBi"),
        ("r24", [97, 0, 98], "YQBi"),
        (named("struct", fields=FIELDS), {"a": 1, "b": 2.0}, "AQAAAAAAAAAAAABA"),
        (named("struct", fields=FIELDS), {"a": 1}, "AQAAAAAAAAAAAAAA"),
        ("string", "né", "né"),
        ("variable_length_bytes", "YQ==", None),  # Zarr 2 cannot say it
    ],
    ids=str,
)
def test_fill_values_are_said_as_zarr2_says_them(data_type: Any, said: Any, says: Any) -> None:
    codec = {"string": "vlen-utf8", "variable_length_bytes": "vlen-bytes"}.get(
        str(data_type), LITTLE
    )
    plan, zarray, _ = plan2(data_type=data_type, fill_value=said, codecs=[codec], **NAMELESS)
    assert json.dumps(zarray["fill_value"]) == json.dumps(says)
    assert (plan.fill is None) == (says is not None)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"codecs": [SHARDS]}, "shards"),
        ({"codecs": [LITTLE, "crc32c"]}, "'crc32c'"),
        ({"codecs": [LITTLE, ZSTD, "crc32c"]}, "zstd, crc32c"),
        ({"codecs": ["numcodecs.delta", LITTLE]}, "'numcodecs.delta'"),
        ({"codecs": [LITTLE, "numcodecs.shuffle"]}, "'numcodecs.shuffle'"),
        ({"codecs": [LITTLE, "gzip9"]}, "'gzip9'"),
        (
            {"codecs": [LITTLE, named("blosc", shuffle="sideways")]},
            "shuffle 'sideways'",
        ),
        ({"codecs": [named("bytes", endian="middle")]}, "'middle'"),
        ({"codecs": [transpose(0, 0), LITTLE]}, "permutation"),
        ({"codecs": []}, "no codec"),
        ({"data_type": "string"}, "vlen-utf8"),
        ({"codecs": [LITTLE, named("numcodecs.zlib", speed=1)]}, "bad configuration"),
        ({"data_type": "bfloat16"}, "'bfloat16'"),
        ({"data_type": named("numpy.datetime64", unit="generic")}, "without a unit"),
        ({"data_type": named("fixed_length_utf32", length_bytes=6)}, "impossible size 6"),
        ({"data_type": named("raw_bytes", length_bytes=0)}, "impossible size 0"),
        ({"data_type": named("struct", fields=[["s", "string"]])}, "variable length"),
        ({"chunk_grid": RECTILINEAR}, "'rectilinear'"),
        ({"storage_transformers": [{"name": "cache"}]}, "storage transformers"),
        ({"crs": {"epsg": 4326}}, "'crs' must be understood"),
        ({"crs": {"must_understand": True}}, "'crs' must be understood"),
        ({"attributes": {"_ARRAY_DIMENSIONS": ["x", "y"]}}, "differs from its dimension_names"),
        ({"dimension_names": ["x"]}, "do not fit 2 dimensions"),
        ({"fill_value": "null"}, "no value of float32"),
        ({"fill_value": None}, "no value of float32"),
        ({"data_type": "uint8", "fill_value": 256}, "no value of uint8"),
        ({"data_type": "bool", "fill_value": 0}, "no value of bool"),
        ({"data_type": "int8", "fill_value": 0.5}, "no value of int8"),
        ({"data_type": "r8", "fill_value": "YWI="}, "no value of"),  # two bytes
        ({"shape": [4]}, "differ in length"),
        ({"shape": [-1, 4]}, "not one of lengths"),
        ({"chunk_grid": {"name": "regular"}}, "not valid Zarr 3 (KeyError: 'chunk_shape')"),
    ],
    ids=str,
)
def test_what_zarr2_cannot_say_is_refused_by_name_with_reason_and_cure(
    changes: Any, reason: str
) -> None:
    with pytest.raises(UnsupportedNodeError) as caught:
        plan_array("deep/er", array(**changes), Format.ZARR2)
    message = str(caught.value)
    assert reason in message
    assert message.startswith("array 'deep/er'")
    assert "--format zarr3" in message or "Repair it in the source" in message


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"storage_transformers": [{"name": "cache"}]}, "storage transformers"),
        ({"chunk_grid": {"name": "hexagonal"}}, "'hexagonal'"),
        ({"chunk_key_encoding": {"name": "fanout"}}, "'fanout'"),
        ({"chunk_key_encoding": named("default", separator="../")}, "'../'"),
        ({"chunk_grid": named("rectilinear", kind="inline", chunk_shapes=[2, [2]])}, "end before"),
    ],
    ids=str,
)
def test_zarr3_refuses_only_what_says_not_where_chunks_lie(changes: Any, reason: str) -> None:
    with pytest.raises(UnsupportedNodeError, match="array 'a' cannot be zarr3") as caught:
        plan_array("a", array(**changes), Format.ZARR3)
    assert reason in str(caught.value)


@pytest.mark.parametrize(
    "changes",
    [
        {"codecs": [SHARDS]},
        {"codecs": ["unheard-of"]},
        {"data_type": "bfloat16", "fill_value": "0x7fc0"},
        {"chunk_grid": RECTILINEAR},
        {"crs": {"must_understand": True}},
        {"attributes": {"nan": float("nan"), "é": [None]}},
    ],
    ids=str,
)
def test_zarr3_keeps_documents_as_they_are(changes: Any) -> None:
    document = array(**changes)
    plan = plan_array("a", document, Format.ZARR3)
    ((key, data),) = plan.documents
    assert key == "a/zarr.json"
    assert json.dumps(json.loads(data)) == json.dumps(document)
    assert plan.fill_chunk is None


def test_rectilinear_chunks_are_counted_to_the_end_of_the_array() -> None:
    edges = named("rectilinear", kind="inline", chunk_shapes=[3, [[1, 3], 2, 9, 9]])
    assert plan_array("a", array(chunk_grid=edges), Format.ZARR3).grid == (2, 4)
    edges = named("rectilinear", kind="inline", chunk_shapes=[[4], [[2, 99]]])
    assert plan_array("a", array(chunk_grid=edges), Format.ZARR3).grid == (1, 3)


@pytest.mark.parametrize(
    ("encoding", "key"),
    [
        ("default", "a/c/1/0"),
        ("v2", "a/1.0"),
        (named("default", separator="."), "a/c.1.0"),
        (named("v2", separator="/"), "a/1/0"),
    ],
    ids=str,
)
def test_zarr3_keeps_the_spelling_of_chunk_keys(encoding: Any, key: str) -> None:
    plan = plan_array("a", array(chunk_key_encoding=encoding), Format.ZARR3)
    assert plan.chunk_keys(np.array([[1, 0]], np.uint32)).to_pylist() == [key]
    assert plan2(chunk_key_encoding=encoding)[0].chunk_keys(np.array([[1, 0]])).to_pylist() == [
        "g/a/1.0"
    ]


def test_the_same_document_gives_the_same_bytes() -> None:
    one, other = (plan_array("a", array(codecs=[LITTLE, "gzip"]), Format.ZARR2) for _ in range(2))
    assert one == other
    assert one.fill_chunk is not None
    assert one.fill_chunk[4:8] == b"\0\0\0\0"  # where gzip has the time


def test_chunks_left_outside_the_grid_by_a_resize_are_not_part_of_the_array() -> None:
    plan = plan2()[0]
    coords = np.array([[0, 0], [1, 2], [2, 0], [0, 3]], np.uint32)
    assert plan.grid == (2, 3)
    assert plan.in_grid(coords).tolist() == [True, True, False, False]


def test_a_scalar_has_one_chunk_and_no_dimensions() -> None:
    grid = named("regular", chunk_shape=[])
    plan, zarray, zattrs = plan2(shape=[], chunk_grid=grid, dimension_names=None)
    assert (plan.grid, zarray["chunks"], zattrs) == ((), [], {"_ARRAY_DIMENSIONS": []})
    assert plan.chunk_keys(np.zeros((1, 0), np.uint32)).to_pylist() == ["g/a/0"]
    assert plan.in_grid(np.zeros((1, 0), np.uint32)).tolist() == [True]
    assert plan.fill_chunk == b"\0" * 4


def test_a_chunk_of_the_fill_value_is_whole_even_at_the_edges() -> None:
    plan = plan2(data_type="int16", fill_value=258, codecs=[BIG], shape=[3, 3])[0]
    assert plan.fill_chunk == b"\x01\x02" * 4


@pytest.mark.parametrize(
    ("changes", "note"),
    [
        ({"fill_value": "0x7fc00001"}, "loses its bits"),
        ({"extra": {"must_understand": False}}, "'extra'"),
        ({"dimension_names": [None, "x"]}, "null"),
        ({"attributes": {"_FillValue": 7.0}}, "_FillValue"),  # xarray wants base64
        ({"attributes": {"_NCProperties": "v"}}, "'_NCProperties'"),
        ({"attributes": {"_ARRAY_DIMENSIONS": ["y", "x"]}}, "'_ARRAY_DIMENSIONS'"),
    ],
    ids=str,
)
def test_what_is_lost_is_noted_with_the_arrays_name(changes: Any, note: str) -> None:
    (said,) = plan2(**changes)[0].notes
    assert note in said
    assert said.startswith("array 'g/a': ")


def test_an_ordinary_array_has_no_notes() -> None:
    assert plan2(fill_value="NaN", attributes={"_FillValue": NAN8})[0].notes == ()


def test_a_mask_replaces_the_fill_value_and_its_attribute() -> None:
    plan, zarray, zattrs = plan2(data_type="int32", fill_value=0, attributes={"_FillValue": -9})
    assert (zarray["fill_value"], "_FillValue" in zattrs) == (-9, False)
    assert plan.fill_chunk == b"\0" * 16


def test_sparse_arrays_whose_fill_value_is_their_mask_stay_sparse() -> None:
    for fill in "NaN", "0x7fc00001":
        for attributes in {}, {"_FillValue": NAN8}:
            plan, zarray, _ = plan2(fill_value=fill, attributes=attributes)
            assert (zarray["fill_value"], plan.fill_chunk) == ("NaN", None)


def test_arrays_that_xarray_cannot_see_keep_fill_value_and_attributes() -> None:
    plan, zarray, zattrs = plan2(fill_value=3, attributes={"_FillValue": NAN8}, **NAMELESS)
    assert (zarray["fill_value"], zattrs, plan.fill_chunk) == (3, {"_FillValue": NAN8}, None)


def test_groups_become_two_documents_in_zarr2() -> None:
    plan = plan_group("g", GROUP | {"attributes": {"a": 1}}, Format.ZARR2)
    documents = {key: json.loads(data) for key, data in plan.documents}
    assert documents == {"g/.zgroup": {"zarr_format": 2}, "g/.zattrs": {"a": 1}}


@pytest.mark.parametrize("format_", list(Format))
def test_what_a_group_says_of_other_nodes_is_not_copied(format_: Format) -> None:
    stale = {"consolidated_metadata": {"kind": "inline", "metadata": {"gone": GROUP}}}
    assert plan_group("g", GROUP | stale, format_) == plan_group("g", GROUP, format_)


def test_a_group_with_a_field_that_must_be_understood_is_refused_in_zarr2() -> None:
    document = GROUP | {"crs": {"epsg": 4326}}
    with pytest.raises(UnsupportedNodeError, match=r"group '' cannot be zarr2: .*'crs'"):
        plan_group("", document, Format.ZARR2)
    assert json.loads(plan_group("", document, Format.ZARR3).documents[0][1]) == document


@pytest.mark.parametrize("format_", list(Format))
def test_a_root_that_is_an_array_has_no_consolidated_metadata(format_: Format) -> None:
    assert plan_consolidated([plan_array("", array(), format_)], format_) == []


@pytest.mark.parametrize("format_", list(Format))
def test_consolidated_metadata_does_not_depend_on_the_order_of_nodes(format_: Format) -> None:
    nodes: list[TargetArray | TargetGroup] = [
        plan_group("", GROUP, format_),
        plan_group("g", GROUP, format_),
        plan_array("g/a", array(), format_),
    ]
    assert plan_consolidated(nodes, format_) == plan_consolidated(nodes[::-1], format_)


def test_ancestors_that_are_missing_are_named() -> None:
    assert missing_groups(["", "a/b/c", "a/b", "d"]) == ["a"]
    assert missing_groups([""]) == []


@pytest.mark.parametrize("format_", list(Format))
@pytest.mark.parametrize(
    "path", ["../a", "/etc", "a//b", "a/.freight/..", "zarr.json", ".freight/x"]
)
def test_paths_that_leave_the_root_or_take_its_own_names_are_refused(
    path: str, format_: Format
) -> None:
    with pytest.raises(InputError, match="unsafe key"):
        plan_group(path, GROUP, format_)
    with pytest.raises(InputError, match="unsafe key"):
        plan_array(path, array(), format_)
