"""A real Prefect server, one a session, with a database and a home of its own."""

import contextlib
import fcntl
import importlib.metadata
import os
import shutil
import signal
import sqlite3
import subprocess
import sysconfig
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from servers import die_with_parent, free_ports

START_WITHIN_S = 240.0
SCRIPTS = Path(sysconfig.get_path("scripts"))


@dataclass(frozen=True)
class PrefectServer:
    """A running server."""

    api_url: str
    home: Path
    """Its database and all that it writes lie here."""
    client_home: Path
    """What flows and commands write lies here."""

    @property
    def environment(self) -> dict[str, str]:
        """Return the environment of a process that uses this server."""
        return _without_prefect() | {
            "PREFECT_HOME": str(self.client_home),
            "PREFECT_API_URL": self.api_url,
            "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
            "PREFECT_CLI_COLORS": "false",
        }

    def run(self, script: str, *arguments: str, cwd: Path, **environment: str) -> str:
        """Run an installed script with this server to its end; return all that it printed."""
        done = subprocess.run(
            [SCRIPTS / script, *arguments],
            cwd=cwd,
            env=self.environment | environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            timeout=200,
        )
        assert done.returncode == 0, done.stdout[-20000:]
        return done.stdout

    def written(self) -> bytes:
        """Return all bytes of all files that server, flows and commands wrote."""
        folders = (self.home, self.client_home)
        return b"".join(p.read_bytes() for d in folders for p in d.rglob("*") if p.is_file())


@pytest.fixture(scope="session")
def prefect_database(pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a new database of Prefect's server: to be copied, since to make one takes long.

    It is made once a version and machine, and not once a process of pytest.
    """
    folder = pytestconfig.cache.mkdir("prefect") if pytestconfig.cache else None
    folder = folder or tmp_path_factory.mktemp("prefect-database")
    made = folder / f"{importlib.metadata.version('prefect')}.db"
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # until it is closed
        if not made.exists():
            home = tmp_path_factory.mktemp("prefect-home")
            subprocess.run(
                [SCRIPTS / "prefect", "server", "database", "upgrade", "--yes"],
                env=_without_prefect() | {"PREFECT_HOME": str(home)},
                check=True,
                capture_output=True,
                timeout=START_WITHIN_S,
            )
            with contextlib.closing(sqlite3.connect(home / "prefect.db")) as database:
                database.execute("PRAGMA wal_checkpoint(TRUNCATE)")  # all of it is in the one file
            shutil.copy(home / "prefect.db", made.with_suffix(".new"))
            made.with_suffix(".new").replace(made)
    return made


def _without_prefect() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if "PREFECT" not in name}


@pytest.fixture(scope="session")
def prefect_server(
    prefect_database: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[PrefectServer]:
    """Return a server that flows of this process use, and those of others that are told of it."""
    from prefect.context import _temporary_global_settings_context, get_settings_context
    from prefect.settings import PREFECT_API_URL, PREFECT_HOME, temporary_settings

    folder, (port,) = tmp_path_factory.mktemp("prefect"), free_ports(1)
    server = PrefectServer(f"http://127.0.0.1:{port}/api", folder / "server", folder / "client")
    server.client_home.mkdir()
    server.home.mkdir()
    shutil.copy(prefect_database, server.home / "prefect.db")
    where = ("--host", "127.0.0.1", "--port", str(port))
    with (folder / "server.log").open("wb") as log:
        process = subprocess.Popen(
            [SCRIPTS / "prefect", "server", "start", *where, "--no-ui", "--analytics-off"],
            env=server.environment | {"PREFECT_HOME": str(server.home)},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            preexec_fn=die_with_parent,
        )
        try:
            _wait(server, process, folder / "server.log")
            use = {PREFECT_API_URL: server.api_url, PREFECT_HOME: server.client_home}
            # The settings of this context, and, as Prefect's own test harness does it, of threads
            # that Prefect starts without one.
            with (
                temporary_settings(use),
                _temporary_global_settings_context(get_settings_context()),
            ):
                yield server
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(30)


def _wait(server: PrefectServer, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + START_WITHIN_S
    while True:
        try:
            httpx.get(f"{server.api_url}/health", timeout=5).raise_for_status()
            return
        except httpx.HTTPError:
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(
                    f"Prefect's server didn't start:\n{log.read_text()[-3000:]}"
                ) from None
            time.sleep(0.1)
