"""Sources of each kind, with states that can be gone to again, and what a copy of each state is."""

import random
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import numpy as np
import zarr
from folders import Folder
from histories import History, attributes, data, delete, resize, tree
from runners import export_at_once

ARRAYS = ["a", "a/0", "g/b", "g/h/c", "n", "é b%#"]
FILES = ["a", "a/b", "d", "d/x", "d/x/y", "d/deep/y", "n", "é z", "_SUCCESS", "d/_SUCCESS"]


class World(Protocol):
    """A source with a few states."""

    source: Path | str
    format: str
    states: int

    def go(self, state: int) -> str:
        """Bring the source to a state; return the ref that stands for it."""
        ...

    def copies(self) -> dict[str, dict[str, bytes]]:
        """Return what a copy holds, by the snapshots that there were up to now."""
        ...


class Arrays:
    """A repository whose states are snapshots of it."""

    def __init__(self, folder: Path, rng: random.Random, format_: str) -> None:
        self.format = format_
        history = History(folder / "repository")
        self.source: Path | str = history.path
        self._snapshots = [
            history.commit(*(array_change(rng) for _ in range(rng.randint(1, 4) if n else 6)))
            for n in range(rng.randint(3, 5))
        ]
        self.states = len(self._snapshots)
        self._copies: dict[str, dict[str, bytes]] = {}
        for number, snapshot in enumerate(self._snapshots):
            copy = folder / f"fresh-{number}"
            export_at_once(history.path, copy, ref=snapshot, format=format_)
            self._copies[snapshot] = data(copy)

    def go(self, state: int) -> str:
        return self._snapshots[state]

    def copies(self) -> dict[str, dict[str, bytes]]:
        return self._copies


class Files:
    """A folder, whose states are of different times; each is a snapshot of its own."""

    format = "objects"

    def __init__(self, folder: Path, rng: random.Random) -> None:
        self._folder = Folder(folder / "source")
        self.source: Path | str = self._folder.url
        self._contents: list[dict[str, bytes]] = []
        contents: dict[str, bytes] = {}
        for _ in range(rng.randint(3, 5)):
            contents = files_after(contents, rng)
            self._contents.append(contents)
        self.states = len(self._contents)
        self._copies: dict[str, dict[str, bytes]] = {}

    def go(self, state: int) -> str:
        """Write what differs, and leave all other files as old as they are."""
        from prefect_freight.sources.kinds import open_source

        root, wanted = self._folder.path, self._contents[state] | {"anchor": b"stays"}
        for key in set(tree(root)) - set(wanted):
            (root / key).unlink()
        for path in sorted((p for p in root.rglob("*") if p.is_dir()), reverse=True):
            if not any(path.iterdir()):
                path.rmdir()
        for key, content in wanted.items():
            path = root / key
            if not path.is_file() or path.read_bytes() != content:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.unlink(missing_ok=True)
                path.write_bytes(content)
        self._copies[open_source(self._folder.url).resolve("main").id] = wanted
        return "main"

    def copies(self) -> dict[str, dict[str, bytes]]:
        return self._copies


def make_world(folder: Path, rng: random.Random) -> World:
    """Return a source of any kind."""
    kind = rng.choice(["zarr2", "zarr2", "zarr3", "objects"])
    return Files(folder, rng) if kind == "objects" else Arrays(folder, rng, kind)


def files_after(contents: dict[str, bytes], rng: random.Random) -> dict[str, bytes]:
    """Return what a folder holds after some changes; no file lies where a folder is to be."""
    after = dict(contents)
    for _ in range(rng.randint(2, 7)):
        key = rng.choice([*FILES, f"many/{rng.randrange(40):03d}"])
        if rng.random() < 0.3:
            after.pop(key, None)
            continue
        for other in list(after):
            if other.startswith(f"{key}/") or key.startswith(f"{other}/"):
                del after[other]
        after[key] = rng.randbytes(rng.choice([0, 1, 3, 3]))
    return after


def array_change(rng: random.Random) -> Callable[[zarr.Group], object]:
    """Return a change of a repository of a few small arrays."""

    def change(root: zarr.Group) -> object:
        arrays = sorted(p for p, node in root.members(max_depth=None) if hasattr(node, "shape"))
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
