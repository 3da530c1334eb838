"""From a trained net to an ONNX file that honours the daemon's contract, and the proof that both say the same."""

from __future__ import annotations

import io
import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import onnx
import onnxruntime
import torch
from numpy.typing import NDArray
from torch import nn
from torch.export import Dim

from trainer.nets.registry import Task, entry_of
from triage.inference.manifest import ModelCard

OPSET = 18
PARITY_LIMIT = 1e-4
"""Largest difference between the logits of torch and of ONNX Runtime that an export may show.

As a share of the largest logit, or absolute where no logit exceeds 1: single precision keeps digits, not decimals.
"""

OUTPUTS: Mapping[Task, tuple[str, ...]] = {
    "masks": ("seg_logits",),
    "labels": ("logits",),
    "both": ("seg_logits", "cls_logits"),
    "scan": ("logits",),
}
"""What the outputs of the ONNX file are called; its one input is ``image``."""

PARITY_SLICES = 30
"""What `export_net` compares; more would only take longer."""

_BATCHES = (1, 3, PARITY_SLICES)
_MOST_SLICES = 4096


@dataclass(frozen=True, slots=True)
class Exported:
    """An ONNX file and the largest logit difference that was seen on real input."""

    content: bytes
    parity: float


@dataclass(frozen=True, slots=True)
class Nets:
    """Both nets as ONNX, with what the manifest says of them."""

    files: dict[str, bytes]
    classifier: ModelCard
    munet: ModelCard


def export_net(
    net: nn.Module, architecture: str, inputs: NDArray[np.float32], outputs: Sequence[str] | None = None
) -> Exported:
    """Export with a free batch size and check against torch at batches of 1, 3 and 30.

    The net is moved to the CPU and into evaluation mode.

    Parameters
    ----------
    net : nn.Module
        One of the registry, or one that wraps it and gives the same.
    architecture : str
        Its name in the registry.
    inputs : ndarray of float32, shape (slice, window, row, column)
        Slices as the nets see them, 30 or more: logits of noise prove little. For a net that reads scans they
        stand for one scan.
    outputs : sequence of str, or None
        Their names, where a wrapper gives something else than the net.

    Raises
    ------
    ValueError
        Fewer than 30 slices.
    RuntimeError
        The two differ by more than ``PARITY_LIMIT``.
    """
    names = list(OUTPUTS[entry_of(architecture).task] if outputs is None else outputs)
    if len(inputs) < PARITY_SLICES:
        raise ValueError(f"the parity check needs {PARITY_SLICES} slices, not {len(inputs)}")
    net = net.eval().cpu()
    net.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]  # missing in the stubs of torch
    example = torch.from_numpy(inputs[:2])
    with quiet("torch.onnx", "onnxscript", "torch.export"):
        program = torch.onnx.export(
            net,
            (example,),
            dynamo=True,
            opset_version=OPSET,
            input_names=["image"],
            output_names=names,
            dynamic_shapes=({0: Dim("b", min=1, max=_MOST_SLICES)},),
            external_data=False,
            verbose=False,
        )
    if program is None:
        raise RuntimeError(f"torch gave no ONNX program for {architecture}")
    content = _bytes(program.model_proto)
    parity, largest = logit_differences(net, content, inputs)
    limit = PARITY_LIMIT * max(1.0, largest)
    if not parity <= limit:
        raise RuntimeError(f"{architecture}: torch and ONNX Runtime differ by {parity:.2e}, more than {limit:.2e}")
    return Exported(content, parity)


def _bytes(model: onnx.ModelProto) -> bytes:
    """The file without the stack traces that the exporter leaves in it: they name folders of the builder's machine."""
    for item in (model.graph, *model.graph.node, *model.graph.input, *model.graph.output, *model.graph.value_info):
        del item.metadata_props[:]
    for node in model.graph.node:
        node.doc_string = ""
    onnx.checker.check_model(model)
    buffer = io.BytesIO()
    onnx.save_model(model, buffer)
    return buffer.getvalue()


def logit_differences(net: nn.Module, content: bytes, inputs: NDArray[np.float32]) -> tuple[float, float]:
    """Largest difference of a logit between torch and an ONNX file, and the largest logit that is no constant."""
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    worst = largest = 0.0
    for count in _BATCHES:
        with torch.no_grad():
            answer = net(torch.from_numpy(inputs[:count]))
        expected = answer if isinstance(answer, tuple) else (answer,)
        for ours, theirs in zip(expected, session.run(None, {"image": inputs[:count]}), strict=True):
            worst = max(worst, float(np.abs(ours.numpy() - theirs).max()))
            per_class = ours.transpose(0, 1).flatten(1)
            varying = per_class[per_class.amax(dim=1) > per_class.amin(dim=1)]
            largest = max(largest, float(varying.abs().max()) if varying.numel() else 0.0)
    return worst, largest


@contextmanager
def quiet(*names: str) -> Iterator[None]:
    """Neither warnings nor what these loggers say below an error: it speaks to the developers of the exporters."""
    loggers = [logging.getLogger(name) for name in names]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
