"""Stands for prefect-aws where it is not installed: the fields that its blocks have."""

from typing import Any

from prefect.blocks.core import Block
from pydantic import BaseModel, Field, SecretStr


class AwsClientParameters(BaseModel):
    api_version: str | None = None
    use_ssl: bool = True
    verify: bool | None = None
    verify_cert_path: str | None = None
    endpoint_url: str | None = None
    config: dict[str, Any] | None = None


class AwsCredentials(Block):
    """Credentials of AWS."""

    _block_type_name = "AWS Credentials"

    aws_access_key_id: str | None = None
    aws_secret_access_key: SecretStr | None = None
    aws_session_token: str | None = None
    profile_name: str | None = None
    region_name: str | None = None
    aws_client_parameters: AwsClientParameters = Field(default_factory=AwsClientParameters)
    assume_role_arn: str | None = None


class MinIOCredentials(Block):
    """Credentials of MinIO."""

    _block_type_name = "MinIO Credentials"

    minio_root_user: str
    minio_root_password: SecretStr
    region_name: str | None = None
    aws_client_parameters: AwsClientParameters = Field(default_factory=AwsClientParameters)
