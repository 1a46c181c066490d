"""Credentials apart from places: ours, and those that a team has saved for other integrations.

Where prefect-aws and its like are not installed, `parts/packages` stands for them.
"""

import asyncio
import importlib.util
from pathlib import Path
from typing import Any

import pytest
from fixtures_prefect import PrefectServer
from prefect.blocks.core import Block
from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import BlockDocumentCreate
from prefect_aws import AwsCredentials, MinIOCredentials
from prefect_gcp import GcpCredentials
from pydantic import SecretStr, ValidationError
from servers import S3Server

from prefect_freight.blocks import IcechunkRepository, ObjectStore, StoreCredentials
from prefect_freight.blocks.references import load_reference
from prefect_freight.blocks.register import register_file
from prefect_freight.config import Secret, StoreConfig, read_config
from prefect_freight.errors import ConfigError

HIDDEN = "hush-hush-0123456789"
KEYS = {"access_key_id": "AK", "secret_access_key": Secret(HIDDEN)}


def aws(**fields: Any) -> AwsCredentials:
    secret = SecretStr(HIDDEN)
    return AwsCredentials(aws_access_key_id="AK", aws_secret_access_key=secret, **fields)


def minio(**fields: Any) -> MinIOCredentials:
    return MinIOCredentials(minio_root_user="AK", minio_root_password=SecretStr(HIDDEN), **fields)


@pytest.mark.parametrize(
    ("url", "block", "config"),
    [
        ("s3://b/p", aws(), StoreConfig(**KEYS)),
        (
            "s3a://b",
            aws(aws_session_token=f"t-{HIDDEN}", region_name="eu-west-1"),
            StoreConfig(**KEYS, session_token=Secret(f"t-{HIDDEN}"), region="eu-west-1"),
        ),
        ("s3://b", AwsCredentials(profile_name="work"), StoreConfig(profile="work")),
        ("s3://b", AwsCredentials(), StoreConfig()),
        (
            "s3://b",
            minio(aws_client_parameters={"endpoint_url": "http://h:9000"}),
            StoreConfig(**KEYS, endpoint_url="http://h:9000"),
        ),
        (
            "s3://b",
            aws(aws_client_parameters={"config": {"s3": {"addressing_style": "virtual"}}}),
            StoreConfig(**KEYS, virtual_hosted_style=True),
        ),
        (
            "s3://b",
            AwsCredentials(aws_client_parameters={"config": {"signature_version": "unsigned"}}),
            StoreConfig(anonymous=True),
        ),
        (
            "s3://b",
            StoreCredentials(access_key_id="AK", secret_access_key=SecretStr(HIDDEN), region="r"),
            StoreConfig(**KEYS, region="r"),
        ),
    ],
)
def test_a_place_is_opened_by_credentials_apart_from_it(
    url: str, block: Block, config: StoreConfig
) -> None:
    place = ObjectStore(url=url, credentials=block)
    assert place.to_config() == config
    assert HIDDEN not in f"{place} {place!r} {place.model_dump()} {place.model_dump_json()}"
    assert HIDDEN not in f"{place.open()!r}"


def test_a_service_account_of_google_opens_gs_urls(tmp_path: Path) -> None:
    key = tmp_path / "key.json"
    key.write_text("{}")
    # Ours alone looks at it: the real block asks Google's library of a file that is a key.
    block = GcpCredentials.model_construct(
        service_account_file=str(key), service_account_info=None, project="p"
    )
    place = ObjectStore(url="gs://b/p", credentials=block)
    assert place.to_config().storage_options == {"token": str(key), "project": "p"}


def test_azure_s_credentials_open_az_urls() -> None:
    azure = pytest.importorskip("prefect_azure")
    secret = SecretStr(HIDDEN)
    by_text = azure.AzureBlobStorageCredentials(connection_string=secret)
    by_name = azure.AzureBlobStorageCredentials(
        account_url="https://acc.blob.core.windows.net",
        client_id="c",
        tenant_id="t",
        client_secret=secret,
    )
    one, other = (ObjectStore(url="az://c/p", credentials=block) for block in (by_text, by_name))
    assert one.to_config().storage_options == {"connection_string": HIDDEN}
    assert other.to_config().storage_options == {
        "account_name": "acc",
        "account_host": "acc.blob.core.windows.net",
        "client_id": "c",
        "tenant_id": "t",
        "client_secret": HIDDEN,
        "anon": False,
    }


def test_a_place_adds_to_its_credentials() -> None:
    place = ObjectStore(
        url="s3://b", credentials=aws(region_name="r"), endpoint_url="http://h", region="r"
    )
    assert place.to_config() == StoreConfig(**KEYS, endpoint_url="http://h", region="r")


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"credentials": aws(region_name="r"), "region": HIDDEN}, "region in the place or in its"),
        ({"credentials": aws(), "profile": "x"}, "expected one of access_key_id, profile"),
        ({"credentials": aws(assume_role_arn="arn:x")}, "profile with role_arn"),
        ({"credentials": aws(aws_client_parameters={"verify": False})}, "parameters.verify"),
        ({"credentials": aws(aws_client_parameters={"use_ssl": False})}, "parameters.use_ssl"),
        ({"credentials": aws(), "url": "/data/copy"}, "opens s3:// or s3a://, found a path"),
        ({"credentials": minio(), "url": "gs://b"}, "opens s3:// or s3a://, found gs://"),
        ({"credentials": {"secret": HIDDEN}}, "found fields of none of them"),
        ({"credentials": {"block_type_slug": "slack-webhook"}}, "found block:slack-webhook"),
        ({"credentials": HIDDEN}, "credentials"),
    ],
)
def test_credentials_that_do_not_fit_are_refused_by_name(fields: Any, said: str) -> None:
    with pytest.raises(ValidationError, match=said) as caught:
        ObjectStore(**{"url": "s3://b"} | fields)
    assert HIDDEN not in f"{caught.value} {caught.value!r}"


@pytest.mark.skipif(bool(importlib.util.find_spec("prefect_azure")), reason="it is installed")
def test_a_type_whose_package_is_missing_says_what_to_install() -> None:
    named = {"block_type_slug": "azure-blob-storage-credentials"}
    with pytest.raises(ValidationError, match="pip install prefect-azure"):
        ObjectStore(url="az://c", credentials=named)


@pytest.mark.parametrize(
    ("package", "names"),
    [("prefect_aws", ["AwsCredentials", "MinIOCredentials"]), ("prefect_gcp", ["GcpCredentials"])],
)
def test_what_stands_for_a_package_has_its_fields(package: str, names: list[str]) -> None:
    stand_in = Path(__file__).parents[1] / "parts" / "packages" / package / "__init__.py"
    installed = importlib.import_module(package)
    if installed.__file__ == str(stand_in):
        pytest.skip(f"{package} is not installed")
    text = stand_in.read_text()
    for name in names:
        real = getattr(installed, name)
        fields = text.partition(f"class {name}(")[2].partition("\nclass ")[0]
        described = {line.split(":")[0].strip() for line in fields.splitlines() if ": " in line}
        described -= {"def block_initialization(self) -> None"}
        assert {field for field in described if field.isidentifier()} <= real.model_fields.keys()
        assert f'_block_type_name = "{real.get_block_type_name()}"' in fields


REGISTERED = """
blocks:
  - {{type: object-store, name: one, url: 's3://{bucket}/1', credentials: {reference}}}
  - {{type: icechunk-repository, name: two, url: 's3://{bucket}/2', credentials: {reference}}}
"""
OURS = """
  - type: store-credentials
    name: team
    endpoint_url: {s3.endpoint_url}
    access_key_id: {s3.access_key_id}
    secret_access_key: {s3.secret_access_key}
"""


def documents(include_secrets: bool = False) -> str:
    async def read() -> str:
        async with get_client() as client:
            return str(await client.read_block_documents(include_secrets=include_secrets))

    return asyncio.run(read())


def team_has_saved(s3: S3Server) -> None:
    parameters = {"endpoint_url": s3.endpoint_url}
    minio_block = MinIOCredentials(
        minio_root_user=s3.access_key_id,
        minio_root_password=SecretStr(s3.secret_access_key),
        aws_client_parameters=parameters,
    )
    minio_block.save("team", overwrite=True)
    AwsCredentials(
        aws_access_key_id=s3.access_key_id,
        aws_secret_access_key=SecretStr(s3.secret_access_key),
        aws_client_parameters=parameters,
    ).save("team", overwrite=True)


@pytest.mark.parametrize("slug", ["store-credentials", "aws-credentials", "minio-credentials"])
def test_one_block_of_credentials_serves_many_places(
    prefect_server: PrefectServer, s3: S3Server, tmp_path: Path, slug: str
) -> None:
    team_has_saved(s3)
    bucket, file = s3.new_bucket(), tmp_path / "blocks.yaml"
    text = REGISTERED.format(bucket=bucket, reference=f"block:{slug}/team")
    # Behind the places that refer to it: the order in the file is the user's.
    file.write_text(text + (OURS.format(s3=s3) if slug == "store-credentials" else ""))
    saved = register_file(file)
    assert saved[:2] == ["block:object-store/one", "block:icechunk-repository/two"]
    store, repository = load_reference(saved[0]), load_reference(saved[1])
    assert isinstance(repository, IcechunkRepository)
    assert store.to_config() == repository.to_config() == s3.config()
    opened = store.open()
    opened.write("k", b"x")
    assert opened.read("k") == b"x"
    assert s3.secret_access_key not in documents()
    assert s3.secret_access_key.encode() not in prefect_server.written()


def test_a_place_s_document_refers_to_its_credentials_and_holds_no_key(
    prefect_server: PrefectServer, tmp_path: Path
) -> None:
    credentials = aws(aws_session_token=f"t-{HIDDEN}")
    place = ObjectStore(url="s3://b/p", credentials=credentials)
    with pytest.raises(Exception, match="expected saved credentials, found aws-credentials"):
        place.save("refers", overwrite=True)
    credentials.save("rotating", overwrite=True)
    place.save("refers", overwrite=True)
    # Only the credentials are changed, and the place has the new ones.
    changed = aws(aws_session_token="t-2")
    changed.save("rotating", overwrite=True)
    loaded = load_reference("block:object-store/refers")
    assert loaded.to_config() == StoreConfig(**KEYS, session_token=Secret("t-2"))


def test_what_a_form_has_saved_comes_without_its_type_and_is_known(
    prefect_server: PrefectServer,
) -> None:
    aws().save("by-code", overwrite=True)  # so that the type is known to the server
    ObjectStore(url="s3://b").save("by-code", overwrite=True)

    async def save() -> None:
        async with get_client() as client:
            kind, schema = await described(client, "aws-credentials")
            data = {"aws_access_key_id": "AK", "aws_secret_access_key": HIDDEN}
            made = await client.create_block_document(
                BlockDocumentCreate(
                    name="by-form", data=data, block_type_id=kind, block_schema_id=schema
                )
            )
            ours = await client.read_block_type_by_slug("object-store")
            assert (ours.logo_url, ours.documentation_url) == (None, None)  # nobody else's
            kind, schema = await described(client, "object-store")
            picked = {"url": "s3://b", "credentials": {"$ref": {"block_document_id": str(made.id)}}}
            await client.create_block_document(
                BlockDocumentCreate(
                    name="by-form", data=picked, block_type_id=kind, block_schema_id=schema
                )
            )

    async def described(client: Any, slug: str) -> tuple[Any, Any]:
        kind = await client.read_block_type_by_slug(slug)
        return kind.id, (await client.get_most_recent_block_schema_for_block_type(kind.id)).id

    asyncio.run(save())
    loaded = load_reference("block:object-store/by-form")
    assert isinstance(loaded.credentials, AwsCredentials)
    assert loaded.to_config() == StoreConfig(**KEYS)


@pytest.mark.parametrize(
    ("reference", "said"),
    [
        (HIDDEN, "expected block:<type-slug>/<name> for 'credentials' in block 1 of"),
        ("[1]", "expected block:<type-slug>/<name>"),
        ("block:object-store/one", "expected block:store-credentials or"),
        ("block:store-credentials/nobody-saved-it", "no block .*, which block 1 of .* refers to"),
    ],
)
def test_a_wrong_reference_to_credentials_is_refused_and_nothing_is_saved(
    prefect_server: PrefectServer, tmp_path: Path, reference: str, said: str
) -> None:
    file = tmp_path / "blocks.yaml"
    item = f"{{type: object-store, name: unsaved, url: 's3://b', credentials: {reference}}}"
    file.write_text(f"blocks: [{item}]")
    with pytest.raises(ConfigError, match=said) as caught:
        register_file(file)
    assert HIDDEN not in f"{caught.value} {caught.value.__cause__} {caught.value.__context__}"
    assert "unsaved" not in documents()


def test_credentials_have_the_yaml_of_the_command_line(s3: S3Server, tmp_path: Path) -> None:
    path = s3.yaml(tmp_path / "store.yaml")
    assert StoreCredentials.from_yaml(path).to_config() == read_config(path)
