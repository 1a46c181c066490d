"""Signatures of AWS, version 4: made and verified as its manual says, without any client."""

import hashlib
import hmac
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from urllib.parse import quote, unquote_to_bytes

from lakefs_server.messages import Request

ALGORITHM = "AWS4-HMAC-SHA256"
STAMP = "%Y%m%dT%H%M%SZ"
SKEW = timedelta(minutes=15)
UNSIGNED = "UNSIGNED-PAYLOAD"
EMPTY_SHA256 = hashlib.sha256(b"").hexdigest()
SCOPE_END = "aws4_request"


class SignatureRefusedError(Exception):
    """A request that is not answered, with S3's code for it."""

    def __init__(self, code: str, message: str = "") -> None:
        super().__init__(message or code)
        self.code = code


def is_signed(request: Request) -> bool:
    """Return whether a request is one for the gateway."""
    authorization = request.headers.get("authorization", "")
    return authorization.startswith("AWS") or "X-Amz-Algorithm=" in request.query


def verify(request: Request, secrets: Mapping[str, str], now: datetime | None = None) -> str:
    """Return the access key that signed a request; raises `SignatureRefusedError`."""
    now = now or datetime.now(UTC)
    if "X-Amz-Signature=" in request.query:
        return _verify_query(request, secrets, now)
    scheme, _, rest = request.headers.get("authorization", "").partition(" ")
    if scheme != ALGORITHM:
        raise SignatureRefusedError("AccessDenied")
    parts = dict(part.strip().split("=", 1) for part in rest.split(",") if "=" in part)
    stamp = request.headers.get("x-amz-date", "")
    if not {"Credential", "SignedHeaders", "Signature"} <= parts.keys() or not stamp:
        raise SignatureRefusedError("AuthorizationHeaderMalformed")
    if abs(datetime.strptime(stamp, STAMP).replace(tzinfo=UTC) - now) > SKEW:
        raise SignatureRefusedError("RequestTimeTooSkewed")
    payload = request.headers.get("x-amz-content-sha256", "")
    if payload != UNSIGNED and payload != hashlib.sha256(request.body).hexdigest():
        raise SignatureRefusedError("XAmzContentSHA256Mismatch")
    names = parts["SignedHeaders"].split(";")
    if "host" not in names:
        raise SignatureRefusedError("AccessDenied", "host is not signed")
    signed = _signature(request, parts["Credential"], stamp, names, payload, secrets)
    return _same(signed, parts["Signature"], parts["Credential"])


def presign(
    method: str,
    url: tuple[str, str],
    extra: Mapping[str, str],
    credentials: tuple[str, str],
    lasts_s: int,
    now: datetime | None = None,
) -> str:
    """Return a URL that needs no credentials for some seconds; `url` is host and path."""
    host, path = url
    stamp = (now or datetime.now(UTC)).strftime(STAMP)
    key, secret = credentials
    credential = f"{key}/{stamp[:8]}/us-east-1/s3/{SCOPE_END}"
    fields = {
        "X-Amz-Algorithm": ALGORITHM,
        "X-Amz-Credential": credential,
        "X-Amz-Date": stamp,
        "X-Amz-Expires": str(lasts_s),
        "X-Amz-SignedHeaders": "host",
        **extra,
    }
    query = "&".join(f"{_encoded(k)}={_encoded(v)}" for k, v in fields.items())
    request = Request(method, _encoded(path, "/"), query, {"host": host})
    signed = _signature(request, credential, stamp, ["host"], UNSIGNED, {key: secret})
    return f"http://{host}{request.path}?{query}&X-Amz-Signature={signed}"


def _verify_query(request: Request, secrets: Mapping[str, str], now: datetime) -> str:
    fields = request.parameters
    if request.headers.get("authorization"):
        raise SignatureRefusedError("InvalidArgument", "Only one auth mechanism allowed")
    stamp, credential = fields.get("X-Amz-Date", ""), fields.get("X-Amz-Credential", "")
    query = "&".join(p for p in request.query.split("&") if not p.startswith("X-Amz-Signature="))
    unsigned = Request(request.method, request.path, query, request.headers)
    names = fields.get("X-Amz-SignedHeaders", "").split(";")
    signed = _signature(unsigned, credential, stamp, names, UNSIGNED, secrets)
    key = _same(signed, fields["X-Amz-Signature"], credential)
    begun = datetime.strptime(stamp, STAMP).replace(tzinfo=UTC)
    if now >= begun + timedelta(seconds=int(fields["X-Amz-Expires"])):
        raise SignatureRefusedError("AccessDenied", "Request has expired")
    return key


def _same(signed: str, given: str, credential: str) -> str:
    if not hmac.compare_digest(signed, given):
        raise SignatureRefusedError("SignatureDoesNotMatch")
    return credential.split("/")[0]


def _signature(
    request: Request,
    credential: str,
    stamp: str,
    names: Sequence[str],
    payload: str,
    secrets: Mapping[str, str],
) -> str:
    key, _, scope = credential.partition("/")
    if key not in secrets:
        raise SignatureRefusedError("InvalidAccessKeyId")
    headers = "".join(f"{n}:{' '.join(request.headers.get(n, '').split())}\n" for n in names)
    lines = (
        request.method,
        quote(unquote_to_bytes(request.path), safe="/-_.~"),
        _canonical_query(request.query),
        headers,
        ";".join(names),
        payload,
    )
    canonical = hashlib.sha256("\n".join(lines).encode()).hexdigest()
    signing_key = f"AWS4{secrets[key]}".encode()
    for part in scope.split("/"):
        signing_key = hmac.digest(signing_key, part.encode(), "sha256")
    text = f"{ALGORITHM}\n{stamp}\n{scope}\n{canonical}"
    return hmac.new(signing_key, text.encode(), "sha256").hexdigest()


def _canonical_query(query: str) -> str:
    pairs = (pair.partition("=") for pair in query.split("&") if pair)
    decoded = ((unquote_to_bytes(name), unquote_to_bytes(value)) for name, _, value in pairs)
    encoded = ((quote(name, safe="-_.~"), quote(value, safe="-_.~")) for name, value in decoded)
    return "&".join(f"{name}={value}" for name, value in sorted(encoded))


def _encoded(text: str, safe: str = "") -> str:
    return quote(text, safe=f"{safe}-_.~")
