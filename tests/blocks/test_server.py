"""Where no Prefect server answers, a line says so; where Prefect starts one itself, too."""

import os
import subprocess
from pathlib import Path

import pytest
from command import FREIGHT
from prefect.settings import (
    PREFECT_API_URL,
    PREFECT_SERVER_EPHEMERAL_ENABLED,
    temporary_settings,
)
from servers import free_ports

from prefect_freight.blocks.references import load_reference
from prefect_freight.blocks.register import register_file
from prefect_freight.blocks.server import temporary_server
from prefect_freight.errors import ServerError
from prefect_freight.flows import run_export_flow

BLOCKS = "blocks: [{type: object-store, name: archive, url: /data}]"


@pytest.fixture
def nobody() -> str:
    """Return an address where no server listens."""
    (port,) = free_ports(1)
    return f"http://127.0.0.1:{port}/api"


def test_a_server_that_does_not_answer_is_named_with_the_cure(nobody: str, tmp_path: Path) -> None:
    (tmp_path / "blocks.yaml").write_text(BLOCKS)
    said = rf"expected Prefect's API at {nobody}, found none .*Start a server.*PREFECT_API_URL"
    with temporary_settings({PREFECT_API_URL: nobody}):
        with pytest.raises(ServerError, match=said):
            register_file(tmp_path / "blocks.yaml")
        with pytest.raises(ServerError, match=said):
            load_reference("block:object-store/archive")


@pytest.mark.slow
def test_a_flow_without_a_server_is_refused_in_the_same_words(
    nobody: str, weather: Path, tmp_path: Path
) -> None:
    with (
        temporary_settings({PREFECT_API_URL: nobody}),
        pytest.raises(ServerError, match=f"expected Prefect's API at {nobody}, found none"),
    ):
        run_export_flow(str(weather), str(tmp_path / "copy"))
    assert not (tmp_path / "copy").exists()


def test_credentials_in_the_address_are_not_shown(nobody: str) -> None:
    address = nobody.replace("//", "//USER:SECRET@")
    with (
        temporary_settings({PREFECT_API_URL: address}),
        pytest.raises(ServerError) as caught,
    ):
        load_reference("block:object-store/archive")
    assert "SECRET" not in str(caught.value)


def test_where_no_address_is_set_and_no_server_may_be_started_both_are_said() -> None:
    settings = {PREFECT_SERVER_EPHEMERAL_ENABLED: False}
    with (
        temporary_settings(settings, restore_defaults={PREFECT_API_URL}),
        pytest.raises(ServerError, match="PREFECT_API_URL, found none, and a temporary one may"),
    ):
        load_reference("block:object-store/archive")


def test_a_temporary_server_is_told_of_with_the_place_of_what_it_stores(nobody: str) -> None:
    with temporary_settings(restore_defaults={PREFECT_API_URL}):
        assert "PREFECT_API_URL is not set, so Prefect starts a temporary" in temporary_server()
    with temporary_settings({PREFECT_API_URL: nobody}):
        assert temporary_server() == ""


@pytest.mark.slow
@pytest.mark.parametrize(
    "command",
    [
        ("blocks", "register", "blocks.yaml"),
        ("export", "block:icechunk-repository/weather", "copy"),
        ("export", "repository", "copy", "--flow"),
    ],
)
def test_the_command_line_says_it_in_one_line(
    nobody: str, tmp_path: Path, command: tuple[str, ...]
) -> None:
    (tmp_path / "blocks.yaml").write_text(BLOCKS)
    ended = subprocess.run(
        [FREIGHT, *command],
        env=os.environ | {"PREFECT_API_URL": nobody, "PREFECT_HOME": str(tmp_path / "home")},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (ended.returncode, ended.stdout) == (1, "")
    (line,) = ended.stderr.splitlines()
    assert line.startswith(f"Error: expected Prefect's API at {nobody}, found none")
