"""Keys of objects: that none leaves the destination's root, their folders, the first few. Pure."""

from collections.abc import Iterator, Sequence

import pyarrow as pa
import pyarrow.compute as pc

from prefect_freight.errors import InputError

UNSAFE_PATTERN = r"(^|/)\.{0,2}(/|$)|[\x00-\x1f\x7f\\]|://"
"""Matches (RE2) every key that `check_key` refuses, for looking at many at once."""
NO_KEYS = pa.array([], pa.string())


def check_key(key: str) -> None:
    r"""Return if the key names an object under the root that it is relative to, on any store.

    Segments are separated by `/`. Raises `InputError` for an empty key or segment (so for
    absolute keys, `//` and a trailing `/`), `.`, `..`, `\`, control characters, and for text that
    is not UTF-8: stores reject these, or resolve them to another object, or leave the root.

    >>> check_key("a/b c/0.0")
    >>> check_key("a/../b")
    Traceback (most recent call last):
    prefect_freight.errors.InputError: unsafe key 'a/../b': ...
    """
    reason = _danger(key)
    if reason:
        raise InputError(
            f"unsafe key {key!r}: {reason}. Keys must stay under the destination's root on every "
            "store; rename it in the source, or leave it out by --exclude"
        )


def _danger(key: str) -> str:
    if "://" in key:
        return "it contains '://'"
    for segment in key.split("/"):
        if segment in ("", ".", ".."):
            return f"it has the segment {segment!r}"
    # A separator to Windows, which may open the copy, through a file share if nowhere else.
    if "\\" in key:
        return "it contains a backslash"
    if any(ord(c) < 0x20 or ord(c) == 0x7F for c in key):
        return "it contains a control character"
    # Half of a surrogate pair, which Python's texts may hold and UTF-8 may not.
    if any(0xD800 <= ord(c) <= 0xDFFF for c in key):
        return "it is not valid Unicode"
    return ""


def first_few(keys: Sequence[str], total: int, count: int) -> str:
    """Return the first `count` keys in a line for people, with dots where `total` is more.

    >>> first_few(["a", "b", "c"], 7, 2)
    'a, b, …'
    """
    return ", ".join([*keys[:count], *(["…"] if total > count else [])])


def parents_of(keys: pa.Array) -> Iterator[pa.Array]:
    """Yield the folder of each key, then the folders of those, and so on; null above the root."""
    while True:
        keys = pc.replace_substring_regex(
            pc.if_else(pc.match_substring(keys, "/"), keys, None), "/[^/]*$", ""
        )
        if keys.null_count == len(keys):
            return
        yield keys


def folders_of(keys: pa.Array) -> pa.Array:
    """Return all folders of keys, each once.

    >>> folders_of(pa.array(["a", "b/c/d", "b/e"])).to_pylist()
    ['b', 'b/c']
    """
    # Level by level, since most keys of a level share their folder: all after the first is small.
    levels = (parents.unique().drop_null() for parents in parents_of(keys))
    folders = pa.concat_arrays([NO_KEYS, *levels]).unique()
    return folders.take(pc.sort_indices(folders))
