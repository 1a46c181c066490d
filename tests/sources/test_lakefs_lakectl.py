"""Where a lakeFS server is, and who we are there."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from prefect_freight.config import Secret, StoreConfig
from prefect_freight.errors import ConfigError
from prefect_freight.sources.lakefs.lakectl import find_lakefs

GIVEN = StoreConfig("http://given:8000", "GIVEN", Secret("given-secret"))
VARIABLES = {
    "LAKECTL_SERVER_ENDPOINT_URL": "https://variable/api/v1",
    "LAKECTL_CREDENTIALS_ACCESS_KEY_ID": "VARIABLE",
    "LAKECTL_CREDENTIALS_SECRET_ACCESS_KEY": "variable-secret",
}
FILE = """
# written by lakectl config
credentials:
  access_key_id: FILE
  secret_access_key: file-secret
experimental:
  local: {posix_permissions: {enabled: false}}
server:
  endpoint_url: http://file:8000/api/v1/
"""


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home of nobody's."""
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


def found(given: StoreConfig | None, variables: Mapping[str, str]) -> tuple[str | None, ...]:
    config = find_lakefs(given, variables)
    secret = config.secret_access_key.reveal() if config.secret_access_key else None
    return config.endpoint_url, config.access_key_id, secret


@pytest.mark.parametrize(
    ("given", "variables", "expected"),
    [
        (GIVEN, VARIABLES, ("http://given:8000", "GIVEN", "given-secret")),
        (None, VARIABLES, ("https://variable", "VARIABLE", "variable-secret")),
        (None, {}, ("http://file:8000", "FILE", "file-secret")),
        # The address from one place and the keys from another: as lakectl has it.
        (StoreConfig("http://given"), {}, ("http://given", "FILE", "file-secret")),
        (StoreConfig("http://given"), VARIABLES, ("http://given", "VARIABLE", "variable-secret")),
        (None, {"LAKECTL_SERVER_ENDPOINT_URL": ""}, ("http://file:8000", "FILE", "file-secret")),
    ],
)
def test_the_nearest_place_counts(
    home: Path,
    given: StoreConfig | None,
    variables: Mapping[str, str],
    expected: tuple[str, ...],
) -> None:
    (home / ".lakectl.yaml").write_text(FILE)
    assert found(given, variables) == expected


def test_the_file_may_be_another_one(home: Path) -> None:
    (home / "other.yaml").write_text(FILE)
    variables = {"LAKECTL_CONFIG_FILE": str(home / "other.yaml")}
    assert found(None, variables)[1] == "FILE"
    with pytest.raises(ConfigError, match=r"gone\.yaml"):
        find_lakefs(None, {"LAKECTL_CONFIG_FILE": str(home / "gone.yaml")})


@pytest.mark.parametrize(
    ("given", "variables", "said"),
    [
        (None, {}, "address of a lakeFS server.*LAKECTL_SERVER_ENDPOINT_URL.*lakectl.yaml"),
        (StoreConfig("http://given"), {}, "access keys.*LAKECTL_CREDENTIALS_ACCESS_KEY_ID"),
        (None, {"LAKECTL_CREDENTIALS_ACCESS_KEY_ID": "x"}, "found one of them.*environment"),
        (None, VARIABLES | {"LAKECTL_SERVER_ENDPOINT_URL": "nowhere"}, "endpoint_url like https"),
        (StoreConfig(profile="x"), VARIABLES, "profile would do nothing"),
    ],
)
def test_what_is_missing_is_named(
    home: Path, given: StoreConfig | None, variables: Mapping[str, str], said: str
) -> None:
    with pytest.raises(ConfigError, match=said) as caught:
        find_lakefs(given, variables)
    assert "secret-" not in str(caught.value)
    assert "variable-secret" not in str(caught.value)


def test_a_file_that_is_something_else_is_as_none(home: Path) -> None:
    (home / ".lakectl.yaml").write_text("- a list\n")
    with pytest.raises(ConfigError, match="expected the address"):
        find_lakefs(None, {})
