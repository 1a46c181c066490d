"""Places and credentials as blocks, in this process."""

import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path

import pytest
from pydantic import SecretStr, ValidationError
from servers import S3Server

from prefect_freight.blocks import IcechunkRepository, ObjectStore, ZarrStore
from prefect_freight.blocks.settings import PlaceBlock
from prefect_freight.config import Secret, StoreConfig, read_config
from prefect_freight.errors import ConfigError

HIDDEN = "hush-hush-0123456789"
BLOCKS = [IcechunkRepository, ObjectStore, ZarrStore]
both = pytest.mark.parametrize("block", BLOCKS)


def test_prefect_finds_the_blocks_by_the_entry_point() -> None:
    (found,) = [e for e in entry_points(group="prefect.collections") if "freight" in e.name]
    assert {getattr(found.load(), block.__name__) for block in BLOCKS} == set(BLOCKS)
    assert found.load().LakeFSRepository


def test_a_bare_name_would_register_twice_and_is_refused() -> None:
    done = subprocess.run(
        [sys.executable, "-c", "import blocks"],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "Import prefect_freight.blocks" in done.stderr


@both
def test_the_yaml_of_the_command_line_makes_a_block(block, s3: S3Server, tmp_path: Path) -> None:
    path = s3.yaml(tmp_path / "store.yaml")
    made = block.from_yaml(path, url="s3://bucket/prefix")
    assert made.url == "s3://bucket/prefix"
    assert made.to_config() == read_config(path)


@both
def test_the_yaml_may_hold_the_url_and_the_argument_wins(block, tmp_path: Path) -> None:
    path = tmp_path / "store.yaml"
    path.write_text("url: s3://one/p\nregion: eu-west-1\n")
    assert block.from_yaml(path).url == "s3://one/p"
    assert block.from_yaml(path, url="s3://two/p").url == "s3://two/p"
    path.write_text("region: eu-west-1\n")
    with pytest.raises(ConfigError, match=f"'url' in {path}"):
        block.from_yaml(path)


@pytest.mark.parametrize(
    "config",
    [
        StoreConfig(),
        StoreConfig(region="eu-west-1", profile="work", virtual_hosted_style=True),
        StoreConfig(endpoint_url="http://h:1", anonymous=True),
        StoreConfig(
            endpoint_url="https://h",
            access_key_id="a",
            secret_access_key=Secret("b"),
            session_token=Secret("c"),
            allow_http=True,
        ),
    ],
)
def test_settings_go_through_a_block_and_back(config: StoreConfig) -> None:
    assert ObjectStore.from_config("s3://b", config).to_config() == config


def test_storage_options_go_through_a_block_and_back() -> None:
    config = StoreConfig(storage_options={"account": "a", "timeout": 3})
    assert ObjectStore.from_config("memory://x", config).to_config() == config


def test_fields_that_were_left_empty_in_a_form_say_nothing() -> None:
    empty = {"endpoint_url": "", "region": "", "profile": "", "access_key_id": ""}
    block = ObjectStore(url="s3://b", secret_access_key=SecretStr(""), **empty)
    assert block.to_config() == StoreConfig()


def test_an_object_store_opens(s3: S3Server, tmp_path: Path) -> None:
    url = f"s3://{s3.new_bucket()}/p"
    store = ObjectStore.from_yaml(s3.yaml(tmp_path / "store.yaml"), url=url).open()
    store.write("k", b"x")
    assert (store.url, store.read("k")) == (url, b"x")


def test_a_repository_opens(weather: Path) -> None:
    source = IcechunkRepository(url=str(weather)).open()
    assert source.url == f"icechunk+file://{weather}"
    assert source.resolve("main").source == source.url


def test_a_repository_s_url_may_say_its_kind(weather: Path) -> None:
    assert IcechunkRepository(url=f"icechunk+{weather}").open().storage_url == f"file://{weather}"


@both
@pytest.mark.parametrize(
    ("said", "named"),
    [
        ({"secret_acces_key": HIDDEN}, "secret_acces_key"),
        ({"secret_access_key": HIDDEN}, "access_key_id and secret_access_key together"),
        ({"secret_access_key": [HIDDEN]}, "secret_access_key"),
        ({"anonymous": HIDDEN}, "anonymous"),
        ({"url": f"s3://key:{HIDDEN}@bucket"}, "without credentials"),
        ({"endpoint_url": "http://h", "allow_http": False}, "allow_http"),
        ({"storage_options": {"secret": HIDDEN}}, "storage_options"),
    ],
)
def test_a_wrong_block_is_refused_by_name_and_no_value_is_shown(block, said, named) -> None:
    with pytest.raises(ValidationError, match=named) as caught:
        block(**({"url": "s3://bucket"} | said))
    assert HIDDEN not in f"{caught.value} {caught.value!r}"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (f"url: s3://b\nsecret_acces_key: {HIDDEN}", "mean 'secret_access_key'"),
        (f"url: s3://b\nregion: [{HIDDEN}]", "'region'"),
        (f"url: 's3://{HIDDEN}@b'", "without credentials"),
        (f"url: memory://x\nregion: {HIDDEN}", "region would do nothing"),
        ("ulr: s3://b", "mean 'url'"),
        ("url: 3", "'url'"),
    ],
)
def test_a_wrong_file_is_refused_by_name(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "store.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=said) as caught:
        ObjectStore.from_yaml(path)
    assert str(path) in str(caught.value)
    assert HIDDEN not in f"{caught.value} {caught.value.__cause__} {caught.value.__context__}"


@both
def test_a_block_shows_no_secret(block: type[PlaceBlock]) -> None:
    config = StoreConfig(
        access_key_id=f"id-{HIDDEN}",
        secret_access_key=Secret(HIDDEN),
        session_token=Secret(HIDDEN),
    )
    made = block.from_config("s3://b", config)
    options = ObjectStore.from_config("memory://x", StoreConfig(storage_options={"k": HIDDEN}))
    for shown in (made, options, made.open(), options.open(), made.to_config()):
        assert HIDDEN not in f"{shown} {shown!r}"
    dumped = made.model_dump(mode="json", exclude={"access_key_id"})
    assert HIDDEN not in f"{dumped} {options.model_dump_json()}"
    fields = block.model_json_schema()["secret_fields"]
    own = [name for name in fields if not name.startswith("credentials.")]
    assert own == ["secret_access_key", "session_token", "storage_options.*"]
