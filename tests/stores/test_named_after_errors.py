"""Places and keys that are called after errors: what a user names never decides what went wrong."""

import itertools
import os
import socket
import ssl
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from histories import History, create
from proxies import Fault, Rule, proxied
from servers import S3Server, free_ports

from prefect_freight.config import StoreConfig
from prefect_freight.errors import (
    AccessError,
    ConfigError,
    NotFoundError,
    TransientError,
)
from prefect_freight.sources.kinds import open_source
from prefect_freight.stores.fsspec import FsspecStore
from prefect_freight.stores.s3.client import open_botocore
from prefect_freight.stores.s3.errors import translate_error
from prefect_freight.stores.urls import open_store

BUCKETS = ["certificates", "connect", "timedout", "bad-scheme", "403", "169.254.169.254"]
NAMES = [
    "certificate",
    "InvalidCertificate(",
    "BadScheme",
    "scheme is not allowed",
    "BareRedirect",
    "redirect without LOCATION",
    "Connect,",
    "kind: Connect",
    "TimedOut",
    "HTTP error",
    "HttpError { kind: Timeout, ",
    "Status { status: 507,",
    "non-2xx status code: 403",
    "501 Not Implemented",
    "Conflict<",
    "<Code>OperationAborted<",
    "<Code>AccessDenied<",
    "(code: AccessDenied)",
    'code: "AccessDenied"',
    "unhandled error (AccessDenied)",
    "a bucket does not exist",
    "forbidden",
    "Debug source:",
    "169.254.169.254",
    "NoSuchBucket",
    "uri: Some(",
    '"',
]
names = pytest.mark.parametrize("name", NAMES)


@pytest.mark.parametrize(("bucket", "name"), [*zip(itertools.cycle(BUCKETS), NAMES, strict=False)])
def test_nobody_answers(s3: S3Server, bucket: str, name: str) -> None:
    config = s3.config(endpoint_url=f"http://127.0.0.1:{free_ports(1)[0]}")
    store = open_store(f"s3://{bucket}/{name}", config)
    with pytest.raises(TransientError, match="no answer from"):
        store.read(f"{name}/k")
    with pytest.raises(TransientError, match="no answer from"):
        store.write_new(f"{name}/k", b"")
    with pytest.raises(TransientError, match="no answer from"):
        store.delete([name])


@pytest.fixture(scope="module")
def bucket(s3: S3Server) -> str:
    return s3.new_bucket()


@names
def test_what_is_there_and_what_is_not(s3: S3Server, bucket: str, name: str) -> None:
    store = open_store(f"s3://{bucket}/{name}", s3.config())
    with pytest.raises(NotFoundError):
        store.read(f"{name}/k")
    assert store.write_new(f"{name}/k", b"x")
    assert not store.write_new(f"{name}/k", b"y")
    data, tag = store.read_tagged(f"{name}/k")
    assert data == b"x"
    assert store.replace(f"{name}/k", b"y", tag)
    assert not store.replace(f"{name}/k", b"z", tag)
    assert store.read(f"{name}/k") == b"y"


@pytest.fixture(scope="module")
def denying(s3: S3Server) -> Iterator[str]:
    with proxied(s3.endpoint_url, Rule(Fault.DENIED)) as proxy:
        yield proxy.endpoint_url


@pytest.fixture(scope="module")
def busy(s3: S3Server) -> Iterator[str]:
    with proxied(s3.endpoint_url, Rule(Fault.SLOW_DOWN)) as proxy:
        yield proxy.endpoint_url


@names
def test_a_refusal_and_a_busy_store(s3: S3Server, denying: str, busy: str, name: str) -> None:
    with pytest.raises(AccessError, match="AccessDenied"):
        open_store(f"s3://bucket/{name}", s3.config(endpoint_url=denying)).read(name)
    with pytest.raises(TransientError, match="503"):
        open_store(f"s3://bucket/{name}", s3.config(endpoint_url=busy)).write_new(name, b"x")


@names
def test_a_file_system_without_the_file(tmp_path: Path, name: str) -> None:
    for url in (f"memory://{name}", f"file://{tmp_path}/{name}"):
        with pytest.raises(NotFoundError):
            FsspecStore(url, StoreConfig()).read(f"{name}/k")
    with pytest.raises(NotFoundError):
        open_store(str(tmp_path / name)).read(f"{name}/k")


@pytest.fixture
def untrusted(tmp_path: Path) -> Iterator[str]:
    """Yield the address of a server whose certificate nobody has signed."""
    key, certificate = tmp_path / "key", tmp_path / "certificate"
    made = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=x"]
    subprocess.run(
        [*made, "-keyout", str(key), "-out", str(certificate)], check=True, capture_output=True
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            while True:
                try:
                    connection, _ = server.accept()
                    context.wrap_socket(connection, server_side=True).close()
                except ssl.SSLError:
                    continue
                except OSError:
                    return

        threading.Thread(target=serve, daemon=True).start()
        yield f"https://127.0.0.1:{server.getsockname()[1]}"


def test_a_certificate_that_is_really_not_trusted(s3: S3Server, untrusted: str) -> None:
    config = s3.config(endpoint_url=untrusted, allow_http=None)
    with pytest.raises(ConfigError, match="does not trust the certificate"):
        open_store("s3://connect/TimedOut", config).read("k")
    with pytest.raises(Exception, match="certificate") as caught:
        open_botocore(config).list_objects_v2(Bucket="connect")
    error = translate_error(caught.value, "could not list", "connect", untrusted)
    assert isinstance(error, ConfigError)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["forbidden 403", "unhandled error (AccessDenied)", "(Connect)"])
def test_a_repository(s3: S3Server, tmp_path: Path, name: str) -> None:
    config = s3.config(endpoint_url=f"http://127.0.0.1:{free_ports(1)[0]}")
    with pytest.raises(TransientError, match="no answer from its storage"):
        open_source(f"icechunk+s3://bucket/{name}", config).resolve("main")
    history = History(tmp_path / f"{name}: permission denied")
    history.commit(create("a"))
    os.rename(history.path / "repo", history.path / "other")
    os.symlink("repo", history.path / "repo")  # to itself
    with pytest.raises(TransientError, match="symbolic links"):
        open_source(f"icechunk+{history.path}").resolve("main")
