"""The example that starts an export after a commit, with the events that a real lakeFS sent."""

import importlib.util
import json
import threading
from collections.abc import Iterator
from http.server import ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest

from prefect_freight.flows import export_repo

ROOT = Path(__file__).parents[2]
EVENTS = json.loads((ROOT / "tests/fixtures/lakefs/s3/webhook.json").read_text())
TOKEN = {"X-Freight-Token": "secret"}


@pytest.fixture
def hook() -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """Return the address of the receiver, and the parameters of the runs that it started."""
    spec = importlib.util.spec_from_file_location("hook", ROOT / "deployments/lakefs_hook.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    runs: list[dict[str, Any]] = []
    handler = module.make_handler(runs.append, "s3://archive/", TOKEN["X-Freight-Token"])
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/", runs
        server.shutdown()


def test_commits_and_merges_start_an_export_of_that_commit(
    hook: tuple[str, list[dict[str, Any]]],
) -> None:
    url, runs = hook
    for event in EVENTS:
        answer = httpx.post(url, json=event["json"], headers=event["headers"] | TOKEN)
        assert answer.status_code == 202
    made = [e["json"] for e in EVENTS if e["json"]["event_type"] in ("post-commit", "post-merge")]
    assert [run["ref"] for run in runs] == [event["commit_id"] for event in made]
    assert {run["source"] for run in runs} == {"lakefs://ocean"}
    assert runs[0]["destination"] == f"s3://archive/ocean/{made[0]['branch_id']}"
    for run in runs:
        assert export_repo.validate_parameters(run)["from_ref"] == "last"


@pytest.mark.parametrize(
    ("headers", "change", "status"),
    [
        ({}, {}, 401),
        ({"X-Freight-Token": "guessed"}, {}, 401),
        (TOKEN, {"branch_id": "../../other"}, 400),
        (TOKEN, {"commit_id": None, "repository_id": 3}, 400),
    ],
    ids=["no token", "another token", "a branch that leads elsewhere", "no event"],
)
def test_nobody_else_starts_one(
    hook: tuple[str, list[dict[str, Any]]],
    headers: dict[str, str],
    change: dict[str, Any],
    status: int,
) -> None:
    url, runs = hook
    answer = httpx.post(url, json=EVENTS[-1]["json"] | change, headers=headers)
    assert (answer.status_code, runs) == (status, [])
