"""How a flow run ends that fails: what its state says, and which of its tasks is red."""

import json
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from histories import History, create
from scripted import LOCK, ScriptedObjectStore, ScriptedStore
from told import failed_tasks, log, until

from prefect_freight.errors import (
    AccessError,
    FreightError,
    IncompleteError,
    InternalError,
    LockedError,
    RefNotFoundError,
)
from prefect_freight.flows import export_repo
from prefect_freight.stores import Store
from prefect_freight.stores.urls import open_store

pytestmark = pytest.mark.usefixtures("prefect_server")
CHUNKS = 300


class ReadOnlyStore(ScriptedStore):
    """A store that may be read and not written, as those are whose credentials are for reading."""

    def write_new(self, key: str, data: bytes) -> bool:
        raise AccessError(f"may not write {key!r}")


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    history = History(tmp_path_factory.mktemp("ends") / "repository")
    history.commit(create("a", CHUNKS, chunks=(1,)))
    return history.path


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store(str(tmp_path / "copy"))


def failed(source: Path, store: Any, **options: Any) -> tuple[UUID, str, FreightError]:
    """Run the flow; return its id, its state's message and its error."""
    block = ScriptedObjectStore.of(store)
    state = export_repo(str(source), block, settle_s=0, return_state=True, **options)
    assert state.name == "Failed"
    error = state.result(raise_on_failure=False)
    run = state.state_details.flow_run_id
    assert run is not None
    return run, str(state.message), error


def test_a_destination_that_cannot_be_written_fails_the_task_that_takes_the_lock(
    source: Path, store: Store
) -> None:
    run, message, error = failed(source, ReadOnlyStore(store))
    assert isinstance(error, AccessError)
    assert message == str(error) == f"may not write {LOCK!r}"
    assert until(lambda: failed_tasks(run)) == ["take lock"]


def test_an_error_of_ours_is_the_message_of_the_state_and_has_no_traceback(
    source: Path, store: Store
) -> None:
    run, message, error = failed(source, ScriptedStore(store), ref="mian")
    assert isinstance(error, RefNotFoundError)
    assert message == str(error)
    lines = until(lambda: [line for line in log(run) if "Finished in state Failed" in line])
    assert any(message in line for line in lines)
    assert not any("Traceback" in line for line in log(run))
    assert until(lambda: failed_tasks(run)) == ["resolve mian"]


def test_the_reason_why_a_copy_is_not_whole_is_the_message_of_the_state(
    source: Path, store: Store
) -> None:
    def script(operation: str, key: str) -> None:
        if (operation, key) == ("write", "a/7"):
            raise AccessError("may not write it")

    _, message, error = failed(source, ScriptedStore(store, script))
    assert isinstance(error, IncompleteError)
    assert error.report is not None
    assert message == str(error)
    assert message.startswith("could not put 'a/7': may not write it")


@pytest.mark.slow
def test_a_lock_that_is_lost_fails_a_task(source: Path, store: Store, tmp_path: Path) -> None:
    holder = {"owner": "thief"}

    def script(operation: str, key: str) -> None:
        if (operation, key) == ("write", "a/7"):
            store.write(LOCK, json.dumps(holder).encode())

    run, _, error = failed(source, ScriptedStore(store, script))
    assert isinstance(error.__cause__, LockedError)
    assert until(lambda: failed_tasks(run)) == ["check lock"]


@pytest.mark.slow
def test_a_bug_of_ours_is_told_as_prefect_does_it(source: Path, store: Store) -> None:
    def script(operation: str, key: str) -> None:
        if operation == "list":
            raise InternalError("impossible")

    run, message, error = failed(source, ScriptedStore(store, script))
    assert isinstance(error, InternalError)
    assert "InternalError" in message
    assert until(lambda: [line for line in log(run) if "Traceback" in line])
