"""One page of sorted keys, as all lists of lakeFS are cut."""

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from typing import Any

from lakefs_server.messages import MAX_AMOUNT


def page_of(
    keys: Sequence[str], prefix: str, after: str, amount: int, delimiter: str
) -> tuple[list[tuple[str, bool]], bool]:
    """Return names behind `after`, whether each is a common prefix, and whether there are more.

    >>> page_of(["a", "b/1", "b/2", "c"], "", "", 2, "/")
    ([('a', False), ('b/', True)], True)
    """
    found: list[tuple[str, bool]] = []
    at = max(bisect_left(keys, prefix), bisect_right(keys, after) if after else 0)
    while at < len(keys) and keys[at].startswith(prefix):
        if len(found) == amount:
            return found, True
        cut = keys[at].find(delimiter, len(prefix)) if delimiter else -1
        if cut < 0:
            found.append((keys[at], False))
            at += 1
            continue
        common = keys[at][: cut + len(delimiter)]
        # A page that ended with a prefix goes on behind all that is below it; one that ended within
        # it tells of it again.
        if common != after:
            found.append((common, True))
        at = bisect_left(keys, True, at, key=lambda key: not key.startswith(common))
    return found, False


def paged(results: list[Any], next_offset: str, has_more: bool) -> dict[str, Any]:
    """Return a page of results as it is sent."""
    pagination = {
        "has_more": has_more,
        "next_offset": next_offset if has_more else "",
        "results": len(results),
        "max_per_page": MAX_AMOUNT,
    }
    return {"pagination": pagination, "results": results}
