"""Exports by each runner. Those by the flow are slow tests but where a test is `by_flow_too`."""

import functools
from collections.abc import Callable
from pathlib import Path

import pytest
from command import Machine
from fixtures_prefect import PrefectServer
from runners import RUNNERS, Run


@pytest.fixture(params=RUNNERS)
def export(request: pytest.FixtureRequest) -> Run:
    """Return an export that waits for no readers, by each of the runners."""
    if request.param == "flow":
        request.getfixturevalue("prefect_server")
    return functools.partial(RUNNERS[request.param], settle_s=0)


@pytest.fixture
def machine(tmp_path: Path, request: pytest.FixtureRequest) -> Callable[[str], Machine]:
    """Return a function that makes a machine; what runs there ends with the test."""

    def make(name: str) -> Machine:
        one = Machine(tmp_path, name)
        request.addfinalizer(one.clean)
        return one

    return make


@pytest.fixture(params=RUNNERS)
def exporter(
    machine: Callable[[str], Machine], request: pytest.FixtureRequest
) -> Callable[[str], Machine]:
    """Return a function that makes a machine whose command exports by each of the runners."""
    if request.param == "plain":
        return machine
    server: PrefectServer = request.getfixturevalue("prefect_server")

    def make(name: str) -> Machine:
        one = machine(name)
        one.options, one.environment = ("--flow",), {"PREFECT_API_URL": server.api_url}
        return one

    return make


@pytest.hookimpl(tryfirst=True)  # before those that are slow are deselected
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark as slow what runs by the flow, but for the cases that `by_flow_too` names.

    And all cases of a matrix but those that `usually` names.
    """
    for item in items:
        usual = [marker.args for marker in item.iter_markers("usually")]
        if usual and not any(all(part in item.name for part in parts) for parts in usual):
            item.add_marker(pytest.mark.slow)
        parameters = getattr(getattr(item, "callspec", None), "params", {})
        if "flow" in (parameters.get("export"), parameters.get("exporter")):
            quick = [marker.args for marker in item.iter_markers("by_flow_too")]
            if not any(all(part in item.name for part in parts) for parts in quick):
                item.add_marker(pytest.mark.slow)
