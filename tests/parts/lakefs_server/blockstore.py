"""Where the bytes of a lake lie, by physical address."""

import itertools
import secrets
from typing import Any, Protocol

from servers import S3Server


class Blockstore(Protocol):
    """Bytes by physical address, such as `s3://bucket/prefix/data/…`."""

    kind: str
    """`local` or `s3`: only the latter presigns."""

    def namespace(self, repository: str) -> str:
        """Return the storage namespace of a repository."""
        ...

    def new_address(self, repository: str) -> str:
        """Return an address where nothing lies."""
        ...

    def put(self, address: str, data: bytes, content_type: str) -> None:
        """Put bytes."""
        ...

    def get(self, address: str) -> bytes | None:
        """Return the bytes, or None if they are gone."""
        ...

    def delete(self, address: str) -> None:
        """Delete bytes behind the server's back."""
        ...


class MemoryBlockstore:
    """Bytes in memory, under addresses as those of a folder or of a bucket."""

    def __init__(self, kind: str = "local", bucket: str = "lake") -> None:
        self.kind, self._bucket = kind, bucket
        self._data: dict[str, bytes] = {}
        self._session, self._numbers = secrets.token_hex(8), itertools.count()

    def namespace(self, repository: str) -> str:
        """Return the storage namespace of a repository."""
        return f"s3://{self._bucket}/{repository}" if self.kind == "s3" else f"local://{repository}"

    def new_address(self, repository: str) -> str:
        """Return an address where nothing lies."""
        root = self.namespace(repository)
        if self.kind == "local":
            root = f"local:///lakefs/data/{repository}"
        return f"{root}/data/{self._session}/{next(self._numbers):012d}"

    def put(self, address: str, data: bytes, content_type: str) -> None:
        """Put bytes."""
        self._data[address] = data

    def get(self, address: str) -> bytes | None:
        """Return the bytes, or None if they are gone."""
        return self._data.get(address)

    def delete(self, address: str) -> None:
        """Delete bytes behind the server's back."""
        del self._data[address]


class BucketBlockstore(MemoryBlockstore):
    """Bytes in a bucket of a real S3 server, which can be read there too."""

    def __init__(self, server: S3Server, bucket: str = "") -> None:
        super().__init__("s3", bucket or server.new_bucket())
        self.server, self.bucket = server, self._bucket

    def put(self, address: str, data: bytes, content_type: str) -> None:
        """Put bytes."""
        self._client().put_object(**self._place(address), Body=data, ContentType=content_type)

    def get(self, address: str) -> bytes | None:
        """Return the bytes, or None if they are gone."""
        from botocore.exceptions import ClientError

        try:
            data: bytes = self._client().get_object(**self._place(address))["Body"].read()
        except ClientError as error:
            if error.response["Error"]["Code"] == "NoSuchKey":
                return None
            raise
        return data

    def delete(self, address: str) -> None:
        """Delete bytes behind the server's back."""
        self._client().delete_object(**self._place(address))

    def _client(self) -> Any:
        return self.server.client()

    def _place(self, address: str) -> dict[str, str]:
        bucket, _, key = address.removeprefix("s3://").partition("/")
        return {"Bucket": bucket, "Key": key}
