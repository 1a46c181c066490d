"""Sources of each kind, with states that can be gone to again, and what a copy of each state is."""

import random
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import zarr
from folders import ANCHOR, FileChange, overwrite, put, remove, rename
from histories import attributes, create, delete, resize
from layouts import Arrays, Objects, Subject

from prefect_freight.sources.kinds import open_source

KEPT = "kept"
"""An array that stays, so that something is selected of each state."""
SELECTIONS: list[dict[str, tuple[str, ...]]] = [
    {},
    {"exclude": ("b", "^d/", "^n")},
    {"include": (KEPT, ANCHOR, "^g", "^many/0")},
]
"""Nothing of any state but what stays is in all of them."""
ARRAYS = ["a", "a/0", "g/b", "g/h/c", "n", "é b%#"]
FILES = ["a", "a/b", "d", "d/x", "d/x/y", "d/deep/y", "n", "é z", "_SUCCESS", "d/_SUCCESS"]


class World:
    """A source with a few states, and what a copy of each snapshot of it holds."""

    def __init__(self, subject: Subject, states: int) -> None:
        self._subject, self.states = subject, states
        self.source, self.format = subject.url, subject.options["format"]
        self._states: dict[str, int] = {}
        """By the snapshots that there were up to now."""

    def go(self, state: int) -> str:
        """Bring the source to a state; return the ref that stands for it."""
        ref = self._subject.visit(state)
        snapshot = open_source(self.source).resolve(ref)
        self._states[snapshot.id] = state
        return ref

    def copy(self, snapshot: str, selection: int) -> dict[str, bytes]:
        """Return what a copy of a part of a snapshot holds that there was."""
        state = self._states[snapshot]
        if isinstance(self._subject, Arrays):
            return self._subject.expected(state, **SELECTIONS[selection])
        chosen = SELECTIONS[selection]
        files = self._subject.expected(state)
        return {key: blob for key, blob in files.items() if _is_selected(key, **chosen)}


def _is_selected(key: str, include: tuple[str, ...] = (), exclude: tuple[str, ...] = ()) -> bool:
    """Say so, of a selection that either includes or excludes."""
    if exclude:
        return not any(re.search(one, key) for one in exclude)
    return not include or any(re.search(one, key) for one in include)


def make_world(folder: Path, rng: random.Random) -> World:
    """Return a source of any kind."""
    kind, states = rng.choice(["zarr2", "zarr2", "zarr3", "objects"]), rng.randint(3, 5)
    subject: Subject = Objects(folder) if kind == "objects" else Arrays(folder, kind)
    change = file_change if kind == "objects" else array_change
    for state in range(states):
        changes = [change(rng) for _ in range(rng.randint(1, 4) if state else 6)]
        if kind != "objects" and not state:
            changes.append(create(KEPT, 2))
        subject.add(*changes)
    return World(subject, states)


def file_change(rng: random.Random) -> FileChange:
    """Return a change of a folder of a few small files."""
    key = rng.choice([*FILES, f"many/{rng.randrange(40):03d}"])
    kind = rng.random()
    if kind < 0.3:
        return remove(key)
    if kind < 0.4:
        return rename(key, rng.choice(FILES))
    if kind < 0.5:
        return overwrite(key)
    return put(key, rng.randbytes(rng.choice([0, 1, 3, 3])))


def array_change(rng: random.Random) -> Callable[[zarr.Group], object]:
    """Return a change of a repository of a few small arrays."""

    def change(root: zarr.Group) -> object:
        members = root.members(max_depth=None)
        arrays = sorted(p for p, node in members if hasattr(node, "shape") and p != KEPT)
        if not arrays or rng.random() < 0.35:
            return _create(root, rng.choice(ARRAYS), rng)
        path, kind = rng.choice(arrays), rng.random()
        array = root[path]
        if kind < 0.5 and array.ndim:
            array[_box(array.ndim, rng)] = rng.randint(0, 9)
        elif kind < 0.7 and array.ndim:
            array.resize(tuple(rng.randint(0, 9) for _ in range(array.ndim)))
        elif kind < 0.85:
            return delete(rng.choice([path, path.split("/")[0]]))(root)
        elif kind < 0.95:
            return attributes("", n=rng.randint(0, 3))(root)
        else:
            array.attrs.put({"scale_factor": rng.randint(1, 3)})
        return None

    return change


def _create(root: zarr.Group, name: str, rng: random.Random) -> None:
    for above in list(Path(name).parents)[:-1]:
        if str(above) in root and hasattr(root[str(above)], "shape"):
            delete(str(above))(root)
    dimensions = rng.choice([0, 1, 1, 1, 2, 3])
    array = root.create_array(
        name,
        shape=tuple(rng.randint(0, 7) for _ in range(dimensions)),
        chunks=tuple(rng.randint(1, 3) for _ in range(dimensions)),
        dtype=rng.choice(["i4", "i4", "f4", "i2"]),
        fill_value=rng.choice([0, 0, 1, 7]),
        overwrite=True,
        **({"compressors": None} if rng.random() < 0.6 else {}),
        **({"attributes": {"_FillValue": rng.choice([0, 7])}} if rng.random() < 0.3 else {}),
    )
    if not dimensions:
        array[...] = rng.randint(0, 3)
        return
    for _ in range(rng.randint(0, 4)):
        array[_box(dimensions, rng)] = rng.randint(0, 9)
    if rng.random() < 0.2:
        resize(name, int(np.max(array.shape)) + 2, 5)(root)


def _box(dimensions: int, rng: random.Random) -> tuple[slice, ...]:
    starts = [rng.randint(0, 6) for _ in range(dimensions)]
    return tuple(slice(start, start + rng.randint(1, 4)) for start in starts)
