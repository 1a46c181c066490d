"""Listings in the order of their keys."""

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prefect_freight.stores import LISTING_SCHEMA
from prefect_freight.stores.pages import to_page
from prefect_freight.stores.sorting import in_key_order

KEYS = st.lists(st.text("aÉ😀/.", min_size=1, max_size=3), unique=True, max_size=20)


def pages(keys: list[str], step: int) -> list[pa.RecordBatch]:
    rows = [(key, len(key), None) for key in keys]
    return [to_page(rows[first : first + step]) for first in range(0, len(rows), step)]


def keys_of(some: list[pa.RecordBatch]) -> list[str]:
    return [key for page in some for key in page["key"].to_pylist()]


@settings(deadline=None)
@given(KEYS, st.integers(1, 6), st.booleans())
def test_all_rows_come_in_the_order_of_code_points(
    keys: list[str], step: int, in_order: bool
) -> None:
    given_keys = sorted(keys) if in_order else keys
    ordered = list(in_key_order(pages(given_keys, step)))
    assert keys_of(ordered) == sorted(keys)
    assert [n for page in ordered for n in page["size"].to_pylist()] == list(map(len, sorted(keys)))


@pytest.mark.parametrize(
    "given_pages",
    [
        [],
        [to_page([])],
        [to_page([]), to_page([("a", 1, "t")]), to_page([])],  # empty pages among others
    ],
)
def test_empty_pages_are_no_rows(given_pages: list[pa.RecordBatch]) -> None:
    ordered = list(in_key_order(given_pages))
    assert keys_of(ordered) == keys_of(given_pages)
    assert all(page.schema == LISTING_SCHEMA for page in ordered)


def test_what_is_in_order_already_comes_page_by_page() -> None:
    given_pages = pages(["a", "b", "c"], 2)
    assert list(in_key_order(given_pages)) == given_pages


def test_pages_are_bounded_however_they_came() -> None:
    keys = [f"{n:06d}" for n in reversed(range(120_000))]
    ordered = list(in_key_order(pages(keys, 7_000)))
    assert max(page.num_rows for page in ordered) <= 50_000
    assert keys_of(ordered) == sorted(keys)
