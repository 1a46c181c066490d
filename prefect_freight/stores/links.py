"""Symbolic links below a root: what may be read through them, and what may not be changed."""

import os

from prefect_freight.errors import DestinationError


class Links:
    """The links below a root, looked at where a path is used.

    What lies below one of the `linked` folders may lie anywhere. Folders are remembered once they
    were looked at: each look is a `realpath`, which every object would cost otherwise.
    """

    def __init__(self, root: str, linked: tuple[str, ...], url: str) -> None:
        self._root, self._linked, self._url = root, linked, url
        self._inside: set[str] = set()
        self._plain: set[str] = set()

    def refuse_outside(self, path: str) -> None:
        """Raise `DestinationError` for a path that leads out of the root."""
        if path in self._inside:
            return
        real = os.path.realpath(path)
        if not self._is_inside(real):
            raise DestinationError(
                f"expected everything below {self._url} to lie there, found a symbolic link from "
                f"{path!r} to {real!r}. Remove the link; nothing was read or written through it"
            )
        if os.path.isdir(real):  # a path that is not there yet may still become a link
            self._inside.add(path)

    def refuse_links(self, folder: str) -> None:
        """Raise `DestinationError` for a folder that is a link, or lies below one.

        For changes: an object behind a link lies there under two keys, and one of them may be
        somebody else's.
        """
        self.refuse_outside(folder)
        if folder in self._plain:
            return
        real, plain = os.path.realpath(folder), os.path.realpath(self._root)
        plain += folder[len(self._root) :]
        if real != plain:
            raise DestinationError(
                f"expected plain folders below {self._url}, found a symbolic link to {real!r} at "
                f"or above {folder!r}. Remove the link; nothing was changed through it"
            )
        if os.path.isdir(real):
            self._plain.add(folder)

    def is_linked_folder(self, entry: os.DirEntry[str], folder: str) -> bool:
        """Say whether an entry is a link to a folder below the root, other than those above it."""
        if not entry.is_symlink() or not entry.is_dir():
            return False
        real, parts = os.path.realpath(entry.path), folder.split("/")
        above = ["/".join(parts[:depth]) for depth in range(len(parts) + 1)]
        # By where they really are: links may lead into each other, round and round.
        loop = real in {os.path.realpath(os.path.join(self._root, path)) for path in above}
        return not loop and self._is_inside(real)

    def _is_inside(self, real: str) -> bool:
        places = (self._root, *(os.path.join(self._root, name) for name in self._linked))
        roots = map(os.path.realpath, places)
        return any(os.path.commonpath([root, real]) == root for root in roots)
