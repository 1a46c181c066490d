"""Removing, on its own, what is recorded at a destination and nothing refers to any more."""

from dataclasses import dataclass
from pathlib import PurePath
from typing import Any

from prefect_freight.config import StoreConfig
from prefect_freight.control.clearing import Removable, find_removable, remove
from prefect_freight.control.lock import hold_lock
from prefect_freight.control.status import nothing_recorded
from prefect_freight.errors import InputError
from prefect_freight.events import OnEvent, ignore_event
from prefect_freight.model import CONTROL_AREA, FORMAT_VERSION
from prefect_freight.stores import Store
from prefect_freight.stores.pages import list_keys
from prefect_freight.stores.urls import open_store


@dataclass(frozen=True, slots=True)
class Pruning:
    """What nothing at a destination refers to any more."""

    destination: str
    removed: bool
    """It is gone; or else it would be."""
    found: tuple[Removable, ...]

    @property
    def objects(self) -> int:
        """Objects of the control area."""
        return sum(one.objects for one in self.found)

    @property
    def bytes(self) -> int:
        """Bytes of them."""
        return sum(one.bytes for one in self.found)

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain JSON values."""
        return {
            "format_version": FORMAT_VERSION,
            "destination": self.destination,
            "removed": self.removed,
            "objects": self.objects,
            "bytes": self.bytes,
            "runs": [one.to_dict() for one in self.found],
        }


def prune(
    destination: str | PurePath | Store,
    *,
    keep: int = 0,
    dry_run: bool = False,
    config: StoreConfig | None = None,
    on_event: OnEvent = ignore_event,
) -> Pruning:
    """Remove the records that nothing refers to any more, and return what they were.

    All stays that the next export may need: the records of the last whole run, of all runs whose
    manifests hold a part of its copy, and of every run since, which may be resumed. So do those of
    the last `keep` runs up to the last whole one. With `dry_run` nothing is removed.

    Raises `InputError` for a negative `keep`, and for a place that no export was at;
    `UnsoundError` if the record of the last whole copy cannot be read, which tells what is needed;
    `LockedError` if an export is under way.
    """
    if keep < 0:
        raise InputError(f"expected keep of at least 0, found {keep}")
    if isinstance(destination, str | PurePath):
        destination = open_store(str(destination), config)
    # Before the lock, which would make what is only mistyped.
    if next(list_keys(destination, f"{CONTROL_AREA}/"), None) is None:
        raise nothing_recorded(destination)
    if dry_run:
        return Pruning(
            destination.url, removed=False, found=tuple(find_removable(destination, keep))
        )
    with hold_lock(destination, on_event) as lock:
        # Looked for under the lock: an export may have ended just before it.
        found = tuple(find_removable(destination, keep))
        for one in found:
            lock.check()
            remove(lock.destination, one)
        return Pruning(destination.url, removed=True, found=found)
