"""No secret reaches Prefect: not its database, its logs, its artifacts, nor the terminal.

A secret that a form or a deployment has brought into Prefect's database as a parameter stays that
one row: no name, log, artifact or error repeats it.
"""

import secrets
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fixtures_prefect import PrefectServer
from prefect.client.orchestration import get_client
from prefect.client.schemas import FlowRun
from prefect.client.schemas.actions import BlockDocumentCreate
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId, LogFilter
from prefect.exceptions import PrefectHTTPStatusError
from prefect.flow_engine import run_flow
from prefect.logging.handlers import APILogWorker
from prefect.utilities.callables import parameter_schema
from servers import S3Server

from prefect_freight.blocks import ObjectStore
from prefect_freight.errors import ConfigError
from prefect_freight.flows import export_repo


def test_a_flow_of_the_command_line_leaves_no_secret_anywhere(
    prefect_server: PrefectServer, s3: S3Server, weather: Path, tmp_path: Path
) -> None:
    config, bucket = s3.yaml(tmp_path / "dest.yaml"), s3.new_bucket()
    said = prefect_server.run(
        "freight",
        *("export", str(weather), f"s3://{bucket}/copy", "--config", str(config), "--flow"),
        cwd=tmp_path,
        PREFECT_LOGGING_LEVEL="DEBUG",
    )
    assert "Objects transferred" in said
    assert s3.secret_access_key not in said
    written = prefect_server.written()
    assert bucket.encode() in written  # or the search would find nothing anyway
    assert s3.secret_access_key.encode() not in written


def test_an_inline_block_is_stored_with_its_secret_masked(
    prefect_server: PrefectServer, s3: S3Server, weather: Path
) -> None:
    destination = ObjectStore(
        url=f"s3://{s3.new_bucket()}/copy",
        endpoint_url=s3.endpoint_url,
        access_key_id=s3.access_key_id,
        secret_access_key=s3.secret_access_key,
    )
    state = export_repo(str(weather), destination, return_state=True)
    with get_client(sync_client=True) as client:
        stored = client.read_flow_run(state.state_details.flow_run_id).parameters["destination"]
    assert state.result().whole
    assert stored["secret_access_key"] == "**********"
    assert s3.secret_access_key.encode() not in prefect_server.written()


def test_keys_and_values_are_refused_before_prefect_stores_them(
    prefect_server: PrefectServer, weather: Path
) -> None:
    secret = canary()
    place: Any = {"url": "s3://b/c", "access_key_id": "a", "secret_access_key": secret}
    with pytest.raises(ConfigError, match="found keys and values") as caught:
        export_repo(str(weather), place)
    assert secret not in str(caught.value)
    assert secret.encode() not in prefect_server.written()


def canary() -> str:
    return f"canary{secrets.token_hex(8)}"


URLS = {
    "plain": "ftp://me:{}@127.0.0.1:1/copy",
    "in a chain": "simplecache::ftp://me:{}@127.0.0.1:1/copy",
    "behind a chain": "zip://copy::ftp://me:{}@127.0.0.1:1/a.zip",
    "without a path": "simplecache::ftp://me:{}@127.0.0.1",
    "in a query": "https://127.0.0.1:1/copy?token={}",
    "nested": "https://127.0.0.1:1/ftp%3A%2F%2Fme%3A{}%40host/copy",
}
QUICK = {"in a chain", "without a path"}
urls = pytest.mark.parametrize(
    "url",
    [
        pytest.param(url, id=kind, marks=[] if kind in QUICK else [pytest.mark.slow])
        for kind, url in URLS.items()
    ],
)


@pytest.mark.parametrize("side", [pytest.param("source", marks=pytest.mark.slow), "destination"])
def test_the_command_line_refuses_a_url_before_prefect_hears_of_it(
    prefect_server: PrefectServer, weather: Path, tmp_path: Path, side: str
) -> None:
    hidden = canary()
    url = URLS["in a chain"].format(hidden)
    places = [url, str(tmp_path / "copy")] if side == "source" else [str(weather), url]
    done = subprocess.run(
        [sys.executable, "-m", "prefect_freight", "export", *places, "--flow"],
        env=prefect_server.environment | {"PREFECT_LOGGING_LEVEL": "DEBUG"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=200,
    )
    assert done.returncode == 2
    assert "without credentials" in done.stderr
    assert hidden not in done.stdout + done.stderr
    assert hidden.encode() not in prefect_server.written()


@urls
@pytest.mark.parametrize("side", ["source", "destination"])
def test_a_call_of_the_flow_is_refused_before_prefect_hears_of_it(
    prefect_server: PrefectServer,
    weather: Path,
    caplog: pytest.LogCaptureFixture,
    url: str,
    side: str,
) -> None:
    hidden = canary()
    places = {"source": str(weather), "destination": "memory://copy"}
    for flow in (export_repo, export_repo.with_options(name="another")):
        with pytest.raises(ConfigError, match="without credentials") as caught:
            flow(**places | {side: url.format(hidden)})
        assert hidden not in repr(caught.value)
    assert hidden not in caplog.text
    assert hidden.encode() not in prefect_server.written()


def deployed(*, enforced: bool) -> Any:
    """Make a deployment of the flow, as `prefect deploy` does, and return its id."""
    with get_client(sync_client=True) as client:
        schema = parameter_schema(export_repo).model_dump_for_openapi()
        return client.create_deployment(
            client.create_flow(export_repo),
            f"deployment-{secrets.token_hex(4)}",
            parameter_openapi_schema=schema,
            enforce_parameter_schema=enforced,
            entrypoint="prefect_freight.flows.export:export_repo",
        )


@pytest.mark.parametrize("kind", ["plain", "in a chain", "behind a chain", "in a query"])
def test_the_server_refuses_parameters_with_credentials(
    prefect_server: PrefectServer, kind: str
) -> None:
    hidden, deployment = canary(), deployed(enforced=True)
    url = URLS[kind].format(hidden)
    parameters: dict[str, Any] = {"source": "memory://x", "destination": url}
    with get_client(sync_client=True) as client:
        for destination in (url, {"url": url}):
            with pytest.raises(PrefectHTTPStatusError, match="409"):
                client.create_flow_run_from_deployment(
                    deployment, parameters=parameters | {"destination": destination}
                )
        allowed = parameters | {"destination": "simplecache::s3://bucket/copy"}
        assert client.create_flow_run_from_deployment(deployment, parameters=allowed).id
    assert hidden.encode() not in prefect_server.written()


type Ran = tuple[FlowRun, str]


@pytest.fixture
def run_of(capfd: pytest.CaptureFixture[str]) -> Callable[..., Ran]:
    """Return what runs a deployment as a worker's process does: the run, and all that told of it.

    All but its parameters, as they were stored.
    """

    def run(**parameters: Any) -> Ran:
        with get_client(sync_client=True) as client:
            deployment = deployed(enforced=False)
            started = client.create_flow_run_from_deployment(deployment, parameters=parameters)
            run_flow(export_repo, started, started.parameters, return_type="state")
            APILogWorker.drain_all(timeout=30)
            ended = client.read_flow_run(started.id)
            logs = client.read_logs(LogFilter(flow_run_id={"any_": [started.id]}))
            runs = FlowRunFilter(id=FlowRunFilterId(any_=[started.id]))
            artifacts = client.read_artifacts(flow_run_filter=runs)
        shown = [ended.name, *ended.tags, repr(ended.state), *(log.message for log in logs)]
        shown += [f"{one.key} {one.description} {one.data}" for one in artifacts]
        return ended, "\n".join([*capfd.readouterr(), *shown])

    return run


@pytest.mark.usefixtures("prefect_server")
@urls
@pytest.mark.parametrize("side", ["source", "destination"])
def test_a_run_of_stored_credentials_repeats_them_nowhere(
    run_of: Callable[..., Ran], weather: Path, tmp_path: Path, url: str, side: str
) -> None:
    hidden = canary()
    places = {"source": str(weather), "destination": str(tmp_path / "copy")}
    run, said = run_of(**places | {side: url.format(hidden)})
    assert run.state_name == "Failed"
    assert hidden in run.parameters[side]  # Prefect has them: nobody could take that back
    assert "change the password" in said
    assert hidden not in said


@pytest.mark.usefixtures("prefect_server")
def test_a_wrong_parameter_does_not_show_the_others(
    run_of: Callable[..., Ran], weather: Path
) -> None:
    hidden = canary()
    inline = {"url": "s3://bucket/copy", "access_key_id": "k", "secret_access_key": hidden}
    run, said = run_of(source=str(weather), destination=inline, concurrency=0)
    assert run.state_name == "Failed"
    assert "concurrency" in said
    assert hidden not in said


@pytest.mark.usefixtures("prefect_server")
def test_a_block_with_a_password_in_its_url_repeats_it_nowhere(
    run_of: Callable[..., Ran], weather: Path
) -> None:
    hidden, name = canary(), f"block-{secrets.token_hex(4)}"
    ObjectStore(url="memory://x").save("any", overwrite=True)
    with get_client(sync_client=True) as client:  # as the UI's form does, without our checks
        any_block = client.read_block_document_by_name("any", "object-store")
        document = client.create_block_document(
            BlockDocumentCreate(
                name=name,
                data={"url": URLS["in a chain"].format(hidden)},
                block_type_id=any_block.block_type_id,
                block_schema_id=any_block.block_schema_id,
            )
        )
    by_id = {"$ref": {"block_document_id": str(document.id)}}
    for destination in (f"block:object-store/{name}", by_id):
        run, said = run_of(source=str(weather), destination=destination)
        assert run.state_name == "Failed", said
        assert hidden not in said
