"""Recorded requests, sent again: where does a server answer otherwise than the real one did?"""

import base64
import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

import httpx

from lakefs_server.recording import RECORDINGS

ACCESS_KEY_ID = "AKIAIOSFODNN7EXAMPLE"
OF_THE_MOMENT = {"token", "token_expiration", "physical_address_expiry"}
UNCOMPARED = {"content-length"}
"""Of JSON it depends on how the writer orders and spaces."""


def replay(recording: str, endpoint: str, secret: str, names: str = "") -> Iterator[str]:
    """Yield a line for each answer that is another one; of those whose names match."""
    path, token, seen = RECORDINGS / recording / "exchanges.jsonl", "", 0
    basic = base64.b64encode(f"{ACCESS_KEY_ID}:{secret}".encode()).decode()
    with httpx.Client(timeout=30) as client:
        # Not by `splitlines`, for which a text has more line ends than `\n`.
        for exchange in map(json.loads, filter(None, path.read_text().split("\n"))):
            if not re.search(names, exchange["name"]):
                continue
            seen += 1
            request, like = exchange["request"], exchange["response"]
            headers = {"Authorization": f"Basic {basic}"} if request["auth"] == "basic" else {}
            headers |= request.get("headers", {})
            headers = {k: v.replace("TOKEN", token) for k, v in headers.items()}
            body = request.get("json")
            if body and body.get("secret_access_key") == "SECRET":
                body = body | {"secret_access_key": secret}
            answer = client.request(
                request["method"], endpoint + request["url"], headers=headers, json=body
            )
            if exchange["name"] == "login" and answer.status_code == 200:
                token = answer.json()["token"]
            got, want = _got(answer, like), _wanted(like)
            if got != want:
                yield f"{exchange['name']}: {request['url']}: expected {want}, got {got}"
    if not seen:
        yield f"no exchange is named {names}"


def _shape(value: Any) -> Any:
    """Return a value with a word in place of all that is another one each time."""
    match value:
        case dict():
            return {k: k if k in OF_THE_MOMENT else _shape(v) for k, v in value.items()}
        case list():
            return [_shape(one) for one in value]
        case str() if "X-Amz-Signature" in value:
            return "presigned " + re.sub(r"^https?://[^/]+", "", value.split("?")[0])
        case str():
            return re.split(r"(?<=query|eader) has an error", value)[0]
        case _:
            return value


def _got(answer: httpx.Response, like: Mapping[str, Any]) -> dict[str, Any]:
    kept = like["headers"].keys() - UNCOMPARED
    headers = {k: _shape(v) for k, v in answer.headers.items() if k in kept}
    got: dict[str, Any] = {"status": answer.status_code, "headers": headers}
    if "json" in like:
        got["json"] = _shape(answer.json())
    else:
        got["body"] = answer.content
    return got


def _wanted(like: Mapping[str, Any]) -> dict[str, Any]:
    headers = {k: _shape(v) for k, v in like["headers"].items() if k not in UNCOMPARED}
    want: dict[str, Any] = {"status": like["status"], "headers": headers}
    if "json" in like:
        want["json"] = _shape(like["json"])
    else:
        want["body"] = like.get("text", "").encode() or base64.b64decode(like.get("base64", ""))
    return want
