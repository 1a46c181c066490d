"""Credentials blocks of other Prefect integrations, as the engine takes them.

A team that uses prefect-aws, prefect-gcp or prefect-azure has its credentials saved already. Their
packages are imported where they are installed, and none of them is needed.
"""

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from typing import Any
from urllib.parse import urlsplit

from prefect.blocks.core import Block

from prefect_freight.config import StoreConfig, parse_config
from prefect_freight.errors import ConfigError


@dataclass(frozen=True, slots=True)
class OtherType:
    """A type of credentials that somebody else's package has."""

    slug: str
    package: str
    name: str
    """That of the class, which the package has at its top."""
    schemes: frozenset[str]
    """Of the URLs that such credentials open."""
    read: Callable[[Any], dict[str, Any]]
    """Returns the settings in a block, by the keys of our YAML."""


def installed_types() -> list[type[Block]]:
    """Return the classes of credentials that are installed here."""
    classes = []
    for other in OTHERS:
        # Looked for before it is imported: what is not there costs nothing.
        if find_spec(other.package) is None:
            continue
        try:
            classes.append(getattr(import_module(other.package), other.name))
        except (ImportError, AttributeError):
            continue  # another version of it, or what it needs is missing: as if it was not there
    return classes


def to_config(block: Block, url: str) -> StoreConfig:
    """Return the settings in another integration's block, for a store at a URL.

    Raises `ConfigError` for a URL that such credentials do not open, and for settings in it that
    the engine would ignore.
    """
    slug = block.get_block_type_slug()
    other = next(other for other in OTHERS if other.slug == slug)
    scheme = urlsplit(url).scheme
    if scheme not in other.schemes:
        expected = " or ".join(f"{name}://" for name in sorted(other.schemes))
        found = f"{scheme}://" if scheme else "a path"
        raise ConfigError(f"{slug} opens {expected}, found {found}. Remove the credentials")
    settings = {key: value or None for key, value in other.read(block).items()}
    return parse_config(settings, f"the block {slug}")


def _read_aws(block: Any) -> dict[str, Any]:
    if getattr(block, "assume_role_arn", None):
        raise ConfigError(
            "aws-credentials with assume_role_arn: the role's keys would end within an export. "
            "Name a profile with role_arn instead, whose keys are renewed"
        )
    return _read_client(block) | {
        "access_key_id": block.aws_access_key_id,
        "secret_access_key": _reveal(block.aws_secret_access_key),
        "session_token": _reveal(block.aws_session_token),
        "profile": block.profile_name,
    }


def _read_minio(block: Any) -> dict[str, Any]:
    return _read_client(block) | {
        "access_key_id": block.minio_root_user,
        "secret_access_key": _reveal(block.minio_root_password),
    }


def _read_client(block: Any) -> dict[str, Any]:
    client = block.aws_client_parameters
    # Each would be ignored, and what comes of it is not what the block says.
    for name, is_set in {
        "verify": client.verify not in (None, True),
        "verify_cert_path": client.verify_cert_path is not None,
        "use_ssl": not client.use_ssl and not client.endpoint_url,
    }.items():
        if is_set:
            raise ConfigError(
                f"aws_client_parameters.{name} cannot be used here. Remove it from the block, or "
                "make a block of store-credentials"
            )
    # Of what botocore is told, what says where and as whom; time-outs and retries are our own.
    told = client.config or {}
    return {
        "endpoint_url": client.endpoint_url,
        "region": block.region_name,
        "virtual_hosted_style": (told.get("s3") or {}).get("addressing_style") == "virtual",
        "anonymous": _is_unsigned(told.get("signature_version")),
    }


def _is_unsigned(version: Any) -> bool:
    from botocore import UNSIGNED

    return version is UNSIGNED or str(version).lower() == "unsigned"


def _read_gcp(block: Any) -> dict[str, Any]:
    info, file = block.service_account_info, block.service_account_file
    token = _reveal(info) if info is not None else str(file) if file is not None else None
    return {"storage_options": _without_empty({"token": token, "project": block.project})}


def _read_azure(block: Any) -> dict[str, Any]:
    connection = _reveal(block.connection_string)
    if connection:
        return {"storage_options": {"connection_string": connection}}
    host = urlsplit(block.account_url or "").hostname or ""
    options = {
        "account_name": host.partition(".")[0],
        "account_host": host,
        "client_id": block.client_id,
        "tenant_id": block.tenant_id,
        "client_secret": _reveal(block.client_secret),
    }
    # Without a secret: not anonymous, but by what the machine's environment has.
    return {"storage_options": _without_empty(options) | {"anon": False}}


def _without_empty(options: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in options.items() if value}


def _reveal(secret: Any) -> Any:
    return secret.get_secret_value() if hasattr(secret, "get_secret_value") else secret


S3, GOOGLE = frozenset({"s3", "s3a"}), frozenset({"gs", "gcs"})
AZURE = frozenset({"az", "abfs", "abfss"})
OTHERS = (
    OtherType("aws-credentials", "prefect_aws", "AwsCredentials", S3, _read_aws),
    OtherType("minio-credentials", "prefect_aws", "MinIOCredentials", S3, _read_minio),
    OtherType("gcp-credentials", "prefect_gcp", "GcpCredentials", GOOGLE, _read_gcp),
    OtherType(
        "azure-blob-storage-credentials",
        "prefect_azure",
        "AzureBlobStorageCredentials",
        AZURE,
        _read_azure,
    ),
)
PACKAGES = {other.slug: other.package.replace("_", "-") for other in OTHERS}
"""What to install for a type of credentials."""
