"""Folders of plain files that are changed step by step, and random changes of them."""

import os
from collections.abc import Callable, Mapping
from pathlib import Path

from hypothesis import strategies as st

FileChange = Callable[[Path], object]
ANCHOR = "anchor"
"""It stays, since a folder without any file is no source."""


class Folder:
    """Plain files below a folder, the only snapshot of which is what lies there now."""

    def __init__(self, path: Path) -> None:
        self.path = path
        put(ANCHOR, b"stays")(path)

    @property
    def url(self) -> str:
        return f"objects+file://{self.path}"

    def become(self, files: Mapping[str, bytes]) -> None:
        """Hold these files, written anew where others lay; equal ones stay the files they are."""
        now = {str(p.relative_to(self.path)): p for p in self.path.rglob("*") if p.is_file()}
        for key in now.keys() - files.keys():
            remove(key)(self.path)
        for key, blob in files.items():
            if key not in now or now[key].read_bytes() != blob:
                put(key, blob)(self.path)

    def change(self, *changes: FileChange) -> None:
        """Apply changes."""
        for change in changes:
            change(self.path)


def put(key: str, data: bytes) -> FileChange:
    """Return a change that puts a file, in the place of what lies in its way."""

    def change(root: Path) -> None:
        path = root / key
        for above in path.relative_to(root).parents:
            if (root / above).is_file():
                (root / above).unlink()
        remove(key)(root)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)

    return change


def overwrite(key: str) -> FileChange:
    """Return a change of a file's bytes, where there is one: it is as large, and as old."""

    def change(root: Path) -> None:
        path = root / key
        if path.is_file():
            before = path.stat()
            other = path.with_name("other")
            other.write_bytes(bytes(255 - byte for byte in path.read_bytes()))
            os.utime(other, ns=(before.st_atime_ns, before.st_mtime_ns))
            other.replace(path)  # another inode, since both were there at once

    return change


def remove(key: str) -> FileChange:
    """Return a change that removes a file, or a folder and all below it."""

    def change(root: Path) -> None:
        path = root / key
        if path.is_dir():
            for below in path.iterdir():
                remove(below.name)(path)
            path.rmdir()
        elif path.is_file():
            path.unlink()

    return change


def rename(old: str, new: str) -> FileChange:
    """Return a change that moves a file or folder, where there is one and its new place is free."""

    def change(root: Path) -> None:
        source, target = root / old, root / new
        free = not target.exists() and target.parent.is_dir()
        if source.exists() and free and source not in target.parents:
            source.rename(target)

    return change


def many(prefix: str, count: int, size: int = 3) -> FileChange:
    """Return a change that puts many small files."""

    def change(root: Path) -> None:
        for number in range(count):
            put(f"{prefix}{number:03d}", f"{number:0{size}d}".encode())(root)

    return change


BASE: tuple[FileChange, ...] = (
    put("a", b"first"),
    put("d/x", b"second"),
    put("d/deep/y", b""),
    many("many/", 20),
)
CHANGES: dict[str, tuple[FileChange, ...]] = {
    "nothing": (),
    "file changed": (put("a", b"longer than before"),),
    "file of the same size and time": (overwrite("a"), overwrite("d/x")),
    "file touched": (lambda root: os.utime(root / "a", ns=(1, 1)),),
    "file added": (put("n", b"new"), put("d/deep/er/n", b"new")),
    "file emptied": (put("a", b""),),
    "file removed": (remove("a"),),
    "file renamed": (rename("a", "b"), rename("d/x", "d/deep/x")),
    "folder renamed": (rename("d", "e"), rename("many", "d")),
    "folder removed": (remove("d"),),
    "many added": (many("many/", 60), many("d/", 30)),
    "many changed": (many("many/", 20, size=5),),
    "file becomes a folder": (put("a/b/c", b"below"), put("d/x/y", b"below")),
    "folder becomes a file": (put("d", b"a file"), put("many", b"a file")),
    "folder and file change places": (
        rename("a", "t"),
        rename("d", "a"),
        rename("t", "d"),
    ),
    "odd names": (put("a b/é+%2F/日本", b"1"), put("#?&=[x]{y}*~", b"2")),
}
"""Every kind of change of a folder, by name."""
NEXT: tuple[FileChange, ...] = (
    *CHANGES["folder and file change places"],
    *CHANGES["odd names"],
    many("many/", 12, size=5),
    put("n", b"new"),
)
OTHER: tuple[FileChange, ...] = (*CHANGES["file of the same size and time"], put("n", b"newer"))
"""Changes of every kind at once; and what another export after them changes."""

KEYS = st.sampled_from(
    ["a", "a/b", "d", "d/x", "d/x/y", "d/deep/y", "n", "é z", "_SUCCESS", "d/_SUCCESS"]
)
RANDOM_CHANGE: st.SearchStrategy[FileChange] = st.one_of(
    st.builds(put, KEYS, st.binary(max_size=3)),
    st.builds(overwrite, KEYS),
    st.builds(remove, KEYS),
    st.builds(rename, KEYS, KEYS),
    st.builds(many, st.sampled_from(["many/", "d/", "n"]), st.integers(0, 30)),
)
LARGE_BASE, LARGE_CHANGE = BASE, RANDOM_CHANGE
"""Enough for several sections of a few objects."""
