"""Every net of the registry as ONNX: the same logits as torch for one slice, a few and a scan.

Random weights and small slices: the graph of a net, its depth and its widths are those of the paper, and nothing in
any of them depends on the number of rows and columns. Only the paper's own 256 or 512 would cost minutes each here.
"""

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from trainer.bundles.export import OUTPUTS, PARITY_LIMIT, export_net
from trainer.nets.registry import NETS, build_net

SMALL = {
    "munet": {"widths": (8, 8, 16, 16, 32)},
    "light_classifier": {"widths": (8, 16), "bottleneck": 16},
    "d_unet": {"widths": (8, 16), "bottleneck": 16},
    "denseunet": {"growth": 4, "depth": 2, "layers": 2, "stem": 8},
    "gate_2p5d": {"widths": (8, 8, 16, 16), "width": 16, "heads": 2},
}
"""One net of each task, and one with a pooled map."""


def slices(name: str, count: int = 30) -> NDArray[np.float32]:
    """As small as every net of the registry takes them."""
    return np.random.default_rng(7).random((count, NETS[name].in_channels, 32, 32), dtype=np.float32)


def stirred(net: nn.Module) -> nn.Module:
    """As after some training: norms with statistics of their own, no parameter left at 0 or 1."""
    with torch.no_grad():
        for module in net.modules():
            if isinstance(module, nn.BatchNorm2d):
                assert module.running_mean is not None
                assert module.running_var is not None
                module.running_mean.normal_(std=0.1)
                module.running_var.uniform_(0.7, 1.4)
        for name, parameter in net.named_parameters():
            if name.endswith(("bias", "distance")):
                parameter.normal_(std=0.05)
    return net


def check(name: str, options: dict[str, object], inputs: NDArray[np.float32]) -> None:
    """Export, then compare at 1, 3 and 30 slices apart from what the exporter itself has checked."""
    torch.manual_seed(11)
    net = stirred(build_net(name, options))
    exported = export_net(net, name, inputs)
    assert exported.parity <= 1e-4
    model = onnx.load_from_string(exported.content)
    assert [i.name for i in model.graph.input] == ["image"]
    assert model.graph.input[0].type.tensor_type.shape.dim[0].dim_param
    session = onnxruntime.InferenceSession(exported.content, providers=["CPUExecutionProvider"])
    names = OUTPUTS[NETS[name].task]
    assert tuple(o.name for o in session.get_outputs()) == names
    for count in (1, 3, 30):
        part = inputs[:count]
        with torch.no_grad():
            given = net(torch.from_numpy(part))
        for ours, theirs in zip(
            given if isinstance(given, tuple) else (given,), session.run(None, {"image": part}), strict=True
        ):
            assert theirs.shape == tuple(ours.shape)
            np.testing.assert_allclose(theirs, ours.numpy(), atol=1e-4, rtol=0)


@pytest.mark.parametrize("name", SMALL)
def test_a_net_of_each_task_says_the_same_in_onnx(name: str) -> None:
    check(name, SMALL[name], slices(name))


@pytest.mark.slow
@pytest.mark.parametrize("name", NETS)
def test_every_net_at_the_width_of_its_paper_says_the_same_in_onnx(name: str) -> None:
    check(name, {}, slices(name))


def test_a_scan_of_any_length_is_one_batch() -> None:
    """The gate's answer for a slice depends on the scan, so its batch can be no chunk: thin slices are many."""
    torch.manual_seed(11)
    net = stirred(build_net("gate_2p5d", SMALL["gate_2p5d"]))
    session = onnxruntime.InferenceSession(export_net(net, "gate_2p5d", slices("gate_2p5d")).content)
    for count in (1, 2, 180):
        scan = slices("gate_2p5d", count)
        with torch.no_grad():
            ours = net(torch.from_numpy(scan)).numpy()
        (theirs,) = session.run(["logits"], {"image": scan})
        np.testing.assert_allclose(theirs, ours, atol=1e-4, rtol=0)


def test_channels_and_classes_are_those_of_the_built_net() -> None:
    net = build_net("d_unet", SMALL["d_unet"], in_channels=2, classes=6)
    inputs = np.random.default_rng(3).random((30, 2, 32, 32), dtype=np.float32)
    session = onnxruntime.InferenceSession(export_net(net, "d_unet", inputs).content)
    assert session.run(None, {"image": inputs[:4]})[0].shape == (4, 6, 32, 32)


def test_too_few_slices_prove_nothing() -> None:
    with pytest.raises(ValueError, match="needs 30 slices, not 4"):
        export_net(build_net("d_unet", SMALL["d_unet"]), "d_unet", slices("d_unet", 4))
    with pytest.raises(ValueError, match="no net is called 'vgg'"):
        export_net(nn.Identity(), "vgg", slices("d_unet"))


class Restless(nn.Module):
    """Says something else every time it is asked, which no ONNX file can."""

    def __init__(self, step: float) -> None:
        super().__init__()
        self.body = nn.Conv2d(1, 1, 1)
        self.step, self.asked = step, 0

    def forward(self, image: Tensor) -> Tensor:
        if not torch.compiler.is_exporting():
            self.asked += 1
        out: Tensor = self.body(image) + self.step * self.asked
        return out


def test_an_onnx_file_that_says_something_else_is_refused() -> None:
    with pytest.raises(RuntimeError, match="light_unet: torch and ONNX Runtime differ by"):
        export_net(Restless(3 * PARITY_LIMIT), "light_unet", slices("light_unet"))
    assert export_net(Restless(0.0), "light_unet", slices("light_unet")).parity <= PARITY_LIMIT


def test_the_limit_grows_with_logits_above_one() -> None:
    """Single precision cannot hold 1e-4 beside logits of 1000; what it loses there changes no probability."""
    net = Restless(3 * PARITY_LIMIT)
    nn.init.constant_(net.body.bias, 1000.0)
    exported = export_net(net, "light_unet", slices("light_unet"))
    assert PARITY_LIMIT < exported.parity < 1000 * PARITY_LIMIT


def test_the_file_names_nothing_of_the_machine_that_made_it() -> None:
    content = export_net(build_net("d_unet", SMALL["d_unet"]), "d_unet", slices("d_unet")).content
    assert b"trainer/nets" not in content
    assert b"site-packages" not in content
