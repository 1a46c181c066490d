"""What of a snapshot is exported: names chosen by a group and by regular expressions. Pure.

The rule is that of `copy_store` of zarr 2: expressions (Python's `re`) are searched anywhere in a
name, and what is to be included is, whatever excludes it.

| exclude          | include       | in the copy                                        |
|------------------|---------------|----------------------------------------------------|
| matches          | matches       | yes                                                |
| matches          | does not      | no                                                 |
| does not         | either        | yes                                                |
| none is given    | matches       | yes                                                |
| none is given    | does not      | no: in zarr 2 yes, so that `include` alone did nothing |

A name is the path of an array or group, or the key of a plain object, as the source has it.
"""

import difflib
import re
import shlex
from collections.abc import Collection, Iterable, Sequence

from prefect_freight.errors import InputError, OptionError
from prefect_freight.model import EVERYTHING, Format, Selection, Snapshot
from prefect_freight.plan.keys import first_few

NAMES_SHOWN = 5
NAMES_COMPARED = 10_000
"""Of millions of keys, the first: what was meant is looked for among these."""
OPERATORS = re.compile(r"\\([^A-Za-z0-9])|\\.|[\^$.*+?()\[\]{}|]")


def plan_selection(
    group: str | None,
    include: str | Iterable[str] | None,
    exclude: str | Iterable[str] | None,
    format_: Format,
) -> Selection:
    """Return the selection, equal for all spellings of the same one.

    Raises `OptionError` that shows where an expression is wrong, and for a group of plain objects.
    """
    path = (group or "").strip("/")
    if path and format_ is Format.OBJECTS:
        raise OptionError(
            f"expected no group for format objects, which have none, found {group!r}. Name keys: "
            f"include {f'^{re.escape(path)}/'!r}"
        )
    return Selection(path, _expressions("include", include), _expressions("exclude", exclude))


def to_text(selection: Selection) -> str:
    """Return a selection as the options that select it, for people and for the command line.

    >>> to_text(Selection("ocean", ("temp.*",), ()))
    "--group ocean --include 'temp.*'"
    >>> to_text(Selection())
    ''
    """
    words = ["--group", selection.group] if selection.group else []
    for name, expressions in (("include", selection.include), ("exclude", selection.exclude)):
        # As one word, since an expression may begin with a dash.
        words += [
            part
            for one in expressions
            for part in ([f"--{name}={one}"] if one.startswith("-") else [f"--{name}", one])
        ]
    return shlex.join(words)


def with_selected(selection: Selection) -> str:
    """Return what follows the name of a copy: ` with` and its selection, if there is any."""
    return f" with {to_text(selection)}" if selection != EVERYTHING else ""


class Chooser:
    """Chooses names, and remembers which expressions have matched none."""

    def __init__(self, selection: Selection, snapshot: Snapshot, things: str) -> None:
        self._selection, self._snapshot, self._things = selection, snapshot, things
        self._include = [re.compile(one) for one in selection.include]
        self._exclude = [re.compile(one) for one in selection.exclude]
        self._idle = [*self._include, *self._exclude]
        self._offered, self._inside, self._chosen = 0, 0, 0
        self._first: list[str] = []

    def choose(self, names: Sequence[str]) -> list[bool]:
        """Say of each name whether it is selected."""
        inside = [name for name in names if self._in_group(name)]
        # Only until each has matched once, which costs nothing more where all do.
        self._idle = [one for one in self._idle if not any(map(one.search, inside))]
        chosen = [self._in_group(name) and self._wants(name) for name in names]
        self._offered += len(names)
        self._inside += len(inside)
        self._chosen += sum(chosen)
        if not self._chosen:
            self._first += names[: NAMES_COMPARED - len(self._first)]
        return chosen

    def needs(self, name: str, users: Collection[str]) -> bool:
        """Say whether a name that was not chosen itself stays, since chosen ones need it.

        Not where an expression excludes it by its name: one that matches it, and not all of those
        who need it. What they were included in spite of is no reason to leave it out.
        """
        excluding = [one for one in self._exclude if one.search(name)]
        return all(one.search(user) for one in excluding for user in users)

    def require_any(self) -> None:
        """Raise `InputError`, with the nearest names, if names were offered and none was chosen."""
        if self._chosen or (not self._offered and not self._selection.include):
            return
        if not self._inside:
            group = self._selection.group
            found, near = f"no {group!r}", _nearest([re.escape(group)], self._first)
        else:
            found, near = "none that is selected", _nearest(self._selection.include, self._first)
        hint = f"Did you mean {' or '.join(map(repr, near))}? " if near else ""
        shown = first_few([repr(name) for name in self._first], self._offered, NAMES_SHOWN)
        of, text = self._snapshot, to_text(self._selection)
        raise InputError(
            f"expected {text} to select {self._things} of {of.source} at {of.ref} (snapshot "
            f"{of.id}), found {found}. {hint}It has: {shown or 'nothing'}"
        )

    @property
    def notes(self) -> tuple[str, ...]:
        """Say which expressions matched nothing: a mistyped one selects something else."""
        idle = [one.pattern for one in self._idle]
        options = [to_text(Selection(include=(one.pattern,))) for one in self._include]
        options += [to_text(Selection(exclude=(one.pattern,))) for one in self._exclude]
        patterns = [one.pattern for one in (*self._include, *self._exclude)]
        return tuple(
            f"{option} matches none of the {self._offered:,} {self._things}"
            for option, pattern in zip(options, patterns, strict=True)
            if pattern in idle
        )

    def _in_group(self, name: str) -> bool:
        group = self._selection.group
        return not group or name == group or name.startswith(f"{group}/")

    def _wants(self, name: str) -> bool:
        if any(one.search(name) for one in self._include):
            return True
        if self._exclude:
            return not any(one.search(name) for one in self._exclude)
        return not self._include


def _expressions(option: str, given: str | Iterable[str] | None) -> tuple[str, ...]:
    """Return expressions in one order, each once, if all of them are expressions."""
    expressions = [given] if isinstance(given, str) else list(given or ())
    for one in expressions:
        _check(option, one)
    return tuple(sorted({*expressions}))


def _check(option: str, expression: str) -> None:
    if not isinstance(expression, str) or not expression:
        raise OptionError(
            f"expected a regular expression for --{option}, found {expression!r}. One that is to "
            "match everything is '.*'"
        )
    try:
        re.compile(expression)
    except re.error as error:
        where = f", at {expression[error.pos :]!r}" if error.pos is not None else ""
        raise OptionError(
            f"expected a regular expression (Python's) for --{option}, found {expression!r}: "
            f"{error}{where}"
        ) from error


def _nearest(expressions: Iterable[str], names: Sequence[str]) -> list[str]:
    """Return the names that look most like what some expressions say, whole or by a part of them.

    >>> _nearest(["^temprature$"], ["surface/temperature", "surface/rain"])
    ['surface/temperature']
    """
    by_part = {part: name for name in reversed(names) for part in (name.rpartition("/")[2], name)}
    near: list[str] = []
    for one in expressions:
        text = OPERATORS.sub(r"\1", one)
        near += [by_part[part] for part in difflib.get_close_matches(text, by_part, 3, 0.6)]
    return list(dict.fromkeys(near))[:NAMES_SHOWN]
