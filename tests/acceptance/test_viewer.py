"""Acceptance 2: a real viewer draws our segmentation where the lesions are, in our colours, and opens our report.

OHIF in headless Chromium, with Orthanc behind it. Pictures of what it drew are kept in ``build/artefacts``.
"""

from __future__ import annotations

import dataclasses
import io
from collections.abc import Iterator

import numpy as np
import pydicom
import pytest
from numpy.typing import NDArray

from tests.browser import chromium
from tests.builders import BRAIN_HU, ct_series, ellipse_head, part10
from tests.conftest import unavailable
from tests.results import Analysed, analysed, dataset
from tests.services import MissingProgramError, OrthancServer
from tests.viewer import Viewer, served
from triage.dicom.codes import SUBTYPE_CODES
from triage.domain.encoded import EncodedObject, ObjectKind
from triage.domain.finding import SUBTYPES, Subtype

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

SLICES, MATRIX, SPACING_MM, STEP_MM = 20, 256, 0.9, 5.0
RADIUS_MM, BLOOD_HU = 10.0, 68.0
CENTRES_MM = {
    Subtype.EDH: (-30.0, -20.0),
    Subtype.IPH: (22.0, -30.0),
    Subtype.IVH: (-18.0, 12.0),
    Subtype.SAH: (28.0, 24.0),
    Subtype.SDH: (-24.0, 36.0),
}
"""Left and posterior of the middle of the image: each lesion has a place of its own, none mirrors another."""


def slice_of(subtype: Subtype) -> int:
    """The first of the two slices that show a lesion; the third shows none."""
    return 3 + 3 * SUBTYPES.index(subtype)


def disc(subtype: Subtype) -> NDArray[np.bool_]:
    """The lesion in its slices, shape (row, column)."""
    y, x = (np.mgrid[0:MATRIX, 0:MATRIX] - (MATRIX - 1) / 2) * SPACING_MM
    left, back = CENTRES_MM[subtype]
    return np.hypot(x - left, y - back) <= RADIUS_MM


def phantom() -> Analysed:
    """A head with one lesion of each subtype, as an analysis would have found them."""
    labels = np.zeros((SLICES, MATRIX, MATRIX), dtype=np.uint8)
    for number, subtype in enumerate(SUBTYPES, start=1):
        first = slice_of(subtype)
        labels[first : first + 2, disc(subtype)] = number
    head = ellipse_head(MATRIX, MATRIX, SPACING_MM, height=0.5)
    hu = np.where(labels > 0, BLOOD_HU, head)
    series = ct_series(
        SLICES, MATRIX, MATRIX, spacing_mm=SPACING_MM, step_mm=STEP_MM, hu=hu, WindowCenter=40, WindowWidth=100
    )
    found = analysed([part10(ds) for ds in series])
    result = dataclasses.replace(
        found.result,
        subtypes={
            s: dataclasses.replace(finding, volume_ml=found.volume.mask_ml(labels == number))
            for number, (s, finding) in enumerate(found.result.subtypes.items(), start=1)
        },
        total_volume_ml=found.volume.mask_ml(labels > 0),
    )
    return dataclasses.replace(found, labels=labels, result=result)


@pytest.fixture(scope="module")
def viewer(orthanc_server: OrthancServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Viewer]:
    profile = tmp_path_factory.mktemp("chromium")
    try:
        with served(orthanc_server) as url, chromium(profile) as browser:
            yield Viewer(url, browser)
    except MissingProgramError as missing:
        unavailable(str(missing))


@pytest.fixture(scope="module")
def head() -> Analysed:
    return phantom()


def show(viewer: Viewer, orthanc: OrthancServer, contents: list[bytes], over: EncodedObject | None = None) -> None:
    """Put everything into the archive and open the study at its images, with a segmentation over them when given."""
    for content in contents:
        orthanc.store(content)
    (study,) = orthanc.get_json("/studies?expand")
    first = (
        pydicom.dcmread(io.BytesIO(contents[0]), specific_tags=["SeriesInstanceUID"]) if over is None else dataset(over)
    )
    viewer.open(study["MainDicomTags"]["StudyInstanceUID"], first.SeriesInstanceUID, segmentation=over is not None)


def colours_that_differ(picture: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Where a picture of shape (row, column, 3) is not grey."""
    return np.ptp(picture.astype(int), axis=2) > 24


def nearest_subtype(colour: NDArray[np.float64]) -> tuple[Subtype, float]:
    """The subtype whose recommended colour has the hue of this one, and how near it is (1 is the same).

    A colour blended with any grey keeps the direction in which it differs from grey.
    """

    def hue(of: NDArray[np.float64]) -> NDArray[np.float64]:
        apart: NDArray[np.float64] = of - of.mean()
        return apart / np.linalg.norm(apart)

    likeness = {s: float(hue(colour) @ hue(np.array(SUBTYPE_CODES[s].colour, float))) for s in SUBTYPES}
    best = max(likeness, key=likeness.__getitem__)
    return best, likeness[best]


def at_mm(left: float, back: float, index: int) -> tuple[float, float, float]:
    """Patient coordinates of a place in the phantom (its image is centred on the origin)."""
    return left, back, index * STEP_MM


def test_each_lesion_is_drawn_in_its_slice_its_place_and_its_colour(
    viewer: Viewer, orthanc: OrthancServer, head: Analysed
) -> None:
    segmentation = head.seg()
    show(viewer, orthanc, [*head.contents, segmentation.content], segmentation)
    for subtype in SUBTYPES:
        index, (left, back) = slice_of(subtype), CENTRES_MM[subtype]
        viewer.scroll_to(instance_number=index + 1)
        centre, edge = viewer.pixels(at_mm(left, back, index), at_mm(left + RADIUS_MM, back, index))
        radius = edge[0] - centre[0]
        assert radius > 20, "the picture is too small to tell"
        picture = viewer.picture(f"viewer-seg-{subtype.value.lower()}")
        near = picture[centre[1] - 5 : centre[1] + 6, centre[0] - 5 : centre[0] + 6].reshape(-1, 3)
        assert colours_that_differ(near[None]).all(), f"{subtype}: nothing is drawn on the lesion"
        best, likeness = nearest_subtype(near.mean(axis=0))
        assert best is subtype, f"{subtype} is drawn in the colour of {best}: {near.mean(axis=0)}"
        assert likeness > 0.98, f"{subtype} is drawn in {near.mean(axis=0)}"
        # The whole of it, and nothing but it.
        rows, columns = np.nonzero(viewer.image_part(colours_that_differ(picture)))
        assert (columns.mean(), rows.mean()) == pytest.approx(centre, abs=3), f"{subtype} is drawn elsewhere"
        assert np.sqrt(rows.size / np.pi) == pytest.approx(radius, abs=3), f"{subtype} is drawn in another size"


def test_a_slice_without_a_lesion_stays_grey(viewer: Viewer, orthanc: OrthancServer, head: Analysed) -> None:
    segmentation = head.seg()
    show(viewer, orthanc, [*head.contents, segmentation.content], segmentation)
    for index in (slice_of(Subtype.IPH) - 1, slice_of(Subtype.IPH) + 2):
        viewer.scroll_to(instance_number=index + 1)
        ((x, y),) = viewer.pixels(at_mm(*CENTRES_MM[Subtype.IPH], index))
        picture = viewer.picture(f"viewer-seg-none-{index + 1}")
        assert 60 < picture[y, x].mean() < 160, f"brain of {BRAIN_HU} HU in a window of 40/100 is a middle grey"
        assert not viewer.image_part(colours_that_differ(picture)).any()


def test_the_text_report_is_opened(viewer: Viewer, orthanc: OrthancServer, head: Analysed) -> None:
    report = head.sr(kind=ObjectKind.SR_TEXT)
    show(viewer, orthanc, [*head.contents, report.content])
    text = viewer.open_report("SR", lambda shown: "Intracranial hemorrhage suspected" in shown)
    viewer.picture("viewer-sr-text")
    assert "Triage notification, not a diagnosis" in text
    assert "Probability: 0.970" in text


def test_the_measurement_report_is_opened(viewer: Viewer, orthanc: OrthancServer, head: Analysed) -> None:
    segmentation = head.seg()
    show(viewer, orthanc, [*head.contents, segmentation.content, head.sr(segmentation=segmentation).content])
    text = viewer.open_report("SR", lambda shown: "Intracranial hemorrhage suspected" in shown)
    viewer.picture("viewer-sr-measurements")
    assert "Triage notification, not a diagnosis" in text
    for subtype, finding in head.result.subtypes.items():
        assert f"Tracking Identifier: ICH triage {subtype}" in text
        assert f"Volume: {finding.volume_ml:.4f} ml" in text
