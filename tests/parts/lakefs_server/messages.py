"""What comes in at a door and what goes out."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from email.utils import formatdate
from typing import Any
from urllib.parse import parse_qs

TRUE = {"1", "t", "T", "TRUE", "true", "True"}
FALSE = {"0", "f", "F", "FALSE", "false", "False"}
"""What Go's ParseBool takes."""
MAX_AMOUNT, DEFAULT_AMOUNT = 1000, 100


@dataclass(frozen=True)
class Request:
    """A request, as it came."""

    method: str
    path: str
    """Still percent-encoded."""
    query: str
    headers: Mapping[str, str]
    """By names in lower case."""
    body: bytes = b""
    port: int = 0
    """The client's, which tells its connections apart."""

    @property
    def target(self) -> str:
        """Path and query, as they were sent."""
        return f"{self.path}?{self.query}" if self.query else self.path

    @property
    def parameters(self) -> dict[str, str]:
        """The query, decoded."""
        return {k: v[-1] for k, v in parse_qs(self.query, keep_blank_values=True).items()}


@dataclass
class Answer:
    """An answer, and how it is spoilt on its way."""

    status: int
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    cut: bool = False
    """The connection ends in the middle of the body."""
    pause_s: float = 0.0
    """Time that passes in the middle of the body."""


class RefusalError(Exception):
    """What cannot be answered with what was asked for: a status and a message."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status, self.message = status, message


def json_answer(value: Any, status: int = 200) -> Answer:
    """Return an answer as all of the REST interface's are."""
    body = json.dumps(value, ensure_ascii=False).encode() + b"\n"
    headers = {"Content-Type": "application/json", "X-Content-Type-Options": "nosniff"}
    return Answer(status, headers, body)


def error_answer(status: int, message: str) -> Answer:
    """Return an error of the REST interface."""
    return json_answer({"message": message}, status)


def invalid(where: str, name: str, problem: str) -> RefusalError:
    """Return what the validator says of a parameter."""
    return RefusalError(400, f'parameter "{name}" in {where} has an error: {problem}')


def flag(parameters: Mapping[str, str], name: str, default: bool) -> bool:
    """Return a boolean parameter."""
    value = parameters.get(name)
    if value is None:
        return default
    if value not in TRUE | FALSE:
        raise invalid("query", name, f"value {value}: an invalid boolean: invalid syntax")
    return value in TRUE


def amount(parameters: Mapping[str, str]) -> int:
    """Return how many results a page is to have."""
    value = parameters.get("amount", str(DEFAULT_AMOUNT))
    if not re.fullmatch(r"-?\d+", value):
        raise invalid("query", "amount", f"value {value}: an invalid integer: invalid syntax")
    number = int(value)
    if number < -1:
        raise invalid("query", "amount", "number must be at least -1")
    if number > MAX_AMOUNT:
        raise invalid("query", "amount", f"number must be at most {MAX_AMOUNT}")
    return number if number > 0 else DEFAULT_AMOUNT


def required(parameters: Mapping[str, str], name: str) -> str:
    """Return a parameter that must be there, and not empty."""
    if name not in parameters:
        raise invalid("query", name, "value is required but missing")
    if not parameters[name]:
        raise invalid("query", name, "empty value is not allowed")
    return parameters[name]


def http_date(seconds: int) -> str:
    """Return a time as headers have it."""
    return formatdate(seconds, usegmt=True)
