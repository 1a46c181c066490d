"""An overlay is what the store below would be, and leaves that as it is."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from memory import MemoryStore

from prefect_freight.errors import NotFoundError
from prefect_freight.stores.overlay import Overlay

KEYS = st.sampled_from(["a", "b", "f/a", "f/b", "g/a"])
DATA = st.binary(max_size=3)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("write"), KEYS, DATA),
        st.tuples(st.just("write_new"), KEYS, DATA),
        st.tuples(st.just("delete"), st.lists(KEYS, max_size=3)),
    ),
    max_size=12,
)


def listed(store: Any, prefix: str = "", without: str = "") -> dict[str, int]:
    pages = store.list(prefix, without=without)
    rows = [row for page in pages for row in page.to_pylist()]
    assert len({row["key"] for row in rows}) == len(rows)
    return {row["key"]: row["size"] for row in rows}


@settings(deadline=None)
@given(st.dictionaries(KEYS, DATA), STEPS)
def test_it_does_what_a_plain_store_would_do(
    objects: dict[str, bytes], steps: list[tuple[str, Any]]
) -> None:
    below, model = MemoryStore(objects), MemoryStore(objects)
    overlay = Overlay(below, MemoryStore())
    for verb, *arguments in steps:
        assert getattr(overlay, verb)(*arguments) == getattr(model, verb)(*arguments)
        for prefix, without in (("", ""), ("f/", ""), ("", "f/")):
            assert listed(overlay, prefix, without) == listed(model, prefix, without)
    for key, blob in model.objects.items():
        assert overlay.read(key) == blob
        assert overlay.read_tagged(key) == model.read_tagged(key)
        assert overlay.read(key, len(blob), 0) == b""
    assert below.objects == objects


def test_what_would_be_deleted_cannot_be_read() -> None:
    below = MemoryStore({"a": b"1"})
    overlay = Overlay(below, MemoryStore())
    overlay.delete(["a", "never there"])
    for key in ("a", "never there"):
        with pytest.raises(NotFoundError):
            overlay.read(key)
        with pytest.raises(NotFoundError):
            overlay.read_tagged(key)
    assert below.objects == {"a": b"1"}


def test_it_is_called_as_the_store_below() -> None:
    below = MemoryStore()
    assert Overlay(below, MemoryStore()).url == below.url
