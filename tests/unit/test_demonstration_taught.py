"""Nets of a bundle as a beginning: they answer as those that were exported, in use and while they learn."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from torch import nn

from tests.unit.test_demonstration_fitting import CLASSIFIER, DATA, MUNET, RASTER, plan_of
from trainer.bundles.export import export_net
from trainer.demonstration.fitting import Fitting
from trainer.demonstration.mirrored import Mirrored
from trainer.demonstration.protocol import FitSpec, load_protocol
from trainer.demonstration.stream import blocks, scan_input
from trainer.demonstration.taught import begun, unfolded
from trainer.demonstration.train import Machine, load_net, train_nets
from trainer.nets.registry import build_net
from trainer.phantom.stacks import StackBatch
from triage.domain.errors import TriageError
from triage.entrypoints.app import shipped_bundle
from triage.inference.bundle import load_bundle
from triage.inference.preprocess import channels_of

NETS = pytest.mark.parametrize("spec", [MUNET, CLASSIFIER], ids=lambda spec: spec.architecture)


@pytest.fixture(scope="module")
def made() -> StackBatch:
    return next(blocks(DATA, 6, None, RASTER, 0))


def exported(spec: FitSpec, made: StackBatch, *, mirrored: bool = False) -> tuple[nn.Module, bytes, list[np.ndarray]]:
    """A net with running statistics of its own, its file, and what it was shown."""
    torch.manual_seed(3)
    net = build_net(spec.architecture, spec.options, in_channels=channels_of(spec.reads))
    shown = [scan_input(stack, spec.reads, RASTER) for stack in made.hu]
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 2.0)
            nn.init.uniform_(module.bias, -1.0, 1.0)
            module.momentum = None
    with torch.no_grad():
        for one in shown:
            net.train()(torch.from_numpy(one))
    served = Mirrored(net) if mirrored else net
    return net, export_net(served, spec.architecture, np.concatenate(shown)).content, shown


def answer(net: nn.Module, shown: np.ndarray) -> torch.Tensor:
    with torch.no_grad():
        given = net(torch.from_numpy(shown))
    return given if isinstance(given, torch.Tensor) else given[0]


@pytest.mark.parametrize("mirrored", [False, True])
@NETS
def test_a_net_from_its_file_answers_as_before_in_use_and_while_it_learns(
    spec: FitSpec, mirrored: bool, made: StackBatch
) -> None:
    net, content, shown = exported(spec, made, mirrored=mirrored)
    again = build_net(spec.architecture, spec.options, in_channels=channels_of(spec.reads))
    again.load_state_dict(unfolded(spec, content, shown))
    torch.testing.assert_close(answer(again.eval(), shown[0]), answer(net.eval(), shown[0]), rtol=1e-3, atol=1e-3)
    together = np.concatenate(shown)
    used, learning = answer(again.eval(), together), answer(again.train(), together)
    assert (used - learning).abs().mean() < 0.2 * used.std()


def test_the_shipped_nets_are_read_back_whole() -> None:
    plan = load_protocol("demo_second")
    content = (shipped_bundle() / "munet.onnx").read_bytes()
    rng = np.random.default_rng(4)
    shown = rng.random((2, 9, 256, 256), np.float32)
    net = build_net("munet", plan.munet.options, in_channels=9)
    net.load_state_dict(unfolded(plan.munet, content, [shown]))
    served = onnxruntime.InferenceSession(content).run(None, {"image": shown})[0]
    np.testing.assert_allclose(answer(net.eval(), shown).numpy(), served, atol=2e-3)


def test_another_net_is_refused(made: StackBatch) -> None:
    _, content, shown = exported(CLASSIFIER, made)
    with pytest.raises(ValueError, match="does not hold the nets of this protocol: munet lacks stages"):
        unfolded(MUNET, content, shown)
    wider = replace(CLASSIFIER, options={**CLASSIFIER.options, "widths": [16, 8, 16, 16]})
    with pytest.raises(ValueError, match="slice_classifier lacks stem"):
        unfolded(wider, content, shown)


def test_nets_in_8_bits_are_refused() -> None:
    plan = load_protocol("demo_second")
    content = (shipped_bundle().with_name("demo-int8") / "munet.onnx").read_bytes()
    with pytest.raises(ValueError, match="munet lacks"):
        unfolded(plan.munet, content, [])


def test_a_protocol_and_its_bundle_belong_together(tmp_path: Path) -> None:
    plain, further = load_protocol("demo"), load_protocol("demo_second")
    assert begun(plain, None) == {}
    with pytest.raises(ValueError, match=r"begins from the bundle demo 0\.4\.0: give --begin-from"):
        begun(further, None)
    with pytest.raises(ValueError, match=r"begins from nothing, not from demo \d"):
        begun(plain, shipped_bundle())
    with pytest.raises(ValueError, match=r"begins from demo 0\.0\.1, not from demo \d"):
        begun(replace(further, begins_from="demo 0.0.1"), shipped_bundle())
    with pytest.raises(TriageError):
        begun(further, tmp_path)


def test_training_begins_from_what_it_is_given(made: StackBatch) -> None:
    net, content, shown = exported(CLASSIFIER, made)
    one = Fitting(CLASSIFIER, plan_of(CLASSIFIER))
    one.begin(unfolded(CLASSIFIER, content, shown))
    torch.testing.assert_close(answer(one.fitted().net, shown[0]), answer(net.eval(), shown[0]))
    assert one.state()["net"]["gain"].equal(net.state_dict()["gain"])


def test_nets_that_are_taught_no_further_answer_as_they_did(tmp_path: Path) -> None:
    version = load_bundle(shipped_bundle()).manifest.version
    plan = replace(load_protocol("demo_fourth"), begins_from=f"demo {version}")
    said: list[str] = []
    train_nets(plan, tmp_path, None, Machine(), said.append, shipped_bundle())
    assert said == [], "no block was made"
    shown = np.random.default_rng(5).random((2, 9, 256, 256), np.float32)
    served = onnxruntime.InferenceSession((shipped_bundle() / "munet.onnx").read_bytes()).run(None, {"image": shown})[0]
    np.testing.assert_allclose(answer(load_net(tmp_path / "nets" / "munet.pt").net, shown).numpy(), served, atol=2e-3)
