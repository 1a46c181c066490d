"""The blockstore's own door: what presigned URLs lead to, on a port of its own."""

import secrets
import time
from urllib.parse import quote, unquote

from lakefs_server.blockstore import Blockstore
from lakefs_server.messages import Answer, Request
from lakefs_server.s3 import s3_error, s3_object
from lakefs_server.signing import SignatureRefusedError, presign, verify

LASTS_S = 900


class Presigned:
    """Makes presigned URLs, and answers them."""

    def __init__(self, blockstore: Blockstore) -> None:
        self._blockstore, self.lasts_s = blockstore, LASTS_S
        self.host = ""
        """Host and port, when the server listens."""
        self.tags: dict[str, str] = {}
        """Entity tags by address: of an encrypted bucket, say, that are no MD5."""
        self.key, self.secret = "BLOCKSTOREKEY", secrets.token_urlsafe(24)

    def url(self, address: str, name: str) -> tuple[str, int]:
        """Return the URL of an object's bytes, and the time when it expires."""
        path = "/" + address.removeprefix("s3://")
        disposition = f"attachment; filename={quote(name)}"
        extra = {"response-content-disposition": disposition, "x-id": "GetObject"}
        credentials = (self.key, self.secret)
        url = presign("GET", (self.host, path), extra, credentials, self.lasts_s)
        return url, int(time.time()) + self.lasts_s

    def answer(self, request: Request) -> Answer:
        """Return the bytes: for the method that was signed, and without other credentials."""
        try:
            verify(request, {self.key: self.secret})
        except SignatureRefusedError as refused:
            return s3_error(refused.code, str(refused))
        address = "s3://" + unquote(request.path[1:])
        data = self._blockstore.get(address)
        if data is None:
            return s3_error("NoSuchKey")
        disposition = request.parameters.get("response-content-disposition", "")
        tag = {"ETag": f'"{self.tags[address]}"'} if address in self.tags else {}
        return s3_object(request, {"Content-Disposition": disposition} | tag, data)
