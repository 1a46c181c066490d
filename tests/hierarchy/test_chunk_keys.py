"""How chunks are called."""

from typing import Any, Literal

import numpy as np
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from zarr.core.chunk_key_encodings import parse_chunk_key_encoding

from prefect_freight.hierarchy.chunk_keys import ChunkKeys
from prefect_freight.plan.keys import check_key

COORDS = st.integers(0, 5).flatmap(
    lambda ndim: arrays.arrays(np.uint32, st.tuples(st.integers(0, 20), st.just(ndim)))
)
STYLES = st.tuples(st.sampled_from(["default", "v2"]), st.sampled_from([".", "/"]))


@given(COORDS, STYLES, st.sampled_from(["", "a", "a/b"]))
def test_chunk_keys_are_those_of_zarr(coords: Any, style: Any, path: str) -> None:
    name: Literal["default", "v2"] = style[0]
    keys = ChunkKeys(path, name, style[1]).spell(coords).to_pylist()
    encoding = parse_chunk_key_encoding({"name": name, "configuration": {"separator": style[1]}})
    folder = f"{path}/" if path else ""
    assert keys == [folder + encoding.encode_chunk_key(tuple(row)) for row in coords.tolist()]


@given(COORDS, STYLES, st.sampled_from(["", "a/b"]))
def test_keys_are_read_as_the_coordinates_that_they_spell(
    coords: Any, style: Any, path: str
) -> None:
    keys = ChunkKeys(path, *style)
    texts = [key.removeprefix(keys.folder) for key in keys.spell(coords).to_pylist()]
    others = ["zarr.json", "c/", "01", "c/0/", "0.0.0.0.0.0.0", "c.x", "-1", "99999999999"]
    is_chunk, found = keys.read(pa.array([*texts, *others], pa.string()), coords.shape[1])
    assert is_chunk.tolist() == [True] * len(texts) + [False] * len(others)
    np.testing.assert_array_equal(found, coords)


@given(COORDS, STYLES)
def test_different_chunks_have_different_keys_and_all_are_safe(coords: Any, style: Any) -> None:
    unique = np.unique(coords, axis=0) if coords.shape[1] else coords[:1]
    keys = ChunkKeys("a", *style).spell(unique).to_pylist()
    assert len(set(keys)) == len(keys) == len(unique)
    for key in keys:
        check_key(key)
