"""The S3 gateway: a bucket is a repository, and a key begins with a ref."""

from collections.abc import Mapping
from urllib.parse import quote, unquote
from xml.sax.saxutils import escape

from lakefs_server.messages import MAX_AMOUNT, Answer, Request, http_date
from lakefs_server.pages import page_of
from lakefs_server.refs import BadRefError, NoSuchRefError
from lakefs_server.repository import Repository, Tree
from lakefs_server.s3 import XML, s3_error, s3_object
from lakefs_server.signing import SignatureRefusedError, verify

NAMESPACE = "http://s3.amazonaws.com/doc/2006-03-01/"


class Gateway:
    """Answers of the gateway: HEAD, GET, and lists of objects."""

    def __init__(self, repositories: Mapping[str, Repository], keys: Mapping[str, str]) -> None:
        self._repositories, self._keys = repositories, keys

    def answer(self, request: Request) -> Answer:
        """Return the answer to a request."""
        try:
            verify(request, self._keys)
        except SignatureRefusedError as refused:
            return s3_error(refused.code, str(refused))
        bucket, _, key = unquote(request.path[1:]).partition("/")
        if bucket not in self._repositories:
            return s3_error("NoSuchBucket")
        if request.method not in ("GET", "HEAD"):
            return s3_error("MethodNotAllowed")
        repository = self._repositories[bucket]
        try:
            if key:
                return _object(request, repository, *key.partition("/")[::2])
            return Answer(200) if request.method == "HEAD" else _list(request, repository, bucket)
        except (NoSuchRefError, BadRefError):
            return s3_error("NoSuchKey")


def _object(request: Request, repository: Repository, ref: str, key: str) -> Answer:
    entry = repository.tree(ref).entries.get(key)
    if entry is None:
        return s3_error("NoSuchKey")
    headers = {
        "ETag": f'"{entry.checksum}"',
        "Last-Modified": http_date(entry.mtime),
        "Content-Type": entry.content_type,
    }
    if request.method == "HEAD":
        return s3_object(request, headers, bytes(entry.size))
    data = repository.blockstore.get(entry.address)
    return s3_error("NoSuchVersion") if data is None else s3_object(request, headers, data)


def _list(request: Request, repository: Repository, bucket: str) -> Answer:
    fields = request.parameters
    prefix, delimiter = fields.get("prefix", ""), fields.get("delimiter", "")
    amount = min(int(fields.get("max-keys", MAX_AMOUNT)), MAX_AMOUNT)
    second = fields.get("list-type") == "2"
    token = fields.get("continuation-token", "")
    after = token or fields.get("start-after" if second else "marker", "")
    ref, slash, below = prefix.partition("/")
    tree = Tree({})
    if slash:
        tree, root = repository.tree(ref), f"{ref}/"
        names, more = page_of(tree.keys, below, _below(after, root), amount, delimiter)
    else:
        root, branches = "", sorted(f"{name}/" for name in repository.branches)
        names, more = page_of(branches, prefix, after, amount, "/")
    encode = quote if fields.get("encoding-type") == "url" else escape
    rows = [
        f"<CommonPrefixes><Prefix>{encode(root + name)}</Prefix></CommonPrefixes>"
        if is_prefix
        else _contents(encode(root + name), tree, name)
        for name, is_prefix in names
    ]
    last = encode(root + names[-1][0]) if names else ""
    following = "NextContinuationToken" if second else "NextMarker"
    parts = {
        "Name": bucket,
        "Prefix": encode(prefix),
        "Delimiter": encode(delimiter),
        "MaxKeys": str(amount),
        "KeyCount": str(len(names)),
        "IsTruncated": "true" if more else "false",
        **({following: last} if more else {}),
        **({"EncodingType": "url"} if encode is quote else {}),
    }
    head = "".join(f"<{name}>{text}</{name}>" for name, text in parts.items())
    body = f'<ListBucketResult xmlns="{NAMESPACE}">{head}{"".join(rows)}</ListBucketResult>'
    return Answer(200, dict(XML), f'<?xml version="1.0" encoding="UTF-8"?>\n{body}'.encode())


def _below(after: str, root: str) -> str:
    """Return the key below a ref that a listing goes on behind."""
    if after.startswith(root):
        return after.removeprefix(root)
    return "" if after < root else "\U0010ffff"


def _contents(name: str, tree: Tree, key: str) -> str:
    from datetime import UTC, datetime

    entry = tree.entries[key]
    moment = datetime.fromtimestamp(entry.mtime, UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z")
    return (
        f"<Contents><Key>{name}</Key><LastModified>{moment}</LastModified>"
        f"<ETag>&quot;{entry.checksum}&quot;</ETag><Size>{entry.size}</Size>"
        "<StorageClass>STANDARD</StorageClass></Contents>"
    )
