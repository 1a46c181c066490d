"""How a flow run ends badly: its state says what the error says."""

import functools
import logging
from collections.abc import Callable
from typing import Any, cast

from prefect import Flow, get_run_logger
from prefect.client.orchestration import get_client
from prefect.context import FlowRunContext
from prefect.logging.loggers import get_logger
from prefect.states import Failed

from prefect_freight.errors import FreightError, InternalError


def ending_plainly[**P, R](flow: Flow[P, R]) -> Flow[P, R]:
    """Return a flow whose run fails with the message of an error of ours, and nothing else.

    Whoever calls it gets the error itself, as before; the traceback is logged at debug level. Any
    other error, and one that is a bug of ours, is told as Prefect does it.
    """
    # Inside the flow, and not around it: there its file, its version and its signature are its own.
    flow.fn = _ending_plainly(flow.fn)
    for logger in (get_logger("flow_runs"), get_logger("engine")):
        logger.addFilter(_told_already)
    return flow


def _told_already(record: logging.LogRecord) -> bool:
    """Return whether a record may be logged: all may, but an error of ours that was told before.

    In a worker's process the engine raises it from the state to nobody, and logs its traceback.
    """
    error = record.exc_info[1] if record.exc_info else None
    is_ours = isinstance(error, FreightError) and not isinstance(error, InternalError)
    return not (is_ours and "exited with unexpected exception" in record.getMessage())


def _ending_plainly[**P, R](body: Callable[P, R]) -> Callable[P, R]:
    @functools.wraps(body)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return body(*args, **kwargs)
        except InternalError:
            raise
        except FreightError as error:
            if _may_be_tried_again():
                raise  # Prefect tries a flow again after errors, and not after states
            get_run_logger().debug("What led to it:", exc_info=True)
            failed: Any = Failed(message=str(error), data=error)
            return cast("R", failed)

    return run


def _may_be_tried_again() -> bool:
    """Return whether Prefect runs the flow once more by itself if it fails now."""
    context = FlowRunContext.get()
    if context is None or context.flow_run is None:
        return True
    retries = context.flow_run.empirical_policy.retries or 0
    if not retries:
        return False
    with get_client(sync_client=True) as client:  # only the server counts a run's attempts
        return client.read_flow_run(context.flow_run.id).run_count <= retries
