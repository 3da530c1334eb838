"""The distance that a classifier is given beside its logits: about 1 at home, far where it has never been."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from tests.familiar_models import knowing_bundle
from tests.onnx_models import BRAIN_HU, tiny_bundle, tiny_manifest, volume_of
from trainer.bundles.export import export_net
from trainer.demonstration.exams import ExamOrder, run_exam
from trainer.demonstration.familiar import FARTHEST, OUTPUTS, FamiliarClassifier, familiar, familiar_limit, statistics
from trainer.nets.slice_classifier import SliceClassifier
from triage.domain.errors import UnusableSeries
from triage.inference.bundle import CLASSIFIER
from triage.inference.predict import Predictor

SIZE = 64


def stacks(count: int = 6, seed: int = 3) -> list[NDArray[np.float32]]:
    """Scans of 10 slices: a bright ellipse of drawn size around drawn grey, with noise."""
    rng = np.random.default_rng(seed)
    axis = np.linspace(-1, 1, SIZE)
    made = []
    for _ in range(count):
        wide, tall = rng.uniform(0.6, 0.9, 2)
        radius = np.hypot(axis[:, None] / tall, axis[None] / wide)
        size = np.sin(np.linspace(0.4, 2.8, 10))[:, None, None]
        inside, rim = radius < 0.9 * size, np.abs(radius - 0.95 * size) < 0.05
        image = rng.uniform(0.3, 0.5) * inside + rim + rng.normal(0, 0.02, (10, SIZE, SIZE))
        made.append(np.repeat(image[:, None], 3, axis=1).astype(np.float32))
    return made


@pytest.fixture(scope="module")
def net() -> SliceClassifier:
    torch.manual_seed(5)
    return SliceClassifier(widths=(8, 8, 12, 16), pyramid=8).eval()


@pytest.fixture(scope="module")
def wrapped(net: SliceClassifier) -> FamiliarClassifier:
    return familiar(net, stacks())


@pytest.fixture(scope="module")
def exported(wrapped: FamiliarClassifier) -> bytes:
    return export_net(wrapped, "slice_classifier", np.concatenate(stacks()), OUTPUTS).content


def distances(wrapped: FamiliarClassifier, images: NDArray[np.float32]) -> NDArray[np.float32]:
    with torch.no_grad():
        found = wrapped(torch.from_numpy(images))[1]
    assert found.shape == (len(images), 1)
    return np.asarray(found[:, 0].numpy())


def test_the_logits_are_those_of_the_net(net: SliceClassifier, wrapped: FamiliarClassifier) -> None:
    images = torch.from_numpy(stacks()[0])
    with torch.no_grad():
        assert torch.equal(wrapped(images)[0], net(images))


def test_training_slices_have_a_root_mean_square_of_one(wrapped: FamiliarClassifier) -> None:
    found = distances(wrapped, np.concatenate(stacks()))
    assert np.sqrt(np.mean(found.astype(np.float64) ** 2)) == pytest.approx(1.0, rel=1e-3)


def test_other_scans_of_the_kind_are_near_and_other_things_far(wrapped: FamiliarClassifier) -> None:
    near = distances(wrapped, np.concatenate(stacks(seed=4)))
    assert np.median(near) < 2.0
    assert distances(wrapped, 8.0 * stacks(1, seed=4)[0][2:8]).min() > 2.0 * near.max()


class Greys(nn.Module):
    """Sees the mean of each window and nothing else."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(1))

    def deep(self, image: Tensor) -> Tensor:
        return self.scale * image[:, :, ::16, ::16]

    def forward(self, image: Tensor) -> Tensor:
        return self.scale * image[:, :, 0, 0]


def test_what_breaks_a_habit_is_farther_than_what_overdoes_it() -> None:
    """Two windows that rise and fall together: (2, 2) is rare and (2, -2) was never seen."""
    together = [[1.0, 0.9, 0.0], [0.9, 1.0, 0.0], [0.0, 0.0, 1.0]]
    greys = np.random.default_rng(1).multivariate_normal([5.0, 0.0, -3.0], together, 4000).astype(np.float32)
    flat = np.ones((1, 1, 32, 32), np.float32)
    wrapped = familiar(Greys(), [greys[:, :, None, None] * flat])
    asked = np.array([[5, 0, -3], [7, 2, -3], [7, -2, -3]], np.float32)
    middle, along, across = distances(wrapped, asked[:, :, None, None] * flat)
    assert middle < 0.1
    assert 0.8 < along < 2.0
    assert across > 2.5 * along


def test_the_precision_is_the_scaled_inverse_of_a_regular_covariance(net: SliceClassifier) -> None:
    mean, precision = statistics(net, stacks())
    assert mean.shape == (16,)
    np.testing.assert_allclose(precision, precision.T, rtol=1e-6, atol=1e-6 * np.abs(precision).max())
    values = np.linalg.eigvalsh(precision)
    assert values.min() > 0.0
    with torch.no_grad():
        seen = net.deep(torch.from_numpy(np.concatenate(stacks()))).mean(dim=(2, 3)).double().numpy()
    np.testing.assert_allclose(mean, seen.mean(axis=0), atol=1e-5)
    spread = np.cov(seen.T, bias=True)
    assert np.trace(spread @ precision) == pytest.approx(len(mean), rel=1e-3)
    assert values.max() / values.min() < 1e3  # no channel that never varies decides alone


def test_it_does_not_matter_how_slices_are_cut_into_stacks(
    net: SliceClassifier,
) -> None:
    whole = statistics(net, stacks(2))
    tensors = statistics(net, [torch.from_numpy(one) for stack in stacks(2) for one in np.split(stack, 2)])
    for one, other in zip(whole, tensors, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-4 * np.abs(one).max())


def test_a_net_that_was_left_in_training_is_not_changed() -> None:
    torch.manual_seed(5)
    net = SliceClassifier(widths=(8, 8, 12, 16), pyramid=8).train()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    familiar(net, stacks(2))
    assert not net.training
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())


@pytest.mark.parametrize("few", [[], [np.zeros((1, 3, SIZE, SIZE), np.float32)]], ids=["none", "one"])
def test_too_few_slices_are_refused(net: SliceClassifier, few: list[NDArray[np.float32]]) -> None:
    with pytest.raises(ValueError, match="two or more are needed"):
        familiar(net, few)


def test_slices_that_are_all_alike_are_refused(net: SliceClassifier) -> None:
    with pytest.raises(ValueError, match="nothing to be familiar with"):
        familiar(net, [np.zeros((8, 3, SIZE, SIZE), np.float32)])


def test_the_limit_is_twice_the_farthest_calibration_exam() -> None:
    assert familiar_limit([0.7, math.nan, 1.2, 0.9]) == pytest.approx(1.2 * FARTHEST)
    with pytest.raises(ValueError, match="no calibration exam has a distance"):
        familiar_limit([math.nan])


def test_the_file_holds_the_net_once_and_no_product_that_smaller_precisions_would_crush(
    net: SliceClassifier, exported: bytes
) -> None:
    plain = export_net(net, "slice_classifier", np.concatenate(stacks())).content
    with_distance, without = (onnx.load_from_string(content).graph.node for content in (exported, plain))
    work = ("Conv", "Gemm", "MatMul")
    assert sum(n.op_type in work for n in with_distance) == sum(n.op_type in work for n in without)


def test_the_daemon_serves_what_was_exported(exported: bytes, tmp_path: Path) -> None:
    """Made here, bounded by its own distance, refused by the code of the daemon."""
    volume = volume_of(np.full((8, SIZE, SIZE), BRAIN_HU, np.float32), None, 5.0, (1.0, 1.0))
    manifest, files = tiny_manifest(SIZE), {CLASSIFIER: exported}
    tiny_bundle(tmp_path / "open", manifest, files)
    gate = Predictor.load(tmp_path / "open", "cpu", threads=1).gate(volume)
    assert gate.distances is not None
    nearest, farthest = float(gate.distances.min()), float(gate.distances.max())
    tiny_bundle(tmp_path / "wide", manifest, files, familiar_within=1.1 * farthest)
    Predictor.load(tmp_path / "wide", "cpu", threads=1).gate(volume)
    tiny_bundle(tmp_path / "narrow", manifest, files, familiar_within=0.9 * nearest)
    with pytest.raises(UnusableSeries, match="Looks unlike all heads"):
        Predictor.load(tmp_path / "narrow", "cpu", threads=1).gate(volume)


def test_a_made_exam_carries_its_distance_and_its_refusal(tmp_path: Path) -> None:
    knowing_bundle(tmp_path / "knowing", tiny_manifest(), familiar_within=0.01)
    tiny_bundle(tmp_path / "plain", tiny_manifest())
    order = ExamOrder(77, bleeding=False, anatomy=None, bundle=tmp_path / "knowing", every_slice=False)
    refused = run_exam(order)
    assert refused.refused.startswith("Looks unlike all heads that the model learned from")
    assert 0.01 < refused.distance < 10.0
    assert 0.0 <= refused.score <= 1.0  # measured all the same
    passed = run_exam(replace(order, bundle=tmp_path / "plain"))
    assert passed.refused == ""
    assert math.isnan(passed.distance)
