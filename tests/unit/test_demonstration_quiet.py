"""A limit that real series without blood stay below, and what is said of it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.builders import ct_series, part10
from tests.drawn_heads import PIXEL_MM, SIZE, head
from tests.familiar_models import knowing_bundle
from tests.onnx_models import tiny_bundle, tiny_manifest
from trainer.demonstration.decide import HIGHEST_LIMIT
from trainer.demonstration.quiet import quiet_on, remark_on
from trainer.real_series import copies_of, gate_of, read_series
from triage.inference.manifest import Calibration, ExamCalibration, GateCalibration, Manifest
from triage.inference.postprocess import logit, sigmoid
from triage.inference.predict import Predictor


@pytest.fixture(scope="module")
def heads(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two drawn heads as DICOM: some copies of the first light up by the edges of the skull, all of the second."""
    folders = []
    for name, spot_hu in (("calm", 30.0), ("bright", 70.0)):
        hu = np.maximum(head(slices=12, seed=2), -1000.0)
        hu[5:8, 60:72, 60:72] = spot_hu
        folders.append(tmp_path_factory.mktemp("series") / name)
        folders[-1].mkdir()
        for number, ds in enumerate(ct_series(12, SIZE, SIZE, spacing_mm=PIXEL_MM, hu=hu)):
            (folders[-1] / f"{number:02d}.dcm").write_bytes(part10(ds))
    return folders


def manifest(bias: float) -> Manifest:
    """Of nets that outline 50 to 90 HU; no score is higher than the sigmoid of ``bias`` and 1.85."""
    said = tiny_manifest(size=128, pixel_mm=2.0)
    calibration = Calibration(provisional=GateCalibration(0.2, bias), final=ExamCalibration(0.2, 0.0, bias))
    return replace(said, calibration=calibration)


def test_series_below_the_limit_do_not_move_it(heads: list[Path], tmp_path: Path) -> None:
    bundle, lines = tiny_bundle(tmp_path, manifest(-3.0)), list[str]()
    limits = quiet_on(bundle, heads, lines.append)
    assert limits == bundle.manifest.thresholds
    assert len(lines) == 2 * 6
    assert lines[0].startswith("calm, as it is: score 0.0")
    assert "limit of 0.500 did not have to be raised so that calm and bright and copies" in remark_on(
        limits, limits, heads
    )


def test_the_limit_lies_above_the_highest_copy_of_any_series(heads: list[Path], tmp_path: Path) -> None:
    bundle = tiny_bundle(tmp_path, manifest(-1.0))
    predictor = Predictor.load(bundle.path, "cpu", threads=1)
    scores = []
    for volume in [copy for folder in heads for copy in copies_of(read_series(folder)).values()]:
        gate = gate_of(predictor, volume)
        scores += [gate.result.score, predictor.segment(volume, gate).result.score]
    assert 0.5 < max(scores) < 0.71
    before = bundle.manifest.thresholds
    limits = quiet_on(bundle, heads, lambda _: None)
    assert limits.suspected == pytest.approx(float(sigmoid(logit(np.array(max(scores))) + 0.25)), abs=1e-6)
    assert limits == replace(before, suspected=limits.suspected)
    said = remark_on(before, limits, heads[:1])
    assert f"limit of {limits.suspected:.3f} was raised from 0.500 so that calm and copies of it stay below" in said
    assert said.endswith("that they are not suspected is no finding.")


def test_what_no_limit_can_keep_quiet_is_told(heads: list[Path], tmp_path: Path) -> None:
    lines: list[str] = []
    limits = quiet_on(tiny_bundle(tmp_path, tiny_manifest(size=128, pixel_mm=2.0)), heads[1:], lines.append)
    assert limits.suspected == limits.emergent == HIGHEST_LIMIT
    assert lines[-1].endswith(f"stays suspected: no limit is set above {HIGHEST_LIMIT}")


def test_copies_that_the_daemon_refuses_raise_nothing(heads: list[Path], tmp_path: Path) -> None:
    bundle, lines = knowing_bundle(tmp_path, manifest(-1.0), familiar_within=0.01), list[str]()
    assert quiet_on(bundle, heads[:1], lines.append) == bundle.manifest.thresholds
    assert len(lines) == 6
    assert all("not analysed. Looks unlike all heads" in line for line in lines)
