"""No secret reaches Prefect: not its database, its logs, its artifacts, nor the terminal."""

from pathlib import Path

from fixtures_prefect import PrefectServer
from prefect.client.orchestration import get_client
from servers import S3Server

from prefect_freight.blocks import ObjectStore
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
