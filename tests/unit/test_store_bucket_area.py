"""The file area in a bucket: what the store acknowledged is there, and what it says otherwise becomes a sentence."""

from __future__ import annotations

import base64
import hashlib
import os
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.object_stores import BUCKET, ObjectStore, complaining_store, object_store, reached_at
from tests.services import free_port
from triage.domain.errors import ConfigurationError, NotFound, OutOfSpace, StoreUnavailable
from triage.entrypoints.app import open_file_area
from triage.store.bucket_area import BucketArea
from triage.store.bucket_url import BucketUrl
from triage.store.folder_area import FolderArea

LATER = datetime.now(UTC) + timedelta(days=1)
EARLIER = datetime.now(UTC) - timedelta(days=1)
NOBODYS = f"ab/{'0' * 32}.dcm"


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> Iterator[ObjectStore]:
    with object_store(monkeypatch) as made:
        yield made


@pytest.fixture
def area(store: ObjectStore) -> BucketArea:
    return _area()


def _area(prefix: str = "site-1/") -> BucketArea:
    return BucketArea(BucketUrl(BUCKET, prefix))


def test_objects_lie_under_the_prefix_and_people_are_told_where(area: BucketArea, store: ObjectStore) -> None:
    key = area.put(b"x")
    assert store.names() == [f"site-1/{key}"]
    assert area.where(key) == f"s3://{BUCKET}/site-1/{key}"
    assert _area("").where(key) == f"s3://{BUCKET}/{key}"
    assert not _area("").holds(key)
    assert area.free_bytes() is None


def test_an_orphan_is_moved_aside_and_stays(area: BucketArea, store: ObjectStore) -> None:
    key = area.put(b"written, never committed")
    area.set_aside(key)
    area.set_aside(key)  # another clock was faster
    assert store.names() == [f"site-1/orphans/{key}"]
    kept = store.client.get_object(Bucket=BUCKET, Key=f"site-1/orphans/{key}")
    assert kept["Body"].read() == b"written, never committed"


def test_the_sweep_sees_our_files_only_however_many_pages_they_fill(
    area: BucketArea, store: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("triage.store.bucket_area._PAGE", 3)
    keys = {area.put(b"x") for _ in range(10)}
    area.set_aside(area.put(b"orphan"))
    _area("site-2/").put(b"of another site")
    for name in ("site-1/ab/notes.txt", "site-1/bundles/ab/bundle.json"):
        store.client.put_object(Bucket=BUCKET, Key=name, Body=b"not ours")
    assert set(area.keys_older_than(LATER)) == keys
    assert list(area.keys_older_than(EARLIER)) == []


def _folder(path: Path, **files: str) -> Path:
    for name, content in files.items():
        file = path / name.replace("__", "/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(content)
    return path


def _content(path: Path) -> dict[str, str]:
    return {file.relative_to(path).as_posix(): file.read_text() for file in path.rglob("*") if file.is_file()}


def test_a_folder_is_kept_for_other_machines(area: BucketArea, tmp_path: Path) -> None:
    source = _folder(tmp_path / "source", card="what it is", nets__munet="weights")
    assert not list(area.folder("bundles/d1").glob("*"))
    assert area.keep_folder("bundles/d1", source, lambda copy: _content(copy) == _content(source))
    other_machine = _area()
    assert _content(other_machine.folder("bundles/d1")) == {"card": "what it is", "nets/munet": "weights"}
    assert list(area.keys_older_than(LATER)) == []


def test_names_that_lead_elsewhere_are_not_written(area: BucketArea, store: ObjectStore, tmp_path: Path) -> None:
    area.keep_folder("bundles/d1", _folder(tmp_path / "source", card="x"), lambda _: True)
    for name in ("../../../../escaped", "a/../../escaped", "nets/"):
        store.client.put_object(Bucket=BUCKET, Key=f"site-1/bundles/d1/{name}", Body=b"")
    other_machine = _area()
    place = other_machine.folder("bundles/d1")
    assert _content(place) == {"card": "x"}
    assert not list(place.parent.parent.rglob("escaped"))


def test_a_damaged_folder_is_replaced_and_what_is_not_whole_is_said(
    area: BucketArea, store: ObjectStore, tmp_path: Path
) -> None:
    assert area.keep_folder("bundles/d1", _folder(tmp_path / "old", card="x", left_over="y"), lambda _: True)
    other_machine = _area()
    assert _content(other_machine.folder("bundles/d1")) == {"card": "x", "left_over": "y"}
    source = _folder(tmp_path / "new", card="z")
    assert area.keep_folder("bundles/d1", source, lambda copy: _content(copy) == {"card": "z"})
    assert _content(other_machine.folder("bundles/d1")) == {"card": "z"}
    assert not area.keep_folder("bundles/d1", source, lambda _: False)
    assert store.names("site-1/bundles/") == []


def test_a_folder_that_finds_no_room_here_is_a_sentence(
    area: BucketArea, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    area.keep_folder("bundles/d1", _folder(tmp_path / "source", card="x"), lambda _: True)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "none"))
    with pytest.raises(StoreUnavailable, match=f"s3://{BUCKET}/site-1/bundles/d1 cannot be copied"):
        _area().folder("bundles/d1")


def _acts(area: BucketArea) -> list[Callable[[], object]]:
    return [
        lambda: area.put(b"x"),
        lambda: area.read(NOBODYS),
        lambda: area.holds(NOBODYS),
        lambda: area.remove(NOBODYS),
        lambda: area.set_aside(NOBODYS),
        lambda: list(area.keys_older_than(LATER)),
        lambda: area.folder("bundles/d1"),
    ]


@pytest.mark.parametrize("number", range(7))
def test_a_bucket_that_is_not_there_is_no_missing_file(store: ObjectStore, number: int) -> None:
    act = _acts(BucketArea(BucketUrl("elsewhere", "")))[number]
    with pytest.raises(StoreUnavailable, match="elsewhere answers NoSuchBucket"):
        act()


@pytest.mark.parametrize("number", range(7))
def test_a_store_that_is_away_is_a_sentence(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    reached_at(monkeypatch, free_port())
    act = _acts(_area())[number]
    with pytest.raises(StoreUnavailable, match="Could not connect to the endpoint"):
        act()


def test_without_credentials_nothing_is_kept(monkeypatch: pytest.MonkeyPatch, store: ObjectStore) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    with pytest.raises(StoreUnavailable, match="Unable to locate credentials"):
        _area().put(b"x")


def test_what_the_guide_writes_is_found(monkeypatch: pytest.MonkeyPatch, store: ObjectStore, tmp_path: Path) -> None:
    guide = Path("docs/operator.md").read_text().split("### A file area in a bucket")[1].split("```")[1]
    endpoint = os.environ["AWS_ENDPOINT_URL"]
    said = guide.removeprefix("text\n").replace("https://s3.example.org", endpoint)
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    with pytest.raises(StoreUnavailable):
        _area().put(b"x")
    (tmp_path / ".aws").mkdir()
    (tmp_path / ".aws" / "config").write_text(said)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert _area().read(_area().put(b"x")) == b"x"


@pytest.mark.parametrize("code", ["QuotaExceeded", "XMinioStorageFull"])
def test_a_full_bucket_is_out_of_space(monkeypatch: pytest.MonkeyPatch, code: str) -> None:
    with (
        complaining_store(monkeypatch, 403, code),
        pytest.raises(OutOfSpace, match=f"bucket {BUCKET} of the file area is full"),
    ):
        _area().put(b"x")


def test_the_store_can_check_what_it_was_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    with (
        complaining_store(monkeypatch, 400, "BadDigest") as complaint,
        pytest.raises(StoreUnavailable, match="BadDigest"),
    ):
        _area().put(b"the bytes")
    (_, headers), *_ = complaint.asked
    expected = base64.b64encode(hashlib.md5(b"the bytes", usedforsecurity=False).digest()).decode()
    assert {name.lower(): value for name, value in headers.items()}["content-md5"] == expected


def test_one_object_that_cannot_be_read_is_not_the_whole_bucket(monkeypatch: pytest.MonkeyPatch) -> None:
    with (
        complaining_store(monkeypatch, 403, "InvalidObjectState"),
        pytest.raises(NotFound, match=f"{NOBODYS} cannot be read: the bucket answers InvalidObjectState; put it right"),
    ):
        _area().read(NOBODYS)


def test_a_busy_store_is_asked_twice_and_then_away(monkeypatch: pytest.MonkeyPatch) -> None:
    with (
        complaining_store(monkeypatch, 503, "SlowDown") as complaint,
        pytest.raises(StoreUnavailable, match="SlowDown"),
    ):
        _area().read(NOBODYS)
    assert [method for method, _ in complaint.asked] == ["GET", "GET"]


@pytest.mark.parametrize(
    ("text", "bucket", "prefix"),
    [
        ("s3://heads", "heads", ""),
        ("s3://heads/", "heads", ""),
        ("s3://heads.of-1/ich/triage", "heads.of-1", "ich/triage/"),
        ("s3://heads/ich/", "heads", "ich/"),
    ],
)
def test_urls(text: str, bucket: str, prefix: str) -> None:
    assert BucketUrl.parse(text) == BucketUrl(bucket, prefix)


@pytest.mark.parametrize(
    "text",
    ["gs://heads", "s3://", "s3://H", "s3:///x", "s3://us:secret@heads", "s3://heads/../x", "s3://heads/a//b", "heads"],
)
def test_what_is_no_url_of_a_bucket(text: str) -> None:
    with pytest.raises(ValueError, match="s3://BUCKET/PREFIX; all else is a folder"):
        BucketUrl.parse(text)


def test_the_setting_chooses(tmp_path: Path, store: ObjectStore) -> None:
    assert isinstance(open_file_area(tmp_path), FolderArea)
    area = open_file_area(f"s3://{BUCKET}/x")
    assert area.where(NOBODYS) == f"s3://{BUCKET}/x/{NOBODYS}"


def test_what_a_bucket_needs_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "triage.store.bucket_area")
    monkeypatch.setitem(sys.modules, "boto3", None)
    with pytest.raises(ConfigurationError, match="boto3 is not installed: install ich-triage with its extra s3"):
        open_file_area("s3://heads")


def test_an_environment_that_cannot_work_is_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "no url")
    with pytest.raises(ConfigurationError, match=r"The bucket of storage\.root cannot be used: Invalid endpoint"):
        open_file_area("s3://heads")
