"""What an error of obstore or botocore is made of: read from its structure, never from its words.

The words hold what the user named: a bucket `certificates`, a key `501 Not Implemented`. obstore
appends Rust's own rendering of the error, in which every text stands in quotes and the address in a
field of its own, so that both can be taken out and what is left is the library's alone. botocore's
errors have fields.
"""

import re
import ssl
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

RENDERING = "\n\nDebug source:\n"
"""What obstore puts between an error's words and its structure."""
ADDRESS = re.compile(r"uri: Some\(\n\s*(\S*),\n\s*\)")
TEXT = re.compile(r'(?:(\w+): (?:Some\(\s*)?)?"((?:[^"\\]|\\.)*)"')
STATUS = re.compile(r"\bStatus \{\s*status: (\d{3}),")
HTTP_KIND = re.compile(r"\bHttpError \{\s*kind: (\w+),")
CODE = re.compile(r"<Code>(\w+)</Code>")


@dataclass(frozen=True, slots=True)
class Cause:
    """An error of a client, without anything that the user named."""

    name: str
    """The error's class."""
    status: int | None = None
    """HTTP status of the answer, if there was one."""
    code: str = ""
    """S3's error code in the answer."""
    host: str = ""
    """Whom the request was for, if the error tells."""
    http_kind: str = ""
    """Of a request without an answer: `Connect`, `Timeout`, `Interrupted`, …"""
    structure: str = ""
    """The library's own names of what happened, such as `BareRedirect`."""


def read_cause(error: Exception) -> Cause:
    """Return what an error is made of."""
    name = type(error).__name__
    answer: Any = getattr(error, "response", None)  # botocore's ClientError
    if isinstance(answer, dict):
        code = str(answer.get("Error", {}).get("Code", ""))
        status = answer.get("ResponseMetadata", {}).get("HTTPStatusCode")
        return Cause(name, status, "" if code.isdigit() else code)
    # The last one: whatever an answer says, it stands in quotes there, and its line ends escaped.
    rendering = str(error).rpartition(RENDERING)[2] if RENDERING in str(error) else ""
    fields = dict(TEXT.findall(rendering))
    in_body = CODE.search(fields.get("body", ""))
    structure = TEXT.sub("", rendering)
    addresses = ADDRESS.findall(structure)
    structure = ADDRESS.sub("", structure)
    status_there, kind = STATUS.search(structure), HTTP_KIND.search(structure)
    return Cause(
        name,
        int(status_there[1]) if status_there else None,
        in_body[1] if in_body else fields.get("code", ""),
        (urlsplit(addresses[0]).hostname or "") if addresses else "",
        kind[1] if kind else "",
        structure + (" InvalidCertificate" if _is_about_certificate(error) else ""),
    )


def _is_about_certificate(error: object, depth: int = 4) -> bool:
    """Say whether Python's own TLS, on which botocore relies, refused a certificate."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return True
    if not depth or not isinstance(error, BaseException):
        return False
    behind = (*error.args, error.__context__, getattr(error, "kwargs", {}).get("error"))
    return any(_is_about_certificate(one, depth - 1) for one in behind)
