"""The YAML that holds credentials."""

import pickle
from pathlib import Path

import pytest

from prefect_freight.config import Secret, StoreConfig, parse_config, read_config
from prefect_freight.errors import ConfigError

HIDDEN = "hush-hush-0123456789"
ARRAYLAKE = f"""\
endpoint_url: http://127.0.0.1:8333
access_key_id: my_access_key_id
secret_access_key: {HIDDEN}
"""


def chain(error: BaseException | None) -> str:
    """Return all that an error and those behind it say."""
    texts = []
    while error is not None:
        texts.append(f"{error} {error!r} {error.args} {vars(error)}")
        error = error.__cause__ or error.__context__
    return "\n".join(texts)


@pytest.fixture
def write(tmp_path: Path):
    def write(text: str) -> Path:
        path = tmp_path / "store.yaml"
        path.write_text(text)
        return path

    return write


def test_the_three_keys_of_arraylake_work_as_they_stand(write) -> None:
    config = read_config(write(ARRAYLAKE))
    assert config.endpoint_url == "http://127.0.0.1:8333"
    assert config.access_key_id == "my_access_key_id"
    assert config.secret_access_key == Secret(HIDDEN)
    assert config.allow_http is True


def test_all_other_keys_are_read(write) -> None:
    text = "region: eu-west-1\nprofile: work\nvirtual_hosted_style: true\nallow_http: false\n"
    expected = StoreConfig(
        region="eu-west-1", profile="work", virtual_hosted_style=True, allow_http=False
    )
    assert read_config(write(text)) == expected
    assert read_config(write("anonymous: true\n")) == StoreConfig(anonymous=True)
    assert read_config(write(ARRAYLAKE + "session_token: t\n")).session_token == Secret("t")
    options = read_config(write("storage_options: {account: a, timeout: 3}\n")).storage_options
    assert options == {"account": "a", "timeout": 3}


def test_references_to_the_environment_are_expanded(write, monkeypatch) -> None:
    monkeypatch.setenv("FREIGHT_TEST_SECRET", HIDDEN)
    monkeypatch.setenv("FREIGHT_TEST_HOST", "127.0.0.1")
    text = (
        "endpoint_url: http://${FREIGHT_TEST_HOST}:1\naccess_key_id: a\n"
        "secret_access_key: ${FREIGHT_TEST_SECRET}\nstorage_options: {x: ['${FREIGHT_TEST_HOST}']}"
    )
    config = read_config(write(text))
    assert config.secret_access_key == Secret(HIDDEN)
    assert config.endpoint_url == "http://127.0.0.1:1"
    assert config.storage_options == {"x": ["127.0.0.1"]}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("secret_acces_key: x", "unknown key 'secret_acces_key'.*mean 'secret_access_key'"),
        ("zzz: x", "unknown key 'zzz'.*Known: endpoint_url"),
        ("{secret_access_key:hush, region: x}", "unknown key 'secret_access_key' in"),
        ("secret_access_key: hu${s.h}hush", r"refers to a \$\{…\}"),
        ("region: 3", "expected text for 'region'.*found a number.*quotes"),
        ("access_key_id: 0123", "expected text for 'access_key_id'.*quotes"),
        ("anonymous: 'yes'", "expected true or false for 'anonymous'.*found text"),
        ("storage_options: [1]", "expected keys and values for 'storage_options'.*found a list"),
        ("secret_access_key: [x]", "expected text for 'secret_access_key'.*found a list"),
        ("region: ${FREIGHT_NOT_SET}", r"FREIGHT_NOT_SET"),
        ("endpoint_url: http://h\nallow_http: false", "allow_http.*http://"),
        ("endpoint_url: localhost:8333", "endpoint_url like https://"),
        ("access_key_id: x", "access_key_id and secret_access_key together"),
        ("session_token: x", "access_key_id beside session_token"),
        ("anonymous: true\nprofile: x", "profile and anonymous"),
        ("", "found nothing"),
        ("- a", "found a list"),
        ("a: [", "line 1, column 5"),
    ],
)
def test_a_wrong_file_is_refused_by_name(write, text: str, said: str) -> None:
    path = write(text)
    with pytest.raises(ConfigError, match=said) as caught:
        read_config(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("name", ["missing.yaml", ""])
def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigError, match="could not read it"):
        read_config(tmp_path / name)


@pytest.mark.parametrize(
    "text",
    [
        f"secret_access_key: '{HIDDEN}\nregion: [",  # not closed: the parser quotes the line
        f"secret_access_key: {HIDDEN}: x",
        f"secret_access_key: [{HIDDEN}]",
        f"secret_access_key: {HIDDEN}",  # without an access key
        f"endpoint_url: https://user:{HIDDEN}@host",
        f"endpoint_url: https://host?signature={HIDDEN}",
        f"anonymous: {HIDDEN}",
        f"storage_options: {HIDDEN}",
        f"{HIDDEN}",
        f"- {HIDDEN}",
    ],
)
def test_no_error_quotes_a_value(write, text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read_config(write(text))
    assert HIDDEN not in chain(caught.value)


def test_bytes_that_are_no_text_are_not_quoted(tmp_path: Path) -> None:
    (tmp_path / "x.yaml").write_bytes(f"secret_access_key: {HIDDEN}\xff".encode("latin-1"))
    with pytest.raises(ConfigError, match="UTF-8") as caught:
        read_config(tmp_path / "x.yaml")
    assert HIDDEN not in chain(caught.value)


def test_nothing_shows_a_secret_but_reveal() -> None:
    said = {
        "access_key_id": f"id-{HIDDEN}",
        "secret_access_key": HIDDEN,
        "session_token": HIDDEN,
        "storage_options": {"key": HIDDEN},
    }
    config = parse_config(said, "a test")
    secret = config.secret_access_key
    assert secret is not None
    assert HIDDEN not in f"{config} {config!r} {secret} {secret!r} {[secret]} {secret:s}"
    assert secret.reveal() == HIDDEN
    assert not isinstance(secret, str)


def test_a_configuration_survives_pickling() -> None:
    config = StoreConfig(access_key_id="a", secret_access_key=Secret(HIDDEN))
    again = pickle.loads(pickle.dumps(config))
    assert again == config
    assert again != StoreConfig(access_key_id="a", secret_access_key=Secret("another"))


@pytest.mark.parametrize("text", ["KEY\n", "KEY ", "\tKEY", "K\x00Y"])
@pytest.mark.parametrize("name", ["access_key_id", "secret_access_key", "region"])
def test_line_ends_and_spaces_in_credentials_are_refused_unquoted(name: str, text: str) -> None:
    settings = {"access_key_id": "id", "secret_access_key": "sesame"} | {name: text}
    with pytest.raises(ConfigError, match=f"expected {name} without spaces") as caught:
        parse_config(settings, "dest.yaml")
    assert "KEY" not in str(caught.value)
