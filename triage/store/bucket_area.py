"""The file area as a bucket: any object store that speaks S3, whose answer to a PUT means that it keeps the object.

Where the store is and who we are (``AWS_ENDPOINT_URL``, ``AWS_REGION``, keys, profiles, roles of a machine, certificate
authorities) boto3 finds as every other program of a site does: no secret of it stands in our settings.
"""

from __future__ import annotations

import base64
import hashlib
import shutil
import tempfile
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from triage.domain.errors import ConfigurationError, NotFound, OutOfSpace, StoreUnavailable
from triage.store.bucket_url import BucketUrl
from triage.store.file_area import ASIDE, KEY, FileArea, known_key, new_key

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client
    from mypy_boto3_s3.type_defs import CopySourceTypeDef

_CONNECT_SECONDS, _ANSWER_SECONDS, _ATTEMPTS = 3, 12, 2
"""A PACS waits half a minute or so for the answer to a C-STORE; by then it has to be told that there is none."""

_CONNECTIONS = 50
"""At the same time: a thread for each association, and those of workers and senders."""

_PAGE = 1000
"""Objects in one list; no store gives more."""

_FULL = frozenset({"QuotaExceeded", "XMinioStorageFull", "XMinioAdminBucketQuotaExceeded", "InsufficientStorage"})
"""What object stores that have an end call having no room left."""

_GONE = "NoSuchKey"


class BucketArea(FileArea):
    """A bucket that is there already, in which we may list, get, put and delete.

    Raises
    ------
    ConfigurationError
        What boto3 finds in its environment cannot work.
    """

    def __init__(self, url: BucketUrl) -> None:
        self._url = url
        self._s3 = _client()

    def put(self, content: bytes) -> str:
        """Write a new object and return its key, once the store has acknowledged these very bytes."""
        key = new_key()
        self._write(key, content)
        return key

    def read(self, key: str) -> bytes:
        """The whole object."""
        name = self._name(known_key(key))
        with _translated(self._url):
            try:
                return self._s3.get_object(Bucket=self._url.bucket, Key=name)["Body"].read()
            except ClientError as exc:
                if _code(exc) == _GONE:
                    raise NotFound(f"The file {key} is gone from the file area; restore it from a backup.") from exc
                if not _is_refusal(exc) or not self._answers():
                    raise
                why = f"the bucket answers {_code(exc)}"
                raise NotFound(f"The file {key} cannot be read: {why}; put it right or restore it.") from exc

    def holds(self, key: str) -> bool:
        """Whether the object is there. A list says so; the answer to a HEAD is the same where the bucket is gone."""
        name = self._name(known_key(key))
        with _translated(self._url):
            found = self._s3.list_objects_v2(Bucket=self._url.bucket, Prefix=name, MaxKeys=1)
        return any(one["Key"] == name for one in found.get("Contents", ()))

    def where(self, key: str) -> str:
        """The URL of the object."""
        return self._url.of(known_key(key))

    def remove(self, key: str) -> None:
        """Remove an object; a store does not mind that it is gone already."""
        self._remove(known_key(key))

    def set_aside(self, key: str) -> None:
        """Copy an object under ``orphans`` and then remove it: one that is killed between them leaves both."""
        source: CopySourceTypeDef = {"Bucket": self._url.bucket, "Key": self._name(known_key(key))}
        with _translated(self._url):
            try:
                self._s3.copy_object(Bucket=self._url.bucket, Key=self._name(f"{ASIDE}/{key}"), CopySource=source)
            except ClientError as exc:
                if _code(exc) == _GONE:  # another clock was faster
                    return
                raise
        self.remove(key)

    def free_bytes(self) -> int | None:
        """None: no bucket says how much it takes."""
        return None

    def keys_older_than(self, instant: datetime) -> Iterator[str]:
        """Keys of all objects last written before this instant."""
        return (key for key, written in self._listed("") if written < instant and KEY.match(key))

    def folder(self, name: str) -> Path:
        """A copy on this machine, fetched anew: the last may be of a damaged folder. It goes with the process."""
        place = Path(name)
        try:
            place = self._copies / name
            unfinished = Path(tempfile.mkdtemp(dir=self._copies))
            for listed, _ in self._listed(f"{name}/"):
                if listed.endswith("/") or ".." in listed.split("/"):
                    continue  # none of ours: what some tools write for a folder, or meant to be written elsewhere
                file = unfinished / listed.removeprefix(f"{name}/")
                file.parent.mkdir(parents=True, exist_ok=True)
                with _translated(self._url):
                    found = self._s3.get_object(Bucket=self._url.bucket, Key=self._name(listed))
                    file.write_bytes(found["Body"].read())
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.rmtree(place, ignore_errors=True)
            if any(unfinished.iterdir()):
                unfinished.rename(place)
        except OSError as exc:
            why = exc.strerror or type(exc).__name__
            raise StoreUnavailable(f"{self._url.of(name)} cannot be copied to {place}: {why}.") from exc
        return place

    def keep_folder(self, name: str, source: Path, is_whole: Callable[[Path], bool]) -> bool:
        """Put every file of a folder; what is looked at is what then comes back from the bucket."""
        files = {f"{name}/{file.relative_to(source).as_posix()}": file for file in source.rglob("*") if file.is_file()}
        for listed in [listed for listed, _ in self._listed(f"{name}/") if listed not in files]:
            self._remove(listed)
        for place, file in files.items():
            self._write(place, file.read_bytes())
        whole = is_whole(self.folder(name))
        for place in () if whole else files:
            self._remove(place)
        return whole

    @cached_property
    def _copies(self) -> Path:
        made = tempfile.mkdtemp(prefix=".ich-triage-bundles-")
        weakref.finalize(self, shutil.rmtree, made, ignore_errors=True)
        return Path(made)

    def _name(self, name: str) -> str:
        return f"{self._url.prefix}{name}"

    def _write(self, name: str, content: bytes) -> None:
        digest = base64.b64encode(hashlib.md5(content, usedforsecurity=False).digest()).decode()
        with _translated(self._url):
            self._s3.put_object(Bucket=self._url.bucket, Key=self._name(name), Body=content, ContentMD5=digest)

    def _remove(self, name: str) -> None:
        with _translated(self._url):
            self._s3.delete_object(Bucket=self._url.bucket, Key=self._name(name))

    def _listed(self, start: str) -> Iterator[tuple[str, datetime]]:
        """Names of our objects that begin with ``start``, and when they were written."""
        pages = iter(
            self._s3.get_paginator("list_objects_v2").paginate(
                Bucket=self._url.bucket, Prefix=self._name(start), PaginationConfig={"PageSize": _PAGE}
            )
        )
        while True:
            with _translated(self._url):
                page = next(pages, None)
            if page is None:
                return
            for one in page.get("Contents", ()):
                yield one["Key"].removeprefix(self._url.prefix), one["LastModified"]

    def _answers(self) -> bool:
        try:
            self._s3.head_bucket(Bucket=self._url.bucket)
        except (ClientError, BotoCoreError):
            return False
        return True


def _client() -> S3Client:
    """A client that every thread may use.

    Checksums that older stores do not know are left out; `BucketArea._write` sends one that all know.
    """
    config = Config(
        connect_timeout=_CONNECT_SECONDS,
        read_timeout=_ANSWER_SECONDS,
        retries={"mode": "standard", "total_max_attempts": _ATTEMPTS},
        max_pool_connections=_CONNECTIONS,
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
    )
    try:
        return boto3.Session().client("s3", config=config)
    except (BotoCoreError, ValueError) as exc:
        raise ConfigurationError(f"The bucket of storage.root cannot be used: {_sentence(exc)}.") from exc


def _code(exc: ClientError) -> str:
    return exc.response.get("Error", {}).get("Code", "nothing")


def _is_refusal(exc: ClientError) -> bool:
    """Whether it is about what was asked, not about a store that is busy or broken."""
    status = exc.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 500)
    return 400 <= status < 500 and status not in {408, 429}


def _sentence(exc: Exception) -> str:
    return str(exc).strip().rstrip(".")


@contextmanager
def _translated(url: BucketUrl) -> Iterator[None]:
    try:
        yield
    except ClientError as exc:
        if _code(exc) in _FULL:
            raise OutOfSpace(f"The bucket {url.bucket} of the file area is full: free some space.") from exc
        raise StoreUnavailable(f"The file area cannot be used: {url.bucket} answers {_code(exc)}.") from exc
    except BotoCoreError as exc:
        raise StoreUnavailable(f"The file area cannot be used: {_sentence(exc)}.") from exc
