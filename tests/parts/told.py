"""What Prefect's server was told of flow runs."""

import time
from collections.abc import Callable
from uuid import UUID

from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import (
    ArtifactFilter,
    ArtifactFilterKey,
    FlowRunFilter,
    FlowRunFilterId,
    LogFilter,
    LogFilterFlowRunId,
)
from prefect.events.filters import EventFilter, EventNameFilter, EventResourceFilter
from prefect.events.schemas.events import ReceivedEvent

from prefect_freight.flows.summary import artifact_key

WITHIN_S = 30.0


def until[T](look: Callable[[], T]) -> T:
    """Return what a look finds, once it finds anything: much is sent in the background."""
    deadline = time.monotonic() + WITHIN_S
    while not (found := look()) and time.monotonic() < deadline:
        time.sleep(0.2)
    return found


def percent(destination: str) -> float | None:
    """Return how much of an export to a destination is done, as its newest artifact tells."""
    key = ArtifactFilterKey(any_=[artifact_key("progress", destination)])
    with get_client(sync_client=True) as client:
        found = client.read_artifacts(artifact_filter=ArtifactFilter(key=key))
    newest = max(found, key=lambda artifact: artifact.created, default=None)  # type: ignore[arg-type, return-value]
    return None if newest is None else float(newest.data)  # type: ignore[arg-type]


def failed_tasks(run: UUID) -> list[str]:
    """Return the names of the task runs of a flow run that failed."""
    only = FlowRunFilter(id=FlowRunFilterId(any_=[run]))
    with get_client(sync_client=True) as client:
        found = client.read_task_runs(flow_run_filter=only)
    return [one.name for one in found if one.state is not None and one.state.is_failed()]


def log(run: UUID) -> list[str]:
    """Return the lines of a flow run's log, and of its tasks'."""
    only = LogFilter(flow_run_id=LogFilterFlowRunId(any_=[run]))
    with get_client(sync_client=True) as client:
        return [line.message for line in client.read_logs(only)]


def events(name: str, resource: str) -> list[ReceivedEvent]:
    """Return the events of a name that a resource had."""
    only = EventFilter(
        event=EventNameFilter(name=[name]), resource=EventResourceFilter(id=[resource])
    )
    with get_client(sync_client=True) as client:
        answer = client.request(
            "POST", "/events/filter", json={"filter": only.model_dump(mode="json")}
        )
    return [ReceivedEvent.model_validate(event) for event in answer.json()["events"]]
