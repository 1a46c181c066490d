"""Listings in the order of their keys, in whatever order they come."""

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from prefect_freight.stores.pages import to_page
from prefect_freight.stores.sorting import in_key_order

KEYS = st.lists(st.text(st.characters(codec="utf-8"), max_size=3), unique=True, max_size=40)


def pages(keys: list[str], step: int) -> list[pa.RecordBatch]:
    rows = [(key, number, None) for number, key in enumerate(keys)]
    return [to_page(rows[first : first + step]) for first in range(0, len(rows), step)]


def rows(batches: list[pa.RecordBatch]) -> list[tuple[str, int]]:
    return [(row["key"], row["size"]) for batch in batches for row in batch.to_pylist()]


@given(KEYS, st.integers(1, 9), st.booleans())
def test_rows_come_in_the_order_of_code_points_however_they_came(
    keys: list[str], step: int, in_order: bool
) -> None:
    keys = sorted(keys) if in_order else keys
    given_pages = [*pages(keys, step), to_page([])]
    assert rows(list(in_key_order(given_pages))) == sorted(rows(given_pages))


def test_a_page_outlives_the_file_that_it_lay_in() -> None:
    kept = list(in_key_order(pages(["b", "a", "c"], 1)))
    assert [key for key, _ in rows(kept)] == ["a", "b", "c"]


def test_nothing_is_no_page() -> None:
    assert not list(in_key_order([]))
