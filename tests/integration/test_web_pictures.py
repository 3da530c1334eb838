"""The pictures of a study: the outline is on the blood, on the right slice; no more is kept than was said."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from pydicom import dcmread

from tests.builders import enhanced_ct, localizer
from tests.integration.site import Site, head
from tests.studies import installation, not_analysed, not_suspected, pending, suspected, taken_in
from tests.web import Browser, signed_in
from triage.dicom.codes import SUBTYPE_CODES
from triage.domain.account import Role
from triage.domain.finding import Subtype
from triage.services.receive import Receipt
from triage.store import instances
from triage.web.app import make_app
from triage.web.byte_cache import ByteCache
from triage.web.desk import Desk
from triage.web.pictures import NO_PICTURE

IPH = SUBTYPE_CODES[Subtype.IPH].colour[::-1]
BOX = ([223, 288], [303, 368])
"""The box of `FixedPredictor`, rows 28..35 and columns 38..45 enlarged eight times, with a line of one pixel."""


@pytest.fixture
def site(database_url: str, tmp_path: Path) -> Iterator[Site]:
    with installation(database_url, tmp_path / "blobs") as made:
        yield made


def picture(answer: object) -> NDArray[np.uint8]:
    assert (answer.status_code, answer.headers["content-type"]) == (200, "image/png")
    return cv2.imdecode(np.frombuffer(answer.content, np.uint8), cv2.IMREAD_UNCHANGED)


def outline(image: NDArray[np.uint8]) -> tuple[list[int], list[int]] | None:
    """First and last row and column of the outline; None without one. The legend at the foot is left out."""
    if image.ndim == 2:
        return None
    line = (image == IPH).all(axis=2)[:450]
    rows, columns = np.flatnonzero(line.any(axis=1)), np.flatnonzero(line.any(axis=0))
    return None if rows.size == 0 else (rows[[0, -1]].tolist(), columns[[0, -1]].tolist())


def test_the_outline_is_on_the_blood_on_the_right_slices_alone(site: Site, radiologist: Browser) -> None:
    uid = suspected(site)
    key = site.row(uid).key_slice
    assert key is not None
    assert key.index == 9
    found = [outline(picture(radiologist.get(f"/study/{uid}/slice/{index}.png"))) for index in range(18)]
    assert found == [BOX if index in (8, 9) else None for index in range(18)]
    assert outline(picture(radiologist.get(f"/study/{uid}/slice/9.png?outline=0"))) is None


@pytest.mark.parametrize("source", ["tilted", "enhanced", "columns reversed"])
def test_sources_of_every_kind(site: Site, radiologist: Browser, source: str) -> None:
    series = head(18, tilt_degrees=18.0) if source == "tilted" else head(18)
    if source == "enhanced":
        series = [enhanced_ct(series)]
    if source == "columns reversed":
        series = head(18, ImageOrientationPatient=[-1, 0, 0, 0, 1, 0])
    row = taken_in(site, series)
    assert row.key_slice is not None
    shown = outline(picture(radiologist.get(f"/study/{row.study_instance_uid}/slice/{row.key_slice.index}.png")))
    mirrored = [511 - BOX[1][1], 511 - BOX[1][0]]
    assert shown == (BOX[0], mirrored if source == "columns reversed" else BOX[1])


def test_each_window_shows_its_own_greys(site: Site, radiologist: Browser) -> None:
    uid = not_suspected(site)
    greys = {
        window: picture(radiologist.get(f"/study/{uid}/slice/9.png?window={window}"))[330, 256]
        for window in ("brain", "subdural", "bone")
    }
    # Brain of 34 HU.
    assert greys == {"brain": 108, "subdural": 79, "bone": 76}


@pytest.mark.parametrize("path", [
    "/study/{uid}/slice/18.png", "/study/{uid}/slice/-1.png", "/study/{uid}/slice/one.png",
    "/study/{uid}/slice/1e3.png", "/study/{uid}/slice/999999999.png", "/study/{uid}/slice/9",
    "/study/2.25.9/slice/0.png", "/study/2.25.9/thumbnail.png", "/study/..%2F..%2Fetc%2Fpasswd/slice/0.png",
    "/study/%2e%2e/slice/0.png", "/study/{uid}%00/thumbnail.png", "/study/{uid}/slice/..%2f..%2f0.png",
    "/study/' OR 1=1/thumbnail.png", "/study/١.٢/thumbnail.png",
])  # fmt: skip
def test_what_is_no_slice_is_not_there(site: Site, radiologist: Browser, path: str) -> None:
    uid = not_suspected(site)
    answer = radiologist.get(path.format(uid=uid))
    assert answer.status_code == 404
    assert b"root:" not in answer.content


def test_what_cannot_be_is_refused(site: Site, radiologist: Browser) -> None:
    uid = not_suspected(site)
    for query in ("window=stroke", "outline=2", "outline=x", f"v={'x' * 65}"):
        assert radiologist.get(f"/study/{uid}/slice/0.png?{query}").status_code == 422
    assert radiologist.get(f"/study/{'1' * 65}/slice/0.png").status_code == 422


def test_only_readers_see_pictures(site: Site, anonymous: Browser, service: Browser, administrator: Browser) -> None:
    uid = suspected(site)
    for path in (f"/study/{uid}/slice/0.png", f"/study/{uid}/thumbnail.png"):
        assert anonymous.get(path, headers={"Accept": "image/*"}).status_code == 401
        assert service.get(path).status_code == 403
        assert administrator.get(path).status_code == 200


def version(reader: Browser, uid: str) -> str:
    """The version of what the page of a study shows, as its pictures are asked for."""
    asked = re.search(r'data-version="([^"]+)"', reader.get(f"/study/{uid}").text)
    assert asked is not None
    return asked.group(1)


def test_the_browser_keeps_what_has_a_version_and_asks_for_the_rest(site: Site, radiologist: Browser) -> None:
    uid = suspected(site)
    path = f"/study/{uid}/slice/9.png"
    first = radiologist.get(path)
    assert first.headers["cache-control"] == "private, no-cache"
    shown = {"v": version(radiologist, uid)}
    assert radiologist.get(path, params=shown).headers["cache-control"] == "private, max-age=3600"
    again = radiologist.get(path, headers={"If-None-Match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    assert radiologist.get(path, params={"outline": 0}).headers["etag"] != first.headers["etag"]
    assert radiologist.get(path, params={"window": "bone"}).headers["etag"] != first.headers["etag"]


def test_a_new_revision_has_other_pictures(site: Site, radiologist: Browser) -> None:
    slices = head(18)
    uid = taken_in(site, slices[:17]).study_instance_uid
    before = {path: radiologist.get(f"/study/{uid}/{path}") for path in ("slice/9.png", "thumbnail.png")}
    assert radiologist.get(f"/study/{uid}/slice/17.png").status_code == 404
    taken_in(site, slices[17:])
    for path, old in before.items():
        new = radiologist.get(f"/study/{uid}/{path}", headers={"If-None-Match": old.headers["etag"]})
        assert new.status_code == 200
        assert new.headers["etag"] != old.headers["etag"]
    assert radiologist.get(f"/study/{uid}/slice/17.png").status_code == 200


def test_a_page_that_was_opened_before_a_new_revision_shows_none_of_its_slices(
    site: Site, radiologist: Browser
) -> None:
    """Its captions speak of other slices under the same numbers."""
    slices = head(18)
    uid = taken_in(site, slices[1:]).study_instance_uid
    old = version(radiologist, uid)
    before = radiologist.get(f"/study/{uid}/slice/9.png", params={"v": old})
    taken_in(site, slices[:1])
    for asked in ({}, {"If-None-Match": before.headers["etag"]}):
        answer = radiologist.get(f"/study/{uid}/slice/9.png", params={"v": old}, headers=asked)
        assert (answer.status_code, answer.headers["cache-control"]) == (404, "no-store")
        assert answer.content == NO_PICTURE
    assert version(radiologist, uid) != old
    picture(radiologist.get(f"/study/{uid}/slice/9.png", params={"v": version(radiologist, uid)}))


def test_a_late_localizer_is_nothing_new_to_an_open_page(site: Site, radiologist: Browser) -> None:
    slices = head(18)
    uid = taken_in(site, slices).study_instance_uid
    page, shown = radiologist.get(f"/study/{uid}").text, {"v": version(radiologist, uid)}
    seen = re.search(r'name="seen" value="([^"]+)"', page)
    assert seen is not None
    taken_in(site, [localizer(uid, SeriesInstanceUID=str(slices[0].SeriesInstanceUID))])
    assert radiologist.get(f"/study/{uid}/now", params={"seen": seen.group(1)}).status_code == 200
    picture(radiologist.get(f"/study/{uid}/slice/9.png", params=shown))
    judged = radiologist.post(f"/study/{uid}/verdict", data={"verdict": "agree", "seen": seen.group(1)})
    assert judged.status_code == 303


def test_the_memory_for_pictures_is_bounded(site: Site, desk: Desk) -> None:
    uid = suspected(site)
    small = replace(desk, pictures=ByteCache(40_000))
    reader = signed_in(make_app(small), "rad", Role.RADIOLOGIST)
    for window in ("brain", "bone"):
        for index in range(18):
            picture(reader.get(f"/study/{uid}/slice/{index}.png?window={window}"))
            assert 0 < small.pictures.size_bytes <= 40_000
    assert len(small.pictures) < 36


def test_a_drawn_slice_is_not_drawn_again(site: Site, desk: Desk, radiologist: Browser) -> None:
    uid = suspected(site)
    first = radiologist.get(f"/study/{uid}/slice/9.png")
    for blob in desk.blobs.root.rglob("*.dcm"):
        blob.unlink()
    assert radiologist.get(f"/study/{uid}/slice/9.png").content == first.content
    gone = radiologist.get(f"/study/{uid}/slice/8.png")
    assert gone.status_code == 404


def test_a_damaged_slice_is_a_sign_and_its_neighbours_are_shown(site: Site, desk: Desk, radiologist: Browser) -> None:
    slices = head(18)
    uid = taken_in(site, slices).study_instance_uid
    for blob in desk.blobs.root.rglob("*.dcm"):
        content = blob.read_bytes()
        if str(slices[3].SOPInstanceUID).encode() in content[:600] and b"MODALITY" not in content:
            blob.write_bytes(content[:-1000])
    damaged = radiologist.get(f"/study/{uid}/slice/3.png")
    assert (damaged.status_code, damaged.headers["content-type"]) == (404, "image/svg+xml")
    assert b"no picture" in damaged.content
    assert radiologist.get(f"/study/{uid}/slice/4.png").status_code == 200


def test_a_slice_whose_file_is_gone_is_a_sign(site: Site, desk: Desk, radiologist: Browser) -> None:
    uid = suspected(site)
    for blob in desk.blobs.root.rglob("*.dcm"):
        blob.unlink()
    for path in (f"/study/{uid}/slice/3.png", f"/study/{uid}/thumbnail.png"):
        gone = radiologist.get(path)
        assert (gone.status_code, gone.headers["content-type"]) == (404, "image/svg+xml")
    assert "the stored images cannot be read" in radiologist.get(f"/study/{uid}").text


def test_a_slice_whose_file_was_lost_is_shown_again_once_it_came_again(site: Site, radiologist: Browser) -> None:
    slices = head(18)
    uid = taken_in(site, slices).study_instance_uid
    shown = {"v": version(radiologist, uid)}
    with site.db.read() as tx:
        stored = instances.find(tx, slices[3].SOPInstanceUID)
    assert stored is not None
    site.blobs.path(stored.blob_key).unlink()
    assert radiologist.get(f"/study/{uid}/slice/3.png", params=shown).status_code == 404
    assert site.keep(slices[3], "again") is Receipt.RESTORED
    picture(radiologist.get(f"/study/{uid}/slice/3.png", params=shown))


def test_without_a_readable_segmentation_the_slices_are_shown_without_outline(
    site: Site, desk: Desk, radiologist: Browser
) -> None:
    uid = suspected(site)
    for blob in desk.blobs.root.rglob("*.dcm"):
        if b"ICH_TRIAGE" in blob.read_bytes():
            blob.write_bytes(b"damaged")
    assert outline(picture(radiologist.get(f"/study/{uid}/slice/9.png"))) is None


def test_the_thumbnail_is_the_key_slice_with_its_outline(site: Site, radiologist: Browser) -> None:
    uid = suspected(site)
    image = picture(radiologist.get(f"/study/{uid}/thumbnail.png"))
    assert image.shape == (128, 128, 3)
    assert (image == IPH).all(axis=2).any()


@pytest.mark.parametrize("make", [not_suspected, not_analysed, pending])
def test_what_is_not_suspected_has_a_sign_that_no_one_takes_for_a_head(
    site: Site, radiologist: Browser, make: object
) -> None:
    answer = radiologist.get(f"/study/{make(site)}/thumbnail.png")
    assert (answer.status_code, answer.headers["content-type"]) == (200, "image/svg+xml")
    assert b"no picture" in answer.content


def test_slices_of_what_was_not_analysed_can_be_looked_at(site: Site, radiologist: Browser) -> None:
    for uid in (not_analysed(site), pending(site)):
        assert outline(picture(radiologist.get(f"/study/{uid}/slice/0.png"))) is None


def test_the_real_head(site: Site, radiologist: Browser, shared_data: Path) -> None:
    series = [dcmread(path) for path in sorted((shared_data / "ge_head_tilt").glob("*.dcm"))]
    row = taken_in(site, series, score=0.1)
    image = picture(radiologist.get(f"/study/{row.study_instance_uid}/slice/14.png"))
    assert image.shape == (512, 512)
    assert 60 < image[200:300, 200:300].mean() < 200, "brain"
