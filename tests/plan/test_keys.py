"""Which keys are safe."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prefect_freight.errors import InputError
from prefect_freight.plan.keys import check_key


@pytest.mark.parametrize(
    "key",
    [
        "",
        "/etc/passwd",
        "a/",
        "a//b",
        ".",
        "a/./b",
        "../a",
        "a/..",
        "s3://bucket/a",
        "a\0b",
        "a\nb",
        "a\x7f",
        "..\\a",
        "a\\b",
        "a/\ud800",  # half of a surrogate pair
    ],
)
def test_keys_that_could_leave_the_root_or_become_others_are_refused(key: str) -> None:
    with pytest.raises(InputError, match="unsafe key"):
        check_key(key)


@pytest.mark.parametrize(
    "key", ["a", "a/b/0.0", "é/日本", "a b", "..a", "a..", "...", ".zattrs", "c:d", "%2e%2e"]
)
def test_ordinary_keys_are_safe(key: str) -> None:
    check_key(key)


@given(st.text(alphabet=st.sampled_from("ab./\\:\0"), max_size=12))
def test_a_safe_key_stays_where_it_is_put(key: str) -> None:
    try:
        check_key(key)
    except InputError:
        return
    parts = key.split("/")
    assert parts
    assert not {"", ".", ".."} & set(parts)
    assert not {"\\", "\0"} & set(key)
