"""A lakeFS somewhere else, filled over HTTP: a real one, or this package's own.

It has the methods of `server.Lake` and `repository.Repository` that a test needs to fill one; what
only the inside of a server can do (faults, lost data) it has not.
"""

import os
import secrets
from collections.abc import Mapping
from typing import Any, Self
from urllib.parse import quote

import httpx

from lakefs_server.repository import OCTETS
from lakefs_server.server import Lake
from prefect_freight.config import Secret, StoreConfig

ENDPOINT, KEY, SECRET = "LAKEFS_ENDPOINT", "LAKEFS_ACCESS_KEY_ID", "LAKEFS_SECRET_ACCESS_KEY"
NAMESPACE = "LAKEFS_NAMESPACE"
"""Where repositories of tests are made, such as `s3://bucket/tests` or `local://tests`."""


class RemoteRepository:
    """A repository there."""

    def __init__(self, http: httpx.Client, name: str) -> None:
        self._http, self.name = http, name

    def put(
        self,
        key: str,
        data: bytes,
        *,
        branch: str = "main",
        content_type: str = OCTETS,
        metadata: Mapping[str, str] | None = None,
    ) -> None:
        """Stage an object."""
        headers = {f"X-Lakefs-Meta-{k}": v for k, v in (metadata or {}).items()}
        headers["Content-Type"] = content_type
        path = f"branches/{branch}/objects"
        self._do("POST", path, params={"path": key}, content=data, headers=headers)

    def delete(self, key: str, *, branch: str = "main") -> None:
        """Stage the removal of an object."""
        self._do("DELETE", f"branches/{branch}/objects", params={"path": key})

    def commit(self, message: str = "", *, branch: str = "main", **metadata: str) -> str:
        """Commit what is staged, and return the commit's id."""
        body = {"message": message or "a commit", "metadata": metadata}
        id_: str = self._do("POST", f"branches/{branch}/commits", json=body).json()["id"]
        return id_

    def merge(self, source: str, into: str = "main", message: str = "") -> str:
        """Merge a branch into another, and return the commit's id."""
        body = {"message": message or "a merge"}
        path = f"refs/{source}/merge/{into}"
        reference: str = self._do("POST", path, json=body).json()["reference"]
        return reference

    def create_branch(self, name: str, source: str = "main") -> None:
        """Make a branch at a ref."""
        self._do("POST", "branches", json={"name": name, "source": source})

    def create_tag(self, name: str, ref: str = "main") -> None:
        """Make a tag at a ref."""
        self._do("POST", "tags", json={"id": name, "ref": ref})

    def drop(self) -> None:
        """Remove all of it."""
        self._do("DELETE", "")

    def _do(self, method: str, path: str, **what: Any) -> httpx.Response:
        url = f"/api/v1/repositories/{quote(self.name)}/{path}".rstrip("/")
        answer = self._http.request(method, url, **what)
        answer.raise_for_status()
        return answer


class RemoteLake:
    """A server there; repositories that were made go when the context ends."""

    def __init__(self, config: StoreConfig, namespace: str) -> None:
        assert config.endpoint_url
        assert config.access_key_id
        assert config.secret_access_key
        self._config, self._namespace = config, namespace.rstrip("/")
        auth = (config.access_key_id, config.secret_access_key.reveal())
        self._http = httpx.Client(base_url=config.endpoint_url, auth=auth, timeout=60)
        self._made: list[RemoteRepository] = []

    @classmethod
    def of(cls, lake: Lake) -> Self:
        """Return a server of this package as if it were elsewhere."""
        return cls(lake.config(), lake.blockstore.namespace("tests"))

    @classmethod
    def of_environment(cls) -> Self | None:
        """Return the server that the environment names, None if it names none."""
        if ENDPOINT not in os.environ:
            return None
        secret = Secret(os.environ[SECRET])
        config = StoreConfig(os.environ[ENDPOINT].rstrip("/"), os.environ[KEY], secret)
        return cls(config, os.environ.get(NAMESPACE, "local://tests"))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for repository in self._made:
            repository.drop()
        self._http.close()

    def config(self) -> StoreConfig:
        """Return where it is, and who one is there."""
        return self._config

    def create_repository(self, name: str) -> RemoteRepository:
        """Make an empty repository whose name begins so, with a branch `main`."""
        unique = f"{name}-{secrets.token_hex(6)}"
        body = {"name": unique, "storage_namespace": f"{self._namespace}/{unique}"}
        made = self._http.post("/api/v1/repositories", json=body | {"default_branch": "main"})
        made.raise_for_status()
        self._made.append(RemoteRepository(self._http, unique))
        return self._made[-1]
