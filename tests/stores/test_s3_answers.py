"""Answers of S3 that a healthy server does not give, from one that only gives those."""

import contextlib
import struct
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socket import SO_LINGER, SOL_SOCKET
from urllib.parse import parse_qs, urlsplit

import pytest

from prefect_freight.config import Secret, StoreConfig
from prefect_freight.errors import (
    AccessError,
    ConfigError,
    FreightError,
    InputError,
    NotFoundError,
    StorageFullError,
    TransientError,
)
from prefect_freight.sources.icechunk.source import IcechunkSource
from prefect_freight.stores.s3.body import SMALL_BYTES
from prefect_freight.stores.s3.store import S3Store

HIDDEN = "hush-hush-0123456789"
Answer = Callable[[BaseHTTPRequestHandler], None]


@contextlib.contextmanager
def serving(answer: Answer) -> Iterator[str]:
    """Run a server that answers every request in one way, and return its address."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def handle_any(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            answer(self)
            self.close_connection = True

        do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = handle_any  # noqa: N815

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


def store_at(endpoint: str) -> S3Store:
    secret = Secret(HIDDEN)
    config = StoreConfig(endpoint_url=endpoint, access_key_id="id", secret_access_key=secret)
    return S3Store("bucket", "", config, idle_s=1)


def says(status: int, body: str = "", **headers: str) -> Answer:
    def answer(request: BaseHTTPRequestHandler) -> None:
        request.send_response(status)
        sent = {"Content-Length": str(len(body.encode())), "Connection": "close"} | headers
        for name, value in sent.items():
            request.send_header(name, value)
        request.end_headers()
        if request.command != "HEAD":
            request.wfile.write(body.encode())

    return answer


def error(status: int, code: str) -> Answer:
    # AWS repeats what was signed, headers and all, in its answer to a wrong signature.
    canonical = f"<CanonicalRequest>x-amz-security-token:{HIDDEN}</CanonicalRequest>"
    return says(status, f"<Error><Code>{code}</Code><Message>no</Message>{canonical}</Error>")


def reset(request: BaseHTTPRequestHandler) -> None:
    request.connection.setsockopt(SOL_SOCKET, SO_LINGER, struct.pack("ii", 1, 0))
    request.connection.close()


def hang(request: BaseHTTPRequestHandler) -> None:
    threading.Event().wait(5)


def cut_short(request: BaseHTTPRequestHandler) -> None:
    ranged = "Range" in request.headers
    says(206 if ranged else 200, "abc", **_found(10))(request)


def _found(length: int) -> dict[str, str]:
    return {
        "Content-Length": str(length),
        "Content-Range": f"bytes 0-{length - 1}/{length}",
        "Last-Modified": "Sat, 21 Nov 2026 08:00:00 GMT",
        "ETag": '"x"',
    }


def drip(request: BaseHTTPRequestHandler) -> None:
    """Answer with a body that comes byte by byte: no pause is ever long."""
    asked = request.headers.get("Range", "")
    length = int(asked.rpartition("-")[2]) + 1 if asked else 10_000
    request.send_response(206 if asked else 200)
    for name, value in _found(length).items():
        request.send_header(name, value)
    request.end_headers()
    with contextlib.suppress(OSError):  # the client has gone
        for _ in range(length):
            request.wfile.write(b"<")
            time.sleep(0.2)


PASSES, REFUSED = TransientError, AccessError
TABLE: list[tuple[str, Answer, type[FreightError]]] = [
    ("503 SlowDown", error(503, "SlowDown"), PASSES),
    ("500 InternalError", error(500, "InternalError"), PASSES),
    ("502 from a proxy", says(502, "<html>"), PASSES),
    ("429 without a word", says(429), PASSES),
    ("400 RequestTimeout", error(400, "RequestTimeout"), PASSES),
    ("400 BadDigest", error(400, "BadDigest"), PASSES),
    ("409 ConditionalRequestConflict", error(409, "ConditionalRequestConflict"), PASSES),
    ("409 OperationAborted", error(409, "OperationAborted"), PASSES),
    ("reset", reset, PASSES),
    ("closed without a word", lambda _: None, PASSES),
    ("nothing for ever", hang, PASSES),
    ("403 SignatureDoesNotMatch", error(403, "SignatureDoesNotMatch"), REFUSED),
    ("403 without a word", says(403), REFUSED),
    ("401 from a proxy", says(401, "<html>"), REFUSED),
    ("400 ExpiredToken", error(400, "ExpiredToken"), REFUSED),
    ("403 RequestTimeTooSkewed", error(403, "RequestTimeTooSkewed"), REFUSED),
    ("404 NoSuchKey", error(404, "NoSuchKey"), NotFoundError),
    ("507 XMinioStorageFull", error(507, "XMinioStorageFull"), StorageFullError),
    ("403 QuotaExceeded", error(403, "QuotaExceeded"), StorageFullError),
    ("400 KeyTooLongError", error(400, "KeyTooLongError"), InputError),
    ("405", says(405), InputError),
    ("301 another region", error(301, "PermanentRedirect"), ConfigError),
    ("400 another region", error(400, "AuthorizationHeaderMalformed"), ConfigError),
]
ACTS: dict[str, Callable[[S3Store], object]] = {
    "write": lambda store: store.write("k", b"x"),
    "write_new": lambda store: store.write_new("k", b"x"),
    "read": lambda store: store.read("k"),
    "range": lambda store: store.read("k", 0, 10),
}


@pytest.mark.parametrize("act", ACTS.values(), ids=ACTS.keys())
@pytest.mark.parametrize(
    ("answer", "expected"), [row[1:] for row in TABLE], ids=[row[0] for row in TABLE]
)
def test_each_answer_has_its_class(answer, expected, act) -> None:
    with serving(answer) as endpoint, pytest.raises(FreightError) as caught:
        act(store_at(endpoint))
    assert type(caught.value) is expected, caught.value
    assert "'k' in s3://bucket" in str(caught.value)
    found: BaseException | None = caught.value
    while found is not None:
        assert HIDDEN not in f"{found} {found!r} {found.args}"
        found = found.__cause__ or found.__context__


@pytest.mark.parametrize(
    ("answer", "act"),
    [
        (says(404, "<html>"), lambda store: list(store.list("d/"))),
        (says(200, "<html>", **{"Content-Type": "text/html"}), lambda store: store.read("k")),
        (says(200, "<html>", **{"Content-Type": "text/html"}), lambda store: store.write("k", b"")),
    ],
    ids=["no page", "a page", "a page for all"],
)
def test_a_web_server_that_is_no_s3_is_told_as_that(answer, act) -> None:
    with serving(answer) as endpoint, pytest.raises(ConfigError) as caught:
        act(store_at(endpoint))
    assert str(caught.value).startswith(f"expected an S3 service at {endpoint}, found one that ")
    assert "Check endpoint_url" in str(caught.value)


@pytest.mark.parametrize("name", ["read", "range"])
def test_a_body_that_is_cut_short_may_be_whole_next_time(name: str) -> None:
    with serving(cut_short) as endpoint, pytest.raises(TransientError):
        ACTS[name](store_at(endpoint))


@pytest.mark.parametrize(
    "act",
    [
        lambda store: store.read("k"),
        lambda store: store.read("k", 0, 1000),
        lambda store: store.read("k", 0, SMALL_BYTES + 1),
        lambda store: store.read_tagged("k"),
        lambda store: store.delete(["k"]),
        # Which goes on where it broke, and so tries six times.
        pytest.param(lambda store: list(store.list()), marks=pytest.mark.slow),
    ],
    ids=["read", "small range", "large range", "read_tagged", "delete", "list"],
)
def test_an_answer_that_comes_byte_by_byte_is_not_waited_for(act) -> None:
    began = time.monotonic()
    with serving(drip) as endpoint, pytest.raises(TransientError):
        act(store_at(endpoint))
    assert time.monotonic() - began < 20


@pytest.mark.slow
def test_icechunk_is_not_waited_for_either() -> None:
    began = time.monotonic()
    with serving(drip) as endpoint:
        config = StoreConfig(
            endpoint_url=endpoint, access_key_id="id", secret_access_key=Secret(HIDDEN)
        )
        source = IcechunkSource("s3://bucket/repository", config, limit_s=0.5)
        with pytest.raises(TransientError, match="did not answer within"):
            source.resolve("main")
    assert time.monotonic() - began < 30


def test_deleting_what_one_may_not_is_refused_by_name() -> None:
    said = (
        "<DeleteResult><Error><Key>k</Key><Code>AccessDenied</Code>"
        "<Message>no</Message></Error></DeleteResult>"
    )
    with serving(says(200, said)) as endpoint, pytest.raises(AccessError, match="AccessDenied"):
        store_at(endpoint).delete(["k"])


def test_a_service_without_conditional_puts_gets_the_next_best() -> None:
    objects: dict[str, bool] = {}

    def answer(request: BaseHTTPRequestHandler) -> None:
        if request.headers.get("If-None-Match"):
            return error(501, "NotImplemented")(request)
        if request.command == "PUT":
            objects["k"] = True
        return says(200 if objects else 404, **_found(0) if objects else {})(request)

    with serving(answer) as endpoint:
        store = store_at(endpoint)
        assert store.write_new("k", b"x")
        assert not store.write_new("k", b"x")


@pytest.mark.parametrize("ignores", [True, False], ids=["ignores them", "says that it has none"])
def test_a_service_without_conditional_replaces_gets_the_next_best(*, ignores: bool) -> None:
    puts: list[str] = []

    def answer(request: BaseHTTPRequestHandler) -> None:
        if request.command == "PUT":
            if request.headers.get("If-Match") and not ignores:
                return error(501, "NotImplemented")(request)
            puts.append("put")
        found = _found(0) | {"ETag": f'"{len(puts)}"'}
        return says(200 if puts else 404, **found if puts else {})(request)

    with serving(answer) as endpoint:
        store = store_at(endpoint)
        assert not store.replace("k", b"x", '"0"')
        store.write("k", b"x")
        for n in (1, 2, 3):
            assert not store.replace("k", b"another's", '"0"')
            assert store.replace("k", b"mine", f'"{n}"')
            assert len(puts) == n + 1


def test_a_conditional_replace_that_meets_another_one_is_tried_again() -> None:
    def answer(request: BaseHTTPRequestHandler) -> None:
        if request.command == "PUT":
            return error(409, "ConditionalRequestConflict")(request)
        return says(200, **_found(0) | {"ETag": '"1"'})(request)

    with serving(answer) as endpoint, pytest.raises(TransientError):
        store_at(endpoint).replace("k", b"x", '"1"')


def listing(keys: list[str], *, more: bool = False) -> str:
    rows = "".join(
        f"<Contents><Key>{key}</Key><LastModified>2026-11-21T08:00:00.000Z</LastModified>"
        f"<ETag>&quot;e&quot;</ETag><Size>1</Size><StorageClass>STANDARD</StorageClass></Contents>"
        for key in keys
    )
    token = f"<NextContinuationToken>{keys[-1]}</NextContinuationToken>" if more else ""
    return (
        f"<ListBucketResult><Name>bucket</Name><Prefix></Prefix><MaxKeys>1000</MaxKeys>"
        f"<IsTruncated>{str(more).lower()}</IsTruncated>{token}{rows}</ListBucketResult>"
    )


def bucket_of(keys: list[str], failing: set[int]) -> Answer:
    """Answer listings of a bucket with these keys; the n-th request fails where n is `failing`."""
    count = iter(range(10**6))

    def answer(request: BaseHTTPRequestHandler) -> None:
        if next(count) in failing:
            return error(503, "SlowDown")(request)
        asked = parse_qs(urlsplit(request.path).query)
        after = (asked.get("continuation-token") or asked.get("start-after") or [""])[0]
        left = [key for key in keys if key > after]
        return says(200, listing(left[:1000], more=len(left) > 1000))(request)

    return answer


def listed(endpoint: str) -> list[str]:
    return [key for page in store_at(endpoint).list() for key in page["key"].to_pylist()]


def test_a_listing_is_taken_up_where_it_broke() -> None:
    keys = [f"{n:05}" for n in range(12_345)]
    with serving(bucket_of(keys, {0, 3, 9, 10, 20})) as endpoint:
        assert listed(endpoint) == keys


@pytest.mark.parametrize("failing", [(), (3, 9, 15)])
def test_a_key_of_somebody_else_that_obstore_cannot_say_is_listed(failing) -> None:
    keys = sorted([f"{n:05}" for n in range(7_500)] + ["00100//x", "06500/../y", "06500/./"])
    with serving(bucket_of(keys, set(failing))) as endpoint:
        assert listed(endpoint) == keys
