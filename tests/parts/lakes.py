"""Repositories of lakeFS with several states: of a server that runs as long as the process."""

import atexit
import itertools
import os
import secrets
from contextlib import ExitStack
from functools import cache
from pathlib import Path
from typing import Any

import folders
from histories import tree
from lakefs_server.remote import RemoteLake
from lakefs_server.server import Lake

from prefect_freight.sources.lakefs import lakectl

NUMBERS = itertools.count(1)


def running_lake() -> Lake | RemoteLake:
    """Return the server of this process, where `lakectl` finds it; or a real one, if it is named.

    Sources that are named by a URL find it in the environment, as those of lakeFS's users do: until
    the test ends (`lakectl_as_it_was`).
    """
    lake = _started()
    config = lake.config()
    assert config.endpoint_url
    assert config.access_key_id
    assert config.secret_access_key
    os.environ[lakectl.ENDPOINT] = config.endpoint_url
    os.environ[lakectl.ACCESS_KEY_ID] = config.access_key_id
    os.environ[lakectl.SECRET_ACCESS_KEY] = config.secret_access_key.reveal()
    return lake


@cache
def _started() -> Lake | RemoteLake:
    contexts = ExitStack()
    atexit.register(contexts.close)
    return contexts.enter_context(RemoteLake.of_environment() or Lake("s3"))


class Commits:
    """A repository of lakeFS; a state is a commit of what a folder becomes by changes of files."""

    def __init__(self, folder: Path) -> None:
        self.options = {"format": "objects"}
        name = f"world-{next(NUMBERS)}-{secrets.token_hex(4)}"
        self.repository = running_lake().create_repository(name)
        self._folder = folders.Folder(folder / "working")
        self._commits, self._files = list[str](), list[dict[str, bytes]]()

    @property
    def url(self) -> str:
        return f"lakefs://{self.repository.name}"

    def add(self, *changes: Any) -> int:
        before = self._files[-1] if self._files else {}
        self._folder.change(*changes)
        files = tree(self._folder.path)
        for key in before.keys() - files.keys():
            self.repository.delete(key)
        for key, data in files.items():
            if before.get(key) != data:
                self.repository.put(key, data)
        if files == before:  # a real one refuses a commit without changes
            self._commits.append(self._commits[-1])
        else:
            self._commits.append(self.repository.commit())
        self._files.append(files)
        return len(self._commits) - 1

    def visit(self, state: int) -> str:
        return self._commits[state]

    base = visit

    def expected(self, state: int) -> dict[str, bytes]:
        return self._files[state]

    def anew(self, folder: Path) -> "Commits":
        return self  # a visit changes nothing
