"""What differs between two trees, as the REST interface tells it."""

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from lakefs_server.messages import MAX_AMOUNT
from lakefs_server.pages import page_of, paged
from lakefs_server.repository import Entry, Tree

Change = tuple[str, Entry]
"""Its type, and the right entry, or the left one of what was removed."""


@lru_cache(8)  # a diff is asked for page by page
def changes(left: Tree, right: Tree) -> Mapping[str, Change]:
    """Return all differences by key, in the order of keys."""
    ours, theirs = left.entries, right.entries
    found: dict[str, Change] = {k: ("removed", ours[k]) for k in ours.keys() - theirs.keys()}
    for key, entry in theirs.items():
        before = ours.get(key)
        if before is None:
            found[key] = ("added", entry)
        elif before is not entry and before.identity != entry.identity:
            found[key] = ("changed", entry)
    return dict(sorted(found.items()))


def merge_changes(base: Tree, left: Tree, right: Tree) -> dict[str, Change]:
    """Return what right has changed since the base, `conflict` where left did otherwise."""
    here = changes(base, left)
    return {
        key: (kind if key not in here or _same(left, right, key) else "conflict", entry)
        for key, (kind, entry) in changes(base, right).items()
        if not _same(left, right, key)
    }


def diff_page(
    found: Mapping[str, Change],
    *,
    prefix: str,
    after: str,
    delimiter: str,
    amount: int = MAX_AMOUNT,
    with_right: bool = False,
) -> dict[str, Any]:
    """Return a page of differences as it is sent."""
    names, has_more = page_of(list(found), prefix, after, amount, delimiter)
    results = [
        {"path": name, "path_type": "common_prefix", "type": "prefix_changed"}
        if is_prefix
        else _to_json(name, *found[name], with_right)
        for name, is_prefix in names
    ]
    return paged(results, names[-1][0] if names else "", has_more)


def _to_json(key: str, kind: str, entry: Entry, with_right: bool) -> dict[str, Any]:
    change = {"path": key, "path_type": "object", "type": kind, "size_bytes": entry.size}
    if with_right:
        change["right"] = {
            "checksum": entry.checksum,
            "mtime": entry.mtime,
            "content_type": entry.content_type,
            "metadata": {**entry.metadata},
        }
    return change


def _same(left: Tree, right: Tree, key: str) -> bool:
    ours, theirs = left.entries.get(key), right.entries.get(key)
    return ours == theirs or bool(ours and theirs and ours.identity == theirs.identity)
