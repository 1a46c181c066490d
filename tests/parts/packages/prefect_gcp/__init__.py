"""Stands for prefect-gcp where it is not installed: the fields that its block has."""

from prefect.blocks.core import Block
from prefect.types import SecretDict


class GcpCredentials(Block):
    """Credentials of Google Cloud."""

    _block_type_name = "GCP Credentials"

    service_account_file: str | None = None
    service_account_info: SecretDict | None = None
    project: str | None = None

    def block_initialization(self) -> None:
        if self.service_account_file is None and self.service_account_info is None:
            raise RuntimeError("looked for credentials on the network")
