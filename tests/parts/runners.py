"""The ways to run an export, called alike: in the plain loop, and as Prefect's flow."""

import functools
from collections.abc import Callable
from pathlib import PurePath
from typing import Any

from pydantic import PrivateAttr

from prefect_freight import export
from prefect_freight.blocks import IcechunkRepository, ObjectStore
from prefect_freight.flows import export_repo
from prefect_freight.model import ExportReport
from prefect_freight.sources import Source
from prefect_freight.stores import Store

type Run = Callable[..., ExportReport]
"""`run(source, destination, **options)`, with the options of the flow."""


class HeldSource(IcechunkRepository):
    """A repository block that opens a source which is open already."""

    _block_type_name = "Held Source"
    _block_type_slug = "held-source"
    _held: Source = PrivateAttr()

    def holding(self, source: Source) -> "HeldSource":
        self._held = source
        return self

    def open(self) -> Source:
        return self._held


class HeldStore(ObjectStore):
    """A store block that opens a store which is open already: a faulty one, say."""

    _block_type_name = "Held Store"
    _block_type_slug = "held-store"
    _held: Store = PrivateAttr()

    def holding(self, store: Store) -> "HeldStore":
        self._held = store
        return self

    def open(self) -> Store:
        return self._held


def run_flow(
    source: str | PurePath | Source, destination: str | PurePath | Store, **options: Any
) -> ExportReport:
    """Run the flow in this process, as `prefect_freight.export` is called."""
    opened: IcechunkRepository | str
    if isinstance(source, str | PurePath):
        opened = str(source)
    else:
        opened = HeldSource(url=source.storage_url).holding(source)
    store: ObjectStore | str
    if isinstance(destination, str | PurePath):
        store = str(destination)
    else:
        store = HeldStore(url=destination.url).holding(destination)
    report: ExportReport = export_repo(opened, store, **options)
    return report


RUNNERS: dict[str, Run] = {"plain": export, "flow": run_flow}
export_at_once: Run = functools.partial(export, settle_s=0)
"""The plain loop, which waits for no readers: it makes what a copy is compared with."""
