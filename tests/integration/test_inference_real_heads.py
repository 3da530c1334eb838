"""The input check and the path to a result on a real head, a plastic one and made ones."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.onnx_models import BLOOD_HU, tiny_bundle, volume_of
from tests.out_of_distribution import contents, part
from trainer.phantom.exam import ScanGeometry, study
from triage.dicom.volume import read_volume
from triage.domain.errors import UnusableSeries
from triage.domain.finding import ReasonCode, WorklistStatus
from triage.domain.volume import Volume
from triage.inference.plausible import check_living_head, measure_head
from triage.inference.predict import Predictor


@pytest.fixture(scope="module")
def real_head(shared_data: Path) -> Volume:
    return read_volume(contents(shared_data / "ge_head_tilt"))


@pytest.fixture(scope="module")
def predictor(tmp_path_factory: pytest.TempPathFactory) -> Predictor:
    folder = tmp_path_factory.mktemp("bundle")
    tiny_bundle(folder)
    return Predictor.load(folder, "cpu", threads=1)


def test_the_real_head_is_a_head(real_head: Volume) -> None:
    check_living_head(real_head)
    measured = measure_head(real_head)
    assert measured.ring_length_mm > 100.0
    assert 25.0 < measured.tissue_median_hu < 40.0
    assert measured.tissue_share > 0.9
    assert 15_000 < measured.largest_area_mm2 < 20_000


@pytest.mark.parametrize(("first", "stop"), [(5, 28), (0, 23), (9, 28)], ids=["no face", "no vertex", "no base"])
def test_most_of_the_real_head_is_a_head(real_head: Volume, first: int, stop: int) -> None:
    check_living_head(part(real_head, first, stop))


@pytest.mark.parametrize(("first", "stop"), [(0, 17), (12, 18), (16, 28)], ids=["lower", "middle", "upper"])
def test_half_of_the_real_head_is_refused(real_head: Volume, first: int, stop: int) -> None:
    with pytest.raises(UnusableSeries, match="widest part") as caught:
        check_living_head(part(real_head, first, stop))
    assert caught.value.reason is ReasonCode.TOO_FEW_SLICES


@pytest.mark.parametrize("scale", [0.6, 0.75, 1.2])
def test_the_size_of_a_child_and_of_a_large_man(real_head: Volume, scale: float) -> None:
    spacing = (real_head.pixel_spacing_mm[0] * scale, real_head.pixel_spacing_mm[1] * scale)
    check_living_head(replace(real_head, pixel_spacing_mm=spacing))


def test_the_face_alone_is_not_enough(real_head: Volume) -> None:
    with pytest.raises(UnusableSeries, match="closed skull"):
        check_living_head(part(real_head, 0, 7))


def test_the_plastic_head_is_refused(shared_data: Path) -> None:
    plastic = read_volume(contents(shared_data / "philips_head_phantom" / "S2010"))
    with pytest.raises(UnusableSeries, match="median is -978 HU") as caught:
        check_living_head(plastic)
    assert caught.value.reason is ReasonCode.OUT_OF_DISTRIBUTION


@pytest.mark.parametrize(("seed", "status"), [(1, WorklistStatus.SUSPECTED), (2, WorklistStatus.NOT_SUSPECTED)])
def test_made_heads_are_heads(seed: int, status: WorklistStatus) -> None:
    pixel_mm = 0.9375
    made = study(seed, status=status, geometry=ScanGeometry(matrix=256, spacing_mm=pixel_mm))
    check_living_head(volume_of(made.hu.astype(np.float32), None, 5.0, (pixel_mm, pixel_mm)))


def test_made_heads_on_the_template_are_heads(shared_data: Path) -> None:
    pixel_mm = 0.9375
    made = study(
        4,
        status=WorklistStatus.NOT_SUSPECTED,
        anatomy=shared_data / "ct_template",
        geometry=ScanGeometry(matrix=256, spacing_mm=pixel_mm),
    )
    check_living_head(volume_of(made.hu.astype(np.float32), None, 5.0, (pixel_mm, pixel_mm)))


def test_file_order_changes_no_bit(shared_data: Path, predictor: Predictor) -> None:
    files = contents(shared_data / "ge_head_tilt")
    shuffled = files.copy()
    random.Random(7).shuffle(shuffled)
    results = []
    for order in (files, shuffled):
        volume = read_volume(order)
        analysis = predictor.segment(volume, predictor.gate(volume))
        results.append((analysis.result, analysis.labels.tobytes(), analysis.evidence.tobytes()))
    assert results[0] == results[1]


def test_blood_in_the_tilted_uneven_head_is_measured_on_its_own_slices(real_head: Volume, predictor: Predictor) -> None:
    """A cylinder through the 4 mm, the overlapping and the 7 mm slices: only true extents give its volume."""
    hu = np.minimum(real_head.hu, 35.0)
    rows, columns = np.ogrid[:512, :512]
    disc = (rows - 256) ** 2 + (columns - 256) ** 2 <= 40**2
    hu[10:18, disc] = BLOOD_HU
    volume = replace(real_head, hu=hu)
    result = predictor.segment(volume, predictor.gate(volume)).result
    truth = volume.mask_ml((hu == BLOOD_HU) & disc)
    assert result.total_volume_ml == pytest.approx(truth, rel=0.02)
    assert result.key_slice is not None
    assert 10 <= result.key_slice.index < 18
    assert result.key_slice.sop_instance_uid == volume.sources[result.key_slice.index].sop_instance_uid
