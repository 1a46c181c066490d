"""What Icechunk's errors mean, in ours.

The texts of its storage errors are never passed on: they quote the server's answer, and an answer
to a wrong signature may quote the signed request, session token included. What is taken out of them
is the code of the answer or of the system, from where Icechunk and the client write it: never from
what stands in quotes, in a path or in the call stack behind it, where names are that the user gave.
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
from prefect_freight.stores.local import DENIED_ERRNOS
from prefect_freight.stores.s3.errors import (
    CURES,
    DEFAULT_CURE,
    DENIED_CODES,
    NO_BUCKET_CODES,
    OTHER_REGION_CODES,
)

CODE = re.compile(r"unhandled error \((\w+)\)|code: \((\w+)\)")
CODE_FIELD, TEXT = re.compile(r'code: "(\w+)"'), re.compile(r'"(?:[^"\\]|\\.)*"')
SYSTEM = re.compile(r"\(os error (\d+)\)$")
FORBIDDEN = re.compile(r"\b40[13]\b|forbidden", re.IGNORECASE)


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
        # It quotes the storage's answer: only the codes in it are used.
        case icechunk.StorageError():
            return _of_storage(message, url)
        case icechunk.FormatError():
            return NotARepositoryError(
                f"expected a readable Icechunk repository, found: {message}, at {url}"
            )
        case icechunk.InternalError():
            return InternalError(f"{message}, while reading {url}")
        case _:
            return error


def _of_storage(message: str, url: str) -> FreightError:
    if url.startswith("icechunk+file:"):
        return _of_disk(message, url)
    # All that is left in quotes is the server's or the user's text.
    spoken = TEXT.sub("", CODE_FIELD.sub(r"code: (\1)", message))
    code = next((c for match in CODE.finditer(spoken) for c in match.groups() if c), "")
    if code in NO_BUCKET_CODES:
        return NoSuchBucketError(f"no such bucket: {url}. Check endpoint_url and region")
    if code in OTHER_REGION_CODES:
        return ConfigError(f"could not read {url}: the bucket is in another region. Set region")
    if code in DENIED_CODES or (not code and FORBIDDEN.search(spoken)):
        reason = code or "permission denied"
        return AccessError(
            f"the store refused to show {url} ({reason}). {CURES.get(code, DEFAULT_CURE)}: see the "
            "source's configuration"
        )
    return TransientError(f"could not read {url}: {_reason(code, spoken)}")


def _of_disk(message: str, url: str) -> FreightError:
    # The message has the file's path in the middle, which may be called anything.
    number, why = _of_system(message)
    if number in DENIED_ERRNOS:
        return AccessError(f"could not read {url}: {why}. Check who may read the folder")
    return TransientError(f"could not read {url}: reading its storage failed ({why})")


def _reason(code: str, spoken: str) -> str:
    if code:
        return f"its storage answered {code}"
    _, why = _of_system(spoken)
    if "client error (Connect)" in spoken:
        return f"no answer from its storage ({why}). Is endpoint_url right?"
    return f"reading its storage failed ({why})"


def _of_system(message: str) -> tuple[int, str]:
    """Return the number of the system's error that a message ends with, and what it means."""
    system = SYSTEM.search(message)
    number = int(system[1]) if system else 0
    return number, os.strerror(number) if number else "no reason given"
