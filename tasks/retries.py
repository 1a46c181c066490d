"""When Prefect tries a step again: only after errors that may be retried, and later each time."""

from typing import Any

from prefect import Task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State, TaskRun
from prefect.tasks import exponential_backoff

from prefect_freight.errors import TransientError
from prefect_freight.tasks.attempts import UnitIncompleteError


def may_be_retried(task: Task[..., Any], task_run: TaskRun, state: State[Any]) -> bool:  # noqa: ARG001
    """Return whether the error that ended an attempt may be retried."""
    # By the error itself and not by its text, which a server may have written.
    match state.result(raise_on_failure=False):
        case TransientError():
            return True
        case UnitIncompleteError() as error:
            return error.transient
        case _:
            return False


STEP: dict[str, Any] = {
    "retries": 5,
    # 2, 4, 8, 16, 32 s: beside the engine's own retries, an outage of a minute or two is outlived.
    "retry_delay_seconds": exponential_backoff(backoff_factor=2),
    "retry_jitter_factor": 0.5,
    "retry_condition_fn": may_be_retried,
    # What is done is recorded at the destination; what Prefect would record could contradict it.
    "cache_policy": NO_CACHE,
    "persist_result": False,
}
"""Options of every task."""
