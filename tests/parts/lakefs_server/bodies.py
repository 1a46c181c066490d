"""An object's bytes, or a range of them, as the REST interface and S3 answer."""

import re

from lakefs_server.blockstore import Blockstore
from lakefs_server.messages import Answer, Request, error_answer, http_date, invalid
from lakefs_server.repository import Entry

RANGE = re.compile(r"bytes=((\d*-\d*,? ?)+)")
SPAN = re.compile(r"(\d*)-(\d*)")
INLINE = ("text/", "image/")


def span_of(header: str, size: int) -> tuple[int, int] | None:
    """Return first byte and end of a range; None if nothing is there.

    Raises `ValueError` for several ranges, or one that ends before it begins.
    """
    match = SPAN.fullmatch(header.removeprefix("bytes="))
    if match is None or not (match[1] or match[2]):
        raise ValueError(header)
    if not match[1]:
        last = min(int(match[2]), size)
        return (size - last, size) if last else None
    first = int(match[1])
    if match[2] and int(match[2]) < first:
        raise ValueError(header)
    end = min(int(match[2]) + 1, size) if match[2] else size
    return (first, end) if first < size else None


def read_object(request: Request, entry: Entry, blockstore: Blockstore) -> Answer:
    """Return an object as the REST interface does: HEAD never looks at the data."""
    is_head, span = request.method == "HEAD", request.headers.get("range")
    if span is not None and not RANGE.fullmatch(span):
        text = 'string doesn\'t match the regular expression "^bytes=((\\d*-\\d*,? ?)+)$"'
        raise invalid("header", "Range", text)
    headers = {
        "ETag": f'"{entry.checksum}"',
        "Last-Modified": http_date(entry.mtime),
        "Cache-Control": "no-store, must-revalidate",
        "X-Content-Type-Options": "nosniff",
    }
    if is_head:
        headers["Accept-Ranges"] = "bytes"
        headers["Content-Type"] = entry.content_type
    else:
        inline = entry.content_type.startswith(INLINE)
        headers["Content-Disposition"] = "inline" if inline else "attachment"
    data = None if is_head else blockstore.get(entry.address)
    if data is None and not is_head:
        return _spoilt(headers, 410, "No data")
    first, end = 0, entry.size
    if span is not None:
        try:
            found = span_of(span, entry.size)
        except ValueError:
            return _spoilt(headers, 416, "Requested Range Not Satisfiable")
        if found is None:
            if not is_head:
                headers["Content-Range"] = f"bytes */{entry.size}"
            return _spoilt(headers, 416, "Requested Range Not Satisfiable")
        first, end = found
        headers["Content-Range"] = f"bytes {first}-{end - 1}/{entry.size}"
    headers["Content-Type"] = entry.content_type
    body = bytes(end - first) if data is None else data[first:end]
    return Answer(200 if span is None else 206, headers, body)


def _spoilt(headers: dict[str, str], status: int, message: str) -> Answer:
    error = error_answer(status, message)
    error.headers |= {
        k: v for k, v in headers.items() if k != "Content-Type" or "Accept-Ranges" in headers
    }
    return error
