"""Answers as S3 gives them: objects and errors, for the gateway and for the blockstore."""

from xml.sax.saxutils import escape

from lakefs_server.bodies import span_of
from lakefs_server.messages import Answer, Request

STATUSES = {
    "AccessDenied": 403,
    "InvalidAccessKeyId": 403,
    "SignatureDoesNotMatch": 403,
    "RequestTimeTooSkewed": 403,
    "InvalidArgument": 400,
    "AuthorizationHeaderMalformed": 400,
    "XAmzContentSHA256Mismatch": 400,
    "NoSuchBucket": 404,
    "NoSuchKey": 404,
    "NoSuchVersion": 404,
    "MethodNotAllowed": 405,
    "InvalidRange": 416,
    "SlowDown": 503,
    "InternalError": 500,
}
XML = {"Content-Type": "application/xml"}


def s3_error(code: str, message: str = "", status: int = 0) -> Answer:
    """Return an error of S3."""
    text = f"<Code>{code}</Code><Message>{escape(message or code)}</Message>"
    body = f'<?xml version="1.0" encoding="UTF-8"?>\n<Error>{text}</Error>'
    return Answer(status or STATUSES[code], dict(XML), body.encode())


def s3_object(request: Request, headers: dict[str, str], data: bytes) -> Answer:
    """Return an object, or a range of it."""
    headers = headers | {"Accept-Ranges": "bytes"}
    try:
        span = span_of(request.headers["range"], len(data))
    except (KeyError, ValueError):
        return Answer(200, headers, data)  # a range that is none is ignored
    if span is None:
        return s3_error("InvalidRange")
    first, end = span
    headers["Content-Range"] = f"bytes {first}-{end - 1}/{len(data)}"
    return Answer(206, headers, data[first:end])
