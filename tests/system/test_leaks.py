"""With everything logged at debug level, no secret is in anything that an export produces."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from proxies import Fault, Rule, proxied
from servers import S3Server, free_ports

from prefect_freight.stores.urls import open_store

SECRET, TOKEN = "hush-hush-secret-0123456789", "hush-hush-token-0123456789"
LOUD = (
    "import logging; logging.basicConfig(level=logging.DEBUG);"
    "import prefect_freight.cli as c; c.main()"
)


def export_loudly(cwd: Path, *args: object) -> str:
    """Run an export that fails, with every log on; return all that it said and wrote."""
    done = subprocess.run(
        [sys.executable, "-c", LOUD, "export", *map(str, args), "--retry-for", "1", "--json"],
        env=os.environ | {"RUST_LOG": "debug", "ICECHUNK_LOG": "debug", "RUST_BACKTRACE": "1"},
        cwd=cwd,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 1, done.stderr[-2000:]
    assert "DEBUG" in done.stderr
    written = [p.read_bytes().decode("latin-1") for p in cwd.rglob("*") if p.is_file()]
    return "\n".join([done.stdout, done.stderr, *written])


def config(folder: Path, endpoint: str, key: str, token: str) -> Path:
    path = folder.parent / f"{folder.name}.yaml"
    path.write_text(
        f"endpoint_url: {endpoint}\naccess_key_id: {key}\nsecret_access_key: {SECRET}\n"
        f"session_token: {token}\n"
    )
    return path


@pytest.fixture
def empty(tmp_path: Path) -> Path:
    folder = tmp_path / "run"
    folder.mkdir()
    return folder


@pytest.mark.usually("destination")
@pytest.mark.parametrize("side", ["source", "destination"])
def test_of_a_wrong_endpoint(s3: S3Server, weather: Path, empty: Path, side: str) -> None:
    wrong = config(empty, f"http://127.0.0.1:{free_ports(1)[0]}", s3.access_key_id, TOKEN)
    said = run_with(wrong, "s3://bucket/place", weather, empty, side)
    assert "no answer from" in said
    assert SECRET not in said
    assert TOKEN not in said


@pytest.mark.parametrize("side", ["source", "destination"])
def test_of_wrong_credentials(
    s3: S3Server, many: str, weather: Path, empty: Path, side: str
) -> None:
    wrong = config(empty, s3.endpoint_url, s3.access_key_id, TOKEN)
    said = run_with(wrong, many, weather, empty, side)
    assert SECRET not in said
    assert TOKEN not in said


@pytest.mark.parametrize("side", ["source", "destination"])
def test_of_a_server_that_repeats_the_request(
    s3: S3Server, many: str, weather: Path, empty: Path, side: str
) -> None:
    with proxied(s3.endpoint_url, Rule(Fault.ECHO)) as proxy:
        wrong = config(empty, proxy.endpoint_url, s3.access_key_id, TOKEN)
        said = run_with(wrong, many, weather, empty, side)
        assert proxy.faults[Fault.ECHO] > 0
    assert SECRET not in said
    assert TOKEN not in said


def run_with(wrong: Path, url: str, weather: Path, empty: Path, side: str) -> str:
    if side == "source":
        return export_loudly(empty, f"icechunk+{url}", "copy", "--source-config", wrong)
    return export_loudly(empty, weather, url, "--config", wrong)


def test_of_a_half_way_failure_in_marker_and_report(
    s3: S3Server, weather: Path, empty: Path
) -> None:
    with proxied(s3.endpoint_url, Rule(Fault.ECHO, "PUT", "temperature")) as proxy:
        right = s3.yaml(empty.parent / "dest.yaml")
        right.write_text(right.read_text().replace(s3.endpoint_url, proxy.endpoint_url))
        url = f"s3://{s3.new_bucket()}/copy"
        said = export_loudly(empty, weather, url, "--config", right)
    assert "_FAILURE" in said
    store = open_store(url, s3.config())
    written = [store.read(key) for page in store.list() for key in page["key"].to_pylist()]
    assert b"SignatureDoesNotMatch" in b"\n".join(written)
    assert s3.secret_access_key not in said
    assert s3.secret_access_key.encode() not in b"\n".join(written)
    assert b"AWS4-HMAC" not in b"\n".join(written)
