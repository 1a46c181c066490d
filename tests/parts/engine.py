"""The main path itself, on each runner: with a lease of its own, and somebody who listens."""

import logging
from collections.abc import Callable
from pathlib import PurePath
from typing import Any

from prefect_freight.control.lease import Lease
from prefect_freight.events import Event, StepStarted, ignore_event
from prefect_freight.exporting import run_export
from prefect_freight.model import ExportReport
from prefect_freight.options import plan_options
from prefect_freight.runner import PlainRunner
from prefect_freight.sources import Source
from prefect_freight.sources.kinds import open_source
from prefect_freight.stores import Store
from prefect_freight.stores.urls import open_store

THREADS = 4
type Listener = Callable[[Event], object]


class TellingLog(logging.LoggerAdapter[logging.Logger]):
    """A flow's log, which tells a listener of every line as of a step."""

    def __init__(self, listener: Listener) -> None:
        super().__init__(logging.getLogger("told"), {})
        self._listener = listener

    def log(self, level: int, msg: object, *args: object, **kwargs: Any) -> None:
        super().log(level, msg, *args, **kwargs)
        self._listener(StepStarted(str(msg) % args))


def run_engine(
    runner: str,
    source: str | PurePath | Source,
    destination: str | PurePath | Store,
    *,
    ref: str = "main",
    lease: Lease | None = None,
    listener: Listener = ignore_event,
    task_runner: Any = None,
    **changes: Any,
) -> ExportReport:
    """Export by one of the runners; `listener` hears what its `tell` does, in its way."""
    given = {"format": "zarr2", "verify": "sizes", "on_existing": "refuse", "settle_s": 0.0}
    given |= changes
    names = (given.pop(name) for name in ("format", "verify", "on_existing"))
    format_, verify, on_existing = map(str, names)
    options = plan_options(format_, THREADS, verify, on_existing, **given)  # type: ignore[arg-type]
    opened = open_source(str(source)) if isinstance(source, str | PurePath) else source
    store = open_store(str(destination)) if isinstance(destination, str | PurePath) else destination
    leased = {} if lease is None else {"lease": lease}
    if runner == "plain":
        plain = PlainRunner(THREADS, listener)  # type: ignore[arg-type]
        return run_export(opened, store, ref, options, plain, **leased)

    # Here, since it takes seconds, and a process that is suspended is to begin at once.
    from prefect import flow

    from prefect_freight.flows.export import RUNNER
    from prefect_freight.flows.runner import PrefectRunner

    @flow(task_runner=task_runner or RUNNER)
    def export_in_flow() -> ExportReport:
        log = TellingLog(listener)
        return run_export(opened, store, ref, options, PrefectRunner(THREADS, log), **leased)

    return export_in_flow()
