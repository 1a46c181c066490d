"""Blocks from YAML at a real Prefect server."""

import asyncio
from pathlib import Path

import pytest
from fixtures_prefect import PrefectServer
from prefect import flow
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import FlowRun
from servers import S3Server

from prefect_freight.blocks import IcechunkRepository, ObjectStore
from prefect_freight.blocks.references import load_reference
from prefect_freight.blocks.register import register_file
from prefect_freight.errors import ConfigError, InputError

pytestmark = pytest.mark.usefixtures("prefect_server")

HIDDEN = "hush-hush-0123456789"
SAMPLE = Path(__file__).parents[2] / "deployments" / "blocks.yaml"
SAMPLE_PLACES = ["block:icechunk-repository/weather", "block:object-store/archive"]
SAMPLE_REFERENCES = ["block:store-credentials/storage", *SAMPLE_PLACES]


@pytest.fixture
def environment(s3: S3Server, monkeypatch: pytest.MonkeyPatch) -> str:
    """Set what the sample file refers to; return the bucket."""
    bucket = s3.new_bucket()
    for name, value in {
        "SOURCE_BUCKET": bucket,
        "DESTINATION_BUCKET": bucket,
        "ENDPOINT_URL": s3.endpoint_url,
        "ACCESS_KEY_ID": s3.access_key_id,
        "SECRET_ACCESS_KEY": s3.secret_access_key,
    }.items():
        monkeypatch.setenv(f"FREIGHT_{name}", value)
    return bucket


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "blocks.yaml"
    path.write_text(text)
    return path


def test_the_sample_file_is_registered_and_its_blocks_work(s3: S3Server, environment: str) -> None:
    assert register_file(SAMPLE) == SAMPLE_REFERENCES
    repository, store = (load_reference(reference) for reference in SAMPLE_PLACES)
    assert isinstance(repository, IcechunkRepository)
    assert isinstance(store, ObjectStore)
    opened = store.open()
    opened.write("k", b"x")
    assert opened.read("k") == b"x"
    assert store.to_config() == repository.to_config() == s3.config()


def test_the_server_shows_no_secret_of_a_saved_block(
    prefect_server: PrefectServer, s3: S3Server, environment: str
) -> None:
    register_file(SAMPLE)

    async def read() -> str:
        async with get_client() as client:
            return str(await client.read_block_documents(include_secrets=False))

    shown = asyncio.run(read())
    assert environment in shown  # it is this document
    assert s3.secret_access_key not in shown
    assert s3.secret_access_key.encode() not in prefect_server.written()


def test_registering_again_replaces(tmp_path: Path) -> None:
    for url in "s3://one", "s3://two":
        register_file(
            write(tmp_path, f"blocks: [{{type: object-store, name: again, url: '{url}'}}]")
        )
        assert load_reference("block:object-store/again").url == url


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("blocks: []", "a list under 'blocks'"),
        ("blocks: {a: b}", "a list under 'blocks'"),
        ("type: object-store", "one key 'blocks'"),
        ("", "one key 'blocks'"),
    ],
)
def test_a_file_of_another_form_is_refused(tmp_path: Path, text: str, said: str) -> None:
    path = write(tmp_path, text)
    with pytest.raises(ConfigError, match=f"{said}.*{path}"):
        register_file(path)


@pytest.mark.parametrize(
    ("item", "said"),
    [
        ("x", "expected keys and values for block 2"),
        ("{name: a, url: s3://b}", "expected type .* found None"),
        ("{type: object-stor, name: a, url: s3://b}", "mean 'object-store'"),
        ("{type: object-store, url: s3://b}", "expected a name"),
        ("{type: object-store, name: A b, url: s3://b}", "expected a name.*'A b'"),
        ("{type: object-store, name: a}", "'url' in block 2 .*a"),
        ("{type: object-store, name: a, url: s3://b, regoin: x}", "mean 'region'"),
        ("{type: object-store, name: a, url: s3://b, anonymous: 1}", "true or false"),
        ("{type: object-store, name: a, url: '${FREIGHT_NOT_SET}'}", "FREIGHT_NOT_SET"),
        (f"{{type: object-store, name: a, url: 's3://{HIDDEN}@b'}}", "credentials"),
        (f"{{type: object-store, name: a, url: s3://b, session_token: {HIDDEN}}}", "beside"),
    ],
)
def test_a_wrong_block_is_refused_by_name_and_nothing_is_saved(tmp_path, item, said) -> None:
    good = "{type: object-store, name: never-saved, url: s3://b}"
    with pytest.raises(ConfigError, match=said) as caught:
        register_file(write(tmp_path, f"blocks: [{good}, {item}]"))
    assert HIDDEN not in f"{caught.value} {caught.value.__cause__} {caught.value.__context__}"
    with pytest.raises(InputError, match="no block"):
        load_reference("block:object-store/never-saved")


def test_two_blocks_of_one_name_are_refused(tmp_path: Path) -> None:
    one = "{type: object-store, name: a, url: s3://b}"
    with pytest.raises(ConfigError, match="block:object-store/a twice"):
        register_file(write(tmp_path, f"blocks: [{one}, {one}]"))


@pytest.mark.parametrize(
    ("reference", "said"),
    [
        ("object-store/archive", "expected block:<type-slug>/<name>"),
        ("block:object-store", "expected block:<type-slug>/<name>"),
        ("block:secret/archive", "expected block:icechunk-repository or block:"),
        ("block:object-store/nobody-saved-it", "freight blocks register"),
    ],
)
def test_a_wrong_reference_is_refused(reference: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        load_reference(reference)


@flow
def use(store: ObjectStore) -> str:
    return store.url


def test_a_saved_block_is_the_parameter_of_a_run_by_reference(
    s3: S3Server, environment: str
) -> None:
    register_file(SAMPLE)
    reference = {"$ref": {"block_document_slug": "object-store/archive"}}

    async def create() -> FlowRun:
        async with get_client() as client:
            deployment = await client.create_deployment(
                await client.create_flow(use),
                "by-reference",
                parameter_openapi_schema=use.parameters.model_dump(),
                enforce_parameter_schema=True,
            )
            return await client.create_flow_run_from_deployment(
                deployment, parameters={"store": reference}
            )

    run = asyncio.run(create())
    assert run.parameters == {"store": reference}
    assert s3.secret_access_key not in str(run)
    assert use(load_reference("block:object-store/archive")) == f"s3://{environment}/weather"
