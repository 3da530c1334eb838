"""Nets of a bundle as a beginning: what its ONNX files hold, put back into nets that can learn on.

The files are enough, so no training has to be kept for years. Where a batch norm was folded into the convolution before
it, a new one is set to what it would have measured: the net answers as before, in training as in use.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import numpy_helper
from torch import Tensor, nn

from trainer.demonstration.protocol import FitSpec, Protocol
from trainer.demonstration.stream import scan_input
from trainer.demonstration.unseen import other_stacks
from trainer.nets.registry import build_net
from triage.inference.bundle import CLASSIFIER, SEGMENTER, load_bundle
from triage.inference.preprocess import channels_of

_WRAPPED = "net."
"""What each wrapper puts before the names of the weights, see `Mirrored` and `FamiliarClassifier`."""


def begun(plan: Protocol, folder: Path | None) -> dict[str, dict[str, Tensor]]:
    """State of each net, by its role, that the protocol begins from; none where nets begin from random weights.

    Raises
    ------
    ValueError
        The protocol begins from a bundle and none is given, or none and one is; or the bundle has another name or
        version, or holds other nets, or nets in 8 bits.
    TriageError
        The bundle cannot be read.
    """
    if folder is None:
        if plan.begins_from:
            raise ValueError(f"the protocol {plan.name} begins from the bundle {plan.begins_from}: give --begin-from")
        return {}
    bundle = load_bundle(folder)
    if (given := f"{bundle.name} {bundle.manifest.version}") != plan.begins_from:
        raise ValueError(f"the protocol {plan.name} begins from {plan.begins_from or 'nothing'}, not from {given}")
    few = other_stacks(plan, None)
    found = {}
    for role, spec, name in (("slice_classifier", plan.slice_classifier, CLASSIFIER), ("munet", plan.munet, SEGMENTER)):
        shown = [scan_input(hu, spec.reads, plan.preprocessing) for hu in few]
        found[role] = unfolded(spec, (bundle.path / name).read_bytes(), shown)
    return found


def unfolded(spec: FitSpec, content: bytes, slices: Sequence[np.ndarray]) -> dict[str, Tensor]:
    """The state of the net that an ONNX file was exported from, or of one that answers as it does.

    Parameters
    ----------
    slices : sequence of ndarray of float32, shape (slice, channel, row, column)
        Which folded batch norms are set by.

    Raises
    ------
    ValueError
        The file holds another net, or one in 8 bits.
    """
    held = {
        _bare(entry.name): torch.from_numpy(np.array(numpy_helper.to_array(entry)))
        for entry in onnx.load_from_string(content).graph.initializer
    }
    net = build_net(spec.architecture, spec.options, in_channels=channels_of(spec.reads))
    folded = {
        name: norm
        for name, norm in net.named_modules()
        if isinstance(norm, nn.BatchNorm2d) and f"{name}.weight" not in held
    }
    state = {}
    for name, value in net.state_dict().items():
        if name.rpartition(".")[0] in folded or name.endswith("num_batches_tracked"):
            state[name] = value
        elif name not in held or held[name].shape != value.shape:
            raise ValueError(f"the bundle does not hold the nets of this protocol: {spec.architecture} lacks {name}")
        else:
            state[name] = held[name]
    net.load_state_dict(state)
    _set_norms(net, {norm: held[_bias_of(name)] for name, norm in folded.items()}, slices)
    return net.state_dict()


def _bare(name: str) -> str:
    """The name of a weight in its own net, whatever wrapped that for the export."""
    while name.startswith(_WRAPPED):
        name = name.removeprefix(_WRAPPED)
    return name


def _bias_of(norm: str) -> str:
    """Where the exporter keeps the bias of the convolution right before a norm, into which the norm was folded."""
    before, _, place = norm.rpartition(".")
    return f"{before}.{int(place) - 1}.weight_bias"


def _set_norms(net: nn.Module, biases: Mapping[nn.BatchNorm2d, Tensor], slices: Sequence[np.ndarray]) -> None:
    """Let each norm add its bias and nothing else, and call what comes in by its true mean and variance."""
    for norm, bias in biases.items():
        _settle(norm, torch.zeros_like(bias), torch.ones_like(bias), bias)
    sums = {norm: torch.zeros(3, norm.num_features, dtype=torch.float64) for norm in biases}

    def watch(norm: nn.Module, given: tuple[Tensor, ...]) -> None:
        if isinstance(norm, nn.BatchNorm2d):
            x = given[0].double()
            count = torch.full((norm.num_features,), x.numel() / norm.num_features, dtype=torch.float64)
            sums[norm] += torch.stack([count, x.sum(dim=(0, 2, 3)), x.square().sum(dim=(0, 2, 3))])

    hooks = [norm.register_forward_pre_hook(watch) for norm in biases]
    with torch.no_grad():
        for shown in slices:
            net.eval()(torch.from_numpy(shown))
    for hook in hooks:
        hook.remove()
    for norm, (count, total, squares) in sums.items():
        mean = total / count
        _settle(norm, mean.float(), (squares / count - mean.square()).clamp_min(1e-6).float(), biases[norm])


def _settle(norm: nn.BatchNorm2d, mean: Tensor, variance: Tensor, bias: Tensor) -> None:
    """A norm with these statistics whose output is its input plus ``bias``."""
    with torch.no_grad():
        norm.running_mean, norm.running_var = mean.clone(), variance.clone()
        norm.weight.copy_((variance + norm.eps).sqrt())
        norm.bias.copy_(mean + bias)
