"""A destination that takes its time for each chunk, in whichever process."""

import time
from typing import Any

from prefect_freight.blocks import ObjectStore
from prefect_freight.stores import Store
from prefect_freight.stores.wrapping import Wrapping


class SlowStore(Wrapping):
    """A store whose objects under `a/` take a while."""

    def __init__(self, inner: Store, pause_s: float) -> None:
        super().__init__(inner)
        self._pause_s = pause_s

    def __reduce__(self) -> tuple[Any, ...]:
        return SlowStore, (self.inner, self._pause_s)

    def write(self, key: str, data: bytes) -> None:
        if key.startswith("a/"):
            time.sleep(self._pause_s)
        super().write(key, data)


class SlowObjectStore(ObjectStore):
    """An object store block that opens a slow store."""

    _block_type_name = "Slow Object Store"
    _block_type_slug = "slow-object-store"
    pause_s: float = 0.01

    def open(self) -> Store:
        return SlowStore(super().open(), self.pause_s)
