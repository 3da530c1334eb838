"""The pictures of a study: one slice of its series, and the small one on the worklist.

What was drawn is kept in memory, never on a disk. An address with the version of what it shows (``v=``) may be kept by
the browser of who asked; without it the browser asks again each time and is told when nothing has changed. A slice is
shown under the version that it belongs to alone: a page that is open speaks of the slices of its own.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Final, Literal

from fastapi import APIRouter, Header, HTTPException, Path, Query, Response
from numpy import uint8
from numpy.typing import NDArray

from triage.dicom.seg_reading import Outlines, read_outlines
from triage.dicom.slices import read_slice
from triage.domain.errors import NotFound, UnreadableInstance, UnusableSeries
from triage.domain.finding import KeySlice, WorklistStatus
from triage.domain.study import is_uid
from triage.domain.volume import SliceSource
from triage.services import read, view
from triage.services.view import Found, SeriesView
from triage.store.file_area import FileArea
from triage.store.transaction import Transaction
from triage.web.access import Reader
from triage.web.byte_cache import ByteCache
from triage.web.desk import Desk, DeskDep
from triage.web.drawing import WINDOWS, Window, slice_picture, thumbnail_picture

router = APIRouter()

KEEP_SECONDS: Final = 3600
_BYTES_OF_A_PLACE = 600
_INDEX = re.compile(r"[0-9]{1,5}")
_DRAWN = "1"
"""Changes whenever the same slice is drawn in another way, so that no browser shows an old one."""

NO_PICTURE: Final = (
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 128 128" width="128" height="128" role="img" '
    'aria-label="no picture"><rect x="1" y="1" width="126" height="126" fill="#14181d" stroke="#76828f" '
    'stroke-dasharray="6 5"/><text x="64" y="69" fill="#a9b3bd" font-family="sans-serif" font-size="15" '
    'text-anchor="middle">no picture</text></svg>'
).encode("ascii")
"""Nothing that could be taken for a head."""

WindowName = Literal["brain", "subdural", "bone"]
StudyUid = Annotated[str, Path(max_length=64)]


@dataclass(frozen=True)
class Gallery:
    """Draws slices and keeps what it drew."""

    blobs: FileArea
    cache: ByteCache

    def view(self, tx: Transaction, found: Found) -> SeriesView:
        """The slices of a series.

        Raises
        ------
        UnusableSeries
            The series holds no image.
        """
        return self.cache.get(
            ("view", found.key), lambda: view.series_view(tx, found), lambda made: _BYTES_OF_A_PLACE * len(made)
        )

    def forget_view(self, found: Found) -> None:
        """Have the view of a series made anew: a file that it names is gone."""
        self.cache.drop(("view", found.key))

    def outlines(self, series: SeriesView) -> Outlines | None:
        """What is outlined on the slices; None where nothing is, or where the object cannot be read."""
        blob_key = series.segmentation
        if blob_key is None:
            return None
        try:
            return self.cache.get(
                ("outlines", blob_key), lambda: read_outlines(self.blobs.read(blob_key)), lambda made: made.size_bytes
            )
        except (UnreadableInstance, NotFound):
            return None

    def slice(self, found: Found, series: SeriesView, index: int, window: Window, *, outline: bool) -> bytes:
        """One slice as PNG.

        Raises
        ------
        NotFound
            There is no such slice, or its file is gone.
        UnusableSeries
            Its pixels are nothing in HU.
        """
        key = ("slice", found.key, index, window.name, outline)
        return self.cache.get(key, lambda: self._draw(series, index, window, slice_picture, outline=outline), len)

    def thumbnail(self, tx: Transaction, found: Found, key_slice: KeySlice) -> bytes:
        """The small picture of the key slice as PNG; raises as `slice` does."""

        def draw() -> bytes:
            alone = view.key_view(tx, found, key_slice)
            index = alone.index(SliceSource(key_slice.sop_instance_uid, key_slice.frame_number))
            return self._draw(alone, index, WINDOWS["brain"], thumbnail_picture, outline=True)

        return self.cache.get(("thumbnail", found.key), draw, len)

    def _draw(
        self, series: SeriesView, index: int, window: Window, draw: Callable[..., bytes], *, outline: bool
    ) -> bytes:
        source = series.source(index)
        hu = read_slice(self.blobs.read(series.blob_keys[source.sop_instance_uid]), source.frame_number)
        labels: NDArray[uint8] | None = None
        outlines = self.outlines(series) if outline else None
        if outlines is not None:
            labels = outlines.labels(source)
            if labels is not None and labels.shape != hu.shape:
                labels = None
        return draw(hu, labels, series.slices, window)


def gallery_of(desk: Desk) -> Gallery:
    """The gallery of a desk; they share its file area."""
    return Gallery(desk.blobs, desk.pictures)


def known_uid(study_uid: str) -> str:
    """The UID in an address, when it can be one at all."""
    if not is_uid(study_uid):
        raise HTTPException(404, "There is no such study.")
    return study_uid


@router.get("/study/{study_uid}/slice/{index}.png", responses={200: {"content": {"image/png": {}}}})
def slice_png(
    desk: DeskDep,
    person: Reader,
    study_uid: StudyUid,
    index: str,
    window: WindowName = "brain",
    outline: Annotated[int, Query(ge=0, le=1)] = 1,
    v: Annotated[str, Query(max_length=64)] = "",
    if_none_match: Annotated[str | None, Header()] = None,
) -> Response:
    """Draw one slice, counted from 0 in the order of the volume; a person who has not opened the study is recorded."""
    if not _INDEX.fullmatch(index):
        raise HTTPException(404, "There is no such slice.")
    read.look(desk.db, known_uid(study_uid), person, desk.clock())
    gallery = gallery_of(desk)
    for _ in range(2):  # a file that was lost may have come again under another key since the view was kept
        with desk.db.read() as tx:
            found = view.find(tx, study_uid)
            if v and v != str(found.key):
                return _no_slice()  # the captions of the page that asks speak of other slices
            etag = _etag(found, index, window, str(outline))
            if if_none_match == etag:
                return _unchanged(etag, kept=bool(v))
            try:
                series = gallery.view(tx, found)
            except UnusableSeries:
                return _no_slice()
        if int(index) >= len(series):
            return _no_slice()
        try:
            png = gallery.slice(found, series, int(index), WINDOWS[window], outline=bool(outline))
            return _picture(png, etag, kept=bool(v))
        except UnusableSeries:
            return _no_slice()
        except NotFound:
            gallery.forget_view(found)
    return _no_slice()


@router.get("/study/{study_uid}/thumbnail.png", responses={200: {"content": {"image/png": {}, "image/svg+xml": {}}}})
def thumbnail_png(
    desk: DeskDep,
    _person: Reader,
    study_uid: StudyUid,
    v: Annotated[str, Query(max_length=64)] = "",
    if_none_match: Annotated[str | None, Header()] = None,
) -> Response:
    """Draw the key slice with its outline, small; a study without one gets a sign that says so."""
    gallery = gallery_of(desk)
    with desk.db.read() as tx:
        found = view.find(tx, known_uid(study_uid))
        key_slice = found.listed.row.key_slice
        if found.listed.row.status is not WorklistStatus.SUSPECTED or key_slice is None:
            return _picture(NO_PICTURE, _etag(found, "none"), kept=False, media_type="image/svg+xml")
        etag = _etag(found, "thumbnail")
        if if_none_match == etag:
            return _unchanged(etag, kept=bool(v))
        try:
            return _picture(gallery.thumbnail(tx, found, key_slice), etag, kept=bool(v))
        except (UnusableSeries, NotFound):
            return _no_slice()


def _etag(found: Found, *what: str) -> str:
    named = "|".join((_DRAWN, found.record.study_instance_uid, str(found.key), *what))
    return f'"{hashlib.sha256(named.encode()).hexdigest()[:32]}"'


def _headers(etag: str, *, kept: bool) -> dict[str, str]:
    return {"ETag": etag, "Cache-Control": f"private, max-age={KEEP_SECONDS}" if kept else "private, no-cache"}


def _picture(content: bytes, etag: str, *, kept: bool, media_type: str = "image/png") -> Response:
    return Response(content, 200, _headers(etag, kept=kept), media_type)


def _unchanged(etag: str, *, kept: bool) -> Response:
    return Response(status_code=304, headers=_headers(etag, kept=kept))


def _no_slice() -> Response:
    """A sign instead of a slice, kept nowhere; the page of the study says why, or that there is something new."""
    return Response(NO_PICTURE, 404, media_type="image/svg+xml")
