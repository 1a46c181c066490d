"""What a ref names: `main`, `v1~2`, `main@`, an id or the beginning of one."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

REF = re.compile(r"([^~^@$]*)((?:[~^]\d*|[@$])*)")
STEP = re.compile(r"([~^@$])(\d*)")
ID = re.compile(r"[0-9a-f]+")


class NoSuchRefError(Exception):
    """Nothing is named so."""


class BadRefError(Exception):
    """A modifier where none can be."""

    def __init__(self, more: str = "") -> None:
        super().__init__(f"ref: invalid value: validation error{more}")


@dataclass(frozen=True, slots=True)
class Commit:
    """A commit, but for what it holds."""

    id: str
    parents: tuple[str, ...]
    message: str
    metadata: Mapping[str, str]
    meta_range_id: str
    creation_date: int
    generation: int
    committer: str = "lab"
    made: int = 0
    """Its number, which orders those of one second."""

    def to_json(self) -> dict[str, Any]:
        """Return it as it is sent."""
        names = ("id", "message", "meta_range_id", "creation_date", "generation", "committer")
        own = {name: getattr(self, name) for name in names}
        return own | {"parents": [*self.parents], "metadata": {**self.metadata}, "version": 1}


def resolve(
    ref: str,
    commits: Mapping[str, Commit],
    branches: Mapping[str, str],
    tags: Mapping[str, str],
) -> tuple[Commit, str]:
    """Return a commit, and `branch$` if it is that branch with what is staged, else "".

    Raises `NoSuchRefError` and `BadRefError`.
    """
    match = REF.fullmatch(ref)
    if match is None:
        raise NoSuchRefError
    base, steps = match[1], STEP.findall(match[2])
    if not base:
        raise BadRefError
    commit = _base(base, commits, branches, tags)
    if any(sign in "@$" for sign, _ in steps):
        # Both stand alone, and behind a branch only.
        if len(match[2]) > 1 or base not in branches:
            raise BadRefError
        return commit, f"{base}$" if match[2] == "$" else ""
    for sign, digits in steps:
        number = int(digits or 1)
        commit = _ancestor(commit, sign, number, commits)
    return commit, f"{base}$" if base in branches and not steps else ""


def _base(
    base: str, commits: Mapping[str, Commit], branches: Mapping[str, str], tags: Mapping[str, str]
) -> Commit:
    for names in (branches, tags):
        if base in names and base not in commits:
            return commits[names[base]]
    near = [id_ for id_ in commits if id_.startswith(base)] if ID.fullmatch(base) else []
    if len(near) != 1:
        raise NoSuchRefError
    return commits[near[0]]


def _ancestor(commit: Commit, sign: str, number: int, commits: Mapping[str, Commit]) -> Commit:
    if sign == "^":
        if number > len(commit.parents):
            raise BadRefError
        return commits[commit.parents[number - 1]] if number else commit
    for _ in range(number):
        if not commit.parents:
            raise NoSuchRefError
        commit = commits[commit.parents[0]]
    return commit


def ancestors(start: Sequence[str], commits: Mapping[str, Commit], first_parent: bool) -> list[str]:
    """Return commits and all before them, newest first."""
    waiting, seen, ordered = list(start), set(start), []
    while waiting:
        # Of those with one date the one that was met last: a merge's later parent is the younger.
        waiting.sort(key=lambda id_: _age(commits[id_]))
        commit = commits[waiting.pop()]
        ordered.append(commit.id)
        for parent in commit.parents[: 1 if first_parent else None]:
            if parent not in seen:
                seen.add(parent)
                waiting.append(parent)
    return ordered


def merge_base(left: str, right: str, commits: Mapping[str, Commit]) -> str | None:
    """Return the newest commit that is before both, if any."""
    before = set(ancestors([left], commits, first_parent=False))
    shared = (id_ for id_ in ancestors([right], commits, first_parent=False) if id_ in before)
    return next(shared, None)


def _age(commit: Commit) -> tuple[int, int, int]:
    return commit.generation, commit.creation_date, commit.made
