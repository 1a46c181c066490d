"""The lakeFS of these tests is like a real one: recorded answers, and clients that aren't ours."""

import functools
import hashlib
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from lakefs_server.blockstore import BucketBlockstore
from lakefs_server.faults import Fault
from lakefs_server.recording import load
from lakefs_server.replay import replay
from lakefs_server.repository import Repository
from lakefs_server.server import Lake
from servers import S3Server

from prefect_freight.stores.urls import open_store

API = "/api/v1/repositories/ocean"


@pytest.fixture
def ocean(lake: Lake) -> Repository:
    repository = lake.create_repository("ocean")
    repository.put("a.txt", b"first\n", content_type="text/plain", metadata={"owner": "lab"})
    repository.put("d/x.bin", bytes(range(100)))
    repository.commit("first")
    return repository


@pytest.fixture
def rest(lake: Lake, ocean: Repository) -> Iterator[httpx.Client]:
    auth = (lake.access_key_id, lake.secret_access_key)
    with httpx.Client(base_url=lake.endpoint_url + API, auth=auth) as client:
        yield client


@functools.cache
def session() -> Any:
    from botocore.session import get_session

    return get_session()  # whose first client takes half a second


def gateway(lake: Lake, **changes: str) -> Any:
    from botocore.config import Config

    keys = {
        "aws_access_key_id": lake.access_key_id,
        "aws_secret_access_key": lake.secret_access_key,
    }
    config = Config(retries={"total_max_attempts": 1}, s3={"addressing_style": "path"})
    return session().create_client(
        "s3", "us-east-1", endpoint_url=lake.endpoint_url, config=config, **keys | changes
    )


def refusal(call: Any, **arguments: str) -> tuple[int, str]:
    from botocore.exceptions import ClientError

    with pytest.raises(ClientError) as caught:
        call(Bucket="ocean", **arguments)
    response = caught.value.response
    return response["ResponseMetadata"]["HTTPStatusCode"], response["Error"]["Code"]


@pytest.mark.parametrize("kind", ["local", "s3"])
def test_it_gives_every_recorded_answer(kind: str) -> None:
    with Lake(kind) as lake:
        load(lake, kind)
        others = "^(?!.*gone)"
        assert not [*replay(kind, lake.endpoint_url, lake.secret_access_key, others)]


def test_it_gives_the_answers_of_one_whose_data_is_gone() -> None:
    with Lake("local") as lake:
        load(lake, "local").lose("binary.bin", "v2")
        assert not [*replay("local", lake.endpoint_url, lake.secret_access_key, "gone")]


def test_a_commit_has_an_id_of_its_content_and_a_plain_branch_shows_what_is_staged(
    ocean: Repository, rest: httpx.Client
) -> None:
    first = ocean.branches["main"]
    ocean.put("staged", b"no")
    assert rest.get("/commits/main").json()["id"] == first
    keys = [
        [one["path"] for one in rest.get(f"/refs/{ref}/objects/ls").json()["results"]]
        for ref in ("main", first, "main@")
    ]
    assert keys == [["a.txt", "d/x.bin", "staged"], ["a.txt", "d/x.bin"], ["a.txt", "d/x.bin"]]
    second = ocean.commit("second")
    assert len(second) == 64
    found = rest.get(f"/refs/{first}/diff/{second}?type=two_dot").json()["results"]
    assert [(one["type"], one["path"]) for one in found] == [("added", "staged")]


def test_the_gateway_reads_and_lists_at_any_ref(lake: Lake, ocean: Repository) -> None:
    s3, commit = gateway(lake), ocean.branches["main"]
    ocean.create_tag("v1")
    for ref in ("main", "v1", commit, commit[:12], "main@"):
        got = s3.get_object(Bucket="ocean", Key=f"{ref}/d/x.bin", Range="bytes=3-5")
        assert got["Body"].read() == bytes([3, 4, 5])
    head = s3.head_object(Bucket="ocean", Key=f"{commit}/a.txt")
    md5 = hashlib.md5(b"first\n").hexdigest()
    assert (head["ETag"], head["ContentLength"]) == (f'"{md5}"', 6)
    listed = s3.list_objects_v2(Bucket="ocean", Prefix=f"{commit}/", MaxKeys=1)
    token = listed["NextContinuationToken"]
    rest = s3.list_objects_v2(Bucket="ocean", Prefix=f"{commit}/", ContinuationToken=token)
    keys = [one["Key"].partition("/")[2] for one in listed["Contents"] + rest["Contents"]]
    assert (keys, rest["IsTruncated"]) == (["a.txt", "d/x.bin"], False)


def test_the_gateway_refuses_as_s3_does(lake: Lake, ocean: Repository) -> None:
    s3, commit = gateway(lake), ocean.branches["main"]
    assert refusal(s3.get_object, Key=f"{commit}/nothing") == (404, "NoSuchKey")
    assert refusal(s3.get_object, Key="nowhere/a.txt") == (404, "NoSuchKey")
    ocean.lose("a.txt")
    assert s3.head_object(Bucket="ocean", Key=f"{commit}/a.txt")["ContentLength"] == 6
    assert refusal(s3.get_object, Key=f"{commit}/a.txt") == (404, "NoSuchVersion")
    wrong = gateway(lake, aws_secret_access_key="wrong")
    assert refusal(wrong.get_object, Key=f"{commit}/d/x.bin") == (403, "SignatureDoesNotMatch")
    unknown = gateway(lake, aws_access_key_id="NOBODY")
    assert refusal(unknown.get_object, Key=f"{commit}/d/x.bin") == (403, "InvalidAccessKeyId")


def test_a_presigned_url_is_for_one_get_and_without_other_credentials(
    lake: Lake, ocean: Repository, rest: httpx.Client
) -> None:
    answer = rest.get("/refs/main/objects?path=a.txt&presign=true")
    url = answer.headers["location"]
    assert answer.status_code == 302
    assert httpx.get(url).content == b"first\n"
    assert httpx.get(url, headers={"Range": "bytes=1-2"}).content == b"ir"
    assert httpx.head(url).status_code == 403
    assert httpx.get(url + "0").status_code == 403
    assert httpx.get(url, headers=answer.request.headers).status_code == 400
    lake.presigned.lasts_s = -1
    expired = rest.get("/refs/main/objects?path=a.txt&presign=true").headers["location"]
    assert "expired" in httpx.get(expired).text


def test_faults_meet_the_requests_that_they_are_for(
    lake: Lake, ocean: Repository, rest: httpx.Client
) -> None:
    path = "/refs/main/objects?path=d/x.bin"
    lake.break_with(
        Fault(status=503, target="objects/ls", times=2), Fault(cut=True, target="x.bin")
    )
    assert [rest.get("/refs/main/objects/ls").status_code for _ in range(3)] == [503, 503, 200]
    with pytest.raises(httpx.RemoteProtocolError):
        rest.get(path)
    lake.break_with(Fault(status=410, target="x.bin"), Fault(pause_s=0.2))
    assert rest.get(path).json() == {"message": "No data"}
    began = time.monotonic()
    assert rest.get("/refs/main/objects?path=a.txt").content == b"first\n"
    assert time.monotonic() - began > 0.2
    lake.break_with(Fault(meanwhile=lambda: ocean.commit("meanwhile"), first=2, times=1))
    heads = [rest.get("/commits/main").json()["message"] for _ in range(3)]
    assert heads == ["first", "meanwhile", "meanwhile"]


def test_our_own_stores_read_the_gateway_and_the_bucket_below(s3: S3Server) -> None:
    with Lake(blockstore=BucketBlockstore(s3)) as lake:
        ocean = lake.create_repository("ocean")
        entry = ocean.put("d e/a+b%.txt", b"here")
        commit = ocean.commit()
        bucket, _, key = entry.address.removeprefix("s3://").partition("/")
        below = open_store(f"s3://{bucket}", s3.config())
        above = open_store(f"s3://ocean/{commit}", lake.config())
        for store, name in ((below, key), (above, "d e/a+b%.txt")):
            assert store.read(name) == b"here"
            assert store.read(name, 1, 2) == b"er"
            assert store.read_tagged(name)[1] == f'"{entry.checksum}"'
        assert [page["key"].to_pylist() for page in above.list()] == [["d e/a+b%.txt"]]


@pytest.mark.slow
def test_a_hundred_thousand_objects_are_listed_in_seconds(
    lake: Lake, ocean: Repository, rest: httpx.Client
) -> None:
    for number in range(100_000):
        ocean.put(f"many/{number:06d}", b"x")
    commit, after, count, began = ocean.commit(), "many/089999", 0, time.monotonic()
    while True:
        parameters = {"prefix": "many/", "after": after, "amount": 1000}
        page = rest.get(f"/refs/{commit}/objects/ls", params=parameters).json()
        count += len(page["results"])
        if not page["pagination"]["has_more"]:
            break
        after = page["pagination"]["next_offset"]
    assert count == 10_000
    assert time.monotonic() - began < 5  # on a busy machine
    changed = rest.get(f"/refs/main~1/diff/{commit}", params={"type": "two_dot"}).json()
    assert changed["pagination"]["has_more"]


def test_lakefs_own_python_package_reads_it(lake: Lake, ocean: Repository) -> None:
    lakefs = pytest.importorskip("lakefs")
    client = lakefs.client.Client(
        host=lake.endpoint_url, username=lake.access_key_id, password=lake.secret_access_key
    )
    head = lakefs.Repository("ocean", client=client).branch("main").get_commit()
    ref = lakefs.Reference("ocean", head.id, client=client)
    assert [one.path for one in ref.objects()] == ["a.txt", "d/x.bin"]
    for pre_sign in (True, False):
        with ref.object("d/x.bin").reader(mode="rb", pre_sign=pre_sign) as reader:
            assert reader.read(4) + reader.read() == bytes(range(100))
    ocean.put("b", b"")
    later = ocean.commit()
    assert [(one.type, one.path) for one in ref.diff(later)] == [("added", "b")]
    assert ref.object("a.txt").stat().metadata == {"owner": "lab"}


def test_lakefs_spec_reads_it(lake: Lake, ocean: Repository) -> None:
    lakefs_spec = pytest.importorskip("lakefs_spec")
    files = lakefs_spec.LakeFSFileSystem(
        host=lake.endpoint_url, username=lake.access_key_id, password=lake.secret_access_key
    )
    assert files.cat("lakefs://ocean/main/d/x.bin") == bytes(range(100))
    assert files.find("lakefs://ocean/main/") == ["ocean/main/a.txt", "ocean/main/d/x.bin"]


def test_a_signature_of_another_hour_is_refused(lake: Lake, ocean: Repository) -> None:
    from botocore.auth import S3SigV4Auth
    from botocore.awsrequest import AWSRequest
    from botocore.credentials import Credentials

    url = f"{lake.endpoint_url}/ocean/main/a.txt"
    request = AWSRequest("GET", url)
    keys = Credentials(lake.access_key_id, lake.secret_access_key)
    S3SigV4Auth(keys, "s3", "us-east-1").add_auth(request)
    headers = dict(request.headers)
    assert httpx.get(url, headers=headers).content == b"first\n"
    old = (datetime.now(UTC) - timedelta(hours=1)).strftime("%Y%m%dT%H%M%SZ")
    refused = httpx.get(url, headers=headers | {"X-Amz-Date": old})
    assert (refused.status_code, "RequestTimeTooSkewed" in refused.text) == (403, True)
