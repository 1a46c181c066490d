"""Listing a bucket by botocore, for keys that obstore cannot express.

obstore's listing raises at a key with an empty segment or a control character, whoever put it
there, and somebody else's object must not keep ours from being verified.
"""

from collections.abc import Iterator
from typing import Any

from prefect_freight.config import StoreConfig
from prefect_freight.stores.s3.client import IDLE_S, open_botocore
from prefect_freight.threads import aside


def list_pages(
    config: StoreConfig, bucket: str, *, prefix: str, after: str
) -> Iterator[list[dict[str, Any]]]:
    """Yield up to 1,000 objects at a time as S3 lists them, those whose key comes after `after`.

    A page that failed can be asked for again with the same iterator.
    """
    return _Pages(open_botocore(config), bucket, prefix, after)


class _Pages(Iterator[list[dict[str, Any]]]):
    # A class, since a generator is at its end after the first error, and its caller would take the
    # rest of the bucket for empty.
    def __init__(self, client: Any, bucket: str, prefix: str, after: str) -> None:
        self._client, self._done = client, False
        self._request = {"Bucket": bucket, "Prefix": prefix, "StartAfter": after}

    def __next__(self) -> list[dict[str, Any]]:
        while not self._done:
            # botocore has no limit for all of a request, only for each pause in its answer.
            answer = aside(lambda: self._client.list_objects_v2(**self._request), 2 * IDLE_S)
            # Only now that it has answered: a request that failed leaves all as it was.
            self._done = not answer.get("IsTruncated")
            self._request["ContinuationToken"] = answer.get("NextContinuationToken", "")
            objects: list[dict[str, Any]] = answer.get("Contents", [])
            if objects:
                return objects
        raise StopIteration
