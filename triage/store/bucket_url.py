"""Where a bucket for the file area is: ``s3://BUCKET/PREFIX``."""

from __future__ import annotations

import re
from dataclasses import dataclass

SCHEME = "s3://"

_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
_PREFIX = re.compile(r"[A-Za-z0-9!_.*'()-]+(/[A-Za-z0-9!_.*'()-]+)*/?")
"""The characters that every object store and every tool takes."""


@dataclass(frozen=True, slots=True)
class BucketUrl:
    """A bucket, and what the names of all our objects in it begin with: nothing, or text that ends with a slash."""

    bucket: str
    prefix: str

    @classmethod
    def parse(cls, text: str) -> BucketUrl:
        """Read ``s3://BUCKET`` or ``s3://BUCKET/PREFIX``.

        Raises
        ------
        ValueError
            It is none.
        """
        bucket, _, prefix = text.removeprefix(SCHEME).partition("/")
        if (
            not text.startswith(SCHEME)
            or not _BUCKET.fullmatch(bucket)
            or (prefix and not _PREFIX.fullmatch(prefix))
            or {".", ".."} & set(prefix.split("/"))
        ):
            raise ValueError(f"a bucket is written as {SCHEME}BUCKET or {SCHEME}BUCKET/PREFIX; all else is a folder")
        return cls(bucket, f"{prefix.rstrip('/')}/" if prefix else "")

    def of(self, name: str) -> str:
        """The URL of an object."""
        return f"{SCHEME}{self.bucket}/{self.prefix}{name}"
