"""A source of each layout that moves on, and exports of it that are cut off."""

from contextlib import suppress
from pathlib import Path
from typing import Any

from dying import DyingStore
from folders import Folder
from histories import History, data
from runners import Run, export_at_once

from prefect_freight.errors import FreightError
from prefect_freight.model import ExportReport
from prefect_freight.stores.urls import open_store

LAYOUTS = ["zarr2", "zarr3", "objects"]


class Moving:
    """A source, its copy, and exports from one to the other in one format."""

    def __init__(self, folder: Path, format_: str, run: Run) -> None:
        self.folder, self.format, self._run = folder, format_, run
        self.copy = folder / "copy"
        self.objects = Folder(folder / "source") if format_ == "objects" else None
        self.arrays = None if self.objects else History(folder / "source")
        self._fresh = 0

    @property
    def url(self) -> str:
        return self.objects.url if self.objects else str(self.folder / "source")

    def commit(self, *changes: Any) -> None:
        """Move the source on, by changes of its kind."""
        if self.objects:
            self.objects.change(*changes)
        elif self.arrays:
            self.arrays.commit(*changes)

    def export(self, destination: Any = None, **options: Any) -> ExportReport:
        """Export what the source is now."""
        return self._run(self.url, destination or self.copy, format=self.format, **options)

    def cut_off(self, changes: int, **options: Any) -> bool:
        """Export until the copy was changed so often; return whether it came to an end."""
        store = DyingStore(open_store(str(self.copy)), changes)
        with suppress(FreightError):
            self.export(store, concurrency=2, **options)
        return not store.dead

    def fresh(self) -> dict[str, bytes]:
        """Return what an uninterrupted export to an empty place makes."""
        self._fresh += 1
        place = self.folder / f"fresh-{self._fresh}"
        export_at_once(self.url, place, format=self.format)
        return data(place)

    @property
    def chunks(self) -> list[Path]:
        """All objects of the copy that are not documents, in the order of their keys."""
        keys = sorted(data(self.copy))
        names = ("zarr.json", ".z", "EXPORT_")
        return [self.copy / key for key in keys if not Path(key).name.startswith(names)]


def flip(path: Path) -> None:
    """Change a file's bytes and not its size."""
    path.write_bytes(bytes(255 - byte for byte in path.read_bytes()))
