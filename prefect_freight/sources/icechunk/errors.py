"""What Icechunk's errors mean, in ours.

The texts of its storage errors are never passed on: they quote the server's answer, and an answer
to a wrong signature may quote the signed request, session token included. What is taken out of them
is the code of the answer or of the system.
"""

import os
import re

from prefect_freight.errors import (
    AccessError,
    ConfigError,
    FreightError,
    InternalError,
    NoSuchBucketError,
    NotARepositoryError,
    NotFoundError,
    TransientError,
)
from prefect_freight.stores.s3.errors import (
    CURES,
    DEFAULT_CURE,
    DENIED_CODES,
    NO_BUCKET_CODES,
    OTHER_REGION_CODES,
)

CODE = re.compile(r'unhandled error \((\w+)\)|code: "(\w+)"|<Code>(\w+)</Code>')
SYSTEM = re.compile(r"\(os error (\d+)\)")
FORBIDDEN = re.compile(r"\b40[13]\b|forbidden|permission denied", re.IGNORECASE)


def translate_error(error: Exception, url: str) -> Exception:
    """Return the error of ours for one of Icechunk's, or the error itself where there is none."""
    import icechunk

    # Behind it, Icechunk prints the spans of its own call stack.
    message = str(error).split("\n\ncontext:")[0].strip()
    match error:
        case icechunk.RepositoryNotFoundError():
            return NotARepositoryError(f"expected an Icechunk repository, found none at {url}")
        case icechunk.NotFoundError() | icechunk.IcechunkError(kind="object-not-found"):
            return NotFoundError(f"{message.partition(': Error {')[0]}, while reading {url}")
        # Its message is not used, only the codes in it: it quotes the storage's answer.
        case icechunk.StorageError():
            return _of_storage(str(error), url)
        case icechunk.FormatError():
            return NotARepositoryError(
                f"expected a readable Icechunk repository, found: {message}, at {url}"
            )
        case icechunk.InternalError():
            return InternalError(f"{message}, while reading {url}")
        case _:
            return error


def _of_storage(text: str, url: str) -> FreightError:
    code = next((c for match in CODE.finditer(text) for c in match.groups() if c), "")
    if code in NO_BUCKET_CODES:
        return NoSuchBucketError(f"no such bucket: {url}. Check endpoint_url and region")
    if code in OTHER_REGION_CODES:
        return ConfigError(f"could not read {url}: the bucket is in another region. Set region")
    if code in DENIED_CODES or (not code and FORBIDDEN.search(text)):
        reason = code or "permission denied"
        return AccessError(
            f"the store refused to show {url} ({reason}). {CURES.get(code, DEFAULT_CURE)}: see the "
            "source's configuration"
        )
    return TransientError(f"could not read {url}: {_reason(code, text)}")


def _reason(code: str, text: str) -> str:
    if code:
        return f"its storage answered {code}"
    system = SYSTEM.search(text)
    why = os.strerror(int(system[1])) if system else "no reason given"
    if "(Connect)" in text:
        return f"no answer from its storage ({why}). Is endpoint_url right?"
    return f"reading its storage failed ({why})"
