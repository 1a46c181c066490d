"""Credentials in paths and URLs: found wherever they stand, and refused.

A place is written into manifests, reports, logs, names and messages, and Prefect keeps it as a
parameter: so no part of it may be a secret, and no error of this module quotes it. A URL of fsspec
may be a chain (`simplecache::ftp://…`), and hold another URL in its path or its query; each of them
is looked at, spelled plainly or with percent signs.
"""

import re
from collections.abc import Iterator
from urllib.parse import unquote

from prefect_freight.config import MASK
from prefect_freight.errors import ConfigError

ADDRESS = re.compile(r"(?=(?<![A-Za-z0-9+.-])([A-Za-z][A-Za-z0-9+.-]*)://(.*))", re.DOTALL)
"""Every URL in a text, each up to the text's end: one may begin within another."""
LINK_END = re.compile(r"::(?![^\[]*\])")
"""Between the links of a chain; not within the brackets of an IPv6 address."""
NO_USER = {"s3", "s3a", "s3n", "gs", "gcs"}
"""What stands before an `@` is a key there. Elsewhere it may be a name: sftp://user@host."""
WITHOUT_SLASHES = re.compile(r"(^|::)([A-Za-z][\w+.-]*:)?/{0,3}[^/@:\s]+:[^/@\s]+@[^/\s]")
"""What was to be a URL: `user:password@host/path`, `//user:password@host`, `ftp:///…`."""
SECRET_FIELD = re.compile(
    r"[?&;#]\s*[\w.-]*(pass(word|wd|phrase)?|pwd|secret|token|sig|signature|api_?key|access_?key"
    r"|account_?key|private_?key|credentials?|auth)[\w.-]*=",
    re.IGNORECASE,
)

PLACE_PATTERN = r"^(?!.*:/*[^/@]*:[^/@]+@)(?![^/:@]+:[^/@]+@)(?!.*\b(s3|s3a|s3n|gs|gcs)://[^/]*@)(?!.*://.*[?#])"
"""Matches no place with credentials where they mostly stand: for schemas, which Prefect's server
checks before it stores anything. (ECMA 262 and Python.)"""


def refuse_credentials(place: str) -> None:
    """Return if a path or URL holds no credentials; raises `ConfigError`, which doesn't quote it.

    >>> refuse_credentials("icechunk+s3://bucket/weather")
    >>> refuse_credentials("simplecache::ftp://me:hush@host/weather")
    Traceback (most recent call last):
    prefect_freight.errors.ConfigError: expected a path or URL without credentials, found one ...
    """
    danger = next(_dangers(place), "")
    if danger:
        raise ConfigError(
            f"expected a path or URL without credentials, found one with {danger}. Put them into "
            "the configuration file or a block"
        )


def without_credentials(place: str) -> str:
    """Return a path or URL as it may be shown: hidden, if it holds credentials."""
    return MASK if next(_dangers(place), "") else place


def _dangers(place: str) -> Iterator[str]:
    decoded = _decoded(place)
    for scheme, rest in ADDRESS.findall(place):
        link = LINK_END.split(rest)[0]
        yield from _dangers_of_host(scheme, link)
        if "?" in link or "#" in link:
            yield "a query or a fragment, which may hold some"
    # A `?` that was spelled %3F belongs to a name, but in a URL within another; a password is one
    # however it is spelled.
    for match in ADDRESS.finditer(decoded):
        link = LINK_END.split(match[2])[0]
        yield from _dangers_of_host(match[1], link)
        is_nested = not decoded[: match.start()].endswith(("::", "+")) and match.start() > 0
        if is_nested and ("?" in link or "#" in link):
            yield "another URL in it, with a query or a fragment"
    if "://" in place and SECRET_FIELD.search(decoded):
        yield "credentials"
    is_path = place.startswith((".", "~", "/")) and not place.startswith("//")
    if not is_path and WITHOUT_SLASHES.search(place):
        yield "what looks like credentials (write a path of this form as ./…)"


def _decoded(place: str) -> str:
    """Return a place without percent signs that spell something, however often they do."""
    while (plain := unquote(place)) != place:
        place = plain
    return place


def _dangers_of_host(scheme: str, link: str) -> Iterator[str]:
    authority = unquote(re.split(r"[/?#\\]", link, maxsplit=1)[0])
    user, at, host = authority.rpartition("@")
    # `icechunk+s3` is s3.
    if at and (":" in user or ";" in user or scheme.lower().rpartition("+")[2] in NO_USER):
        yield "credentials"
    # A password with a slash in it ends the host's name there, and stands where a port does.
    _, colon, port = host.rpartition("]")[2].rpartition(":")
    if colon and port and not port.isdigit():
        yield "something behind its host that is no port, and may be a password"
