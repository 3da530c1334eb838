"""Half precision for GPUs, and how much it or 8 bits may lose, which `trainer.bundles.eight_bits` makes for CPUs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, cast

import onnx

from trainer.bundles.export import quiet
from trainer.bundles.scans import Kept

Precision = Literal["fp32", "fp16", "int8"]

MOST_AUC_LOST, MOST_DICE_LOST = 0.01, 0.01
"""How much lower the AUC of slices and the pooled Dice of the validation scans may be than in single precision."""

CALIBRATION_SLICES = 64


def in_half(content: bytes) -> bytes:
    """An ONNX file that computes in half precision; its input and outputs stay single."""
    from onnxruntime.transformers.float16 import convert_float_to_float16
    from onnxruntime.transformers.onnx_model import OnnxModel

    model = onnx.load_from_string(content)
    _own_scales(model)
    with quiet("root"):
        model = convert_float_to_float16(model, keep_io_types=True)
        # The converter puts its casts at the end, behind what reads them.
        OnnxModel(model).topological_sort()
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())


def check_loss(precision: Precision, before: Kept, after: Kept) -> str:
    """Accept a precision by what it does on validation scans, and say so in one sentence.

    Raises
    ------
    ValueError
        It loses more than the bounds, or nothing could be measured.
    """
    pairs: Mapping[str, tuple[float | None, float | None, float]] = {
        "AUC": (before.auc, after.auc, MOST_AUC_LOST),
        "Dice": (before.dice, after.dice, MOST_DICE_LOST),
    }
    told = {name: cast(tuple[float, float, float], found) for name, found in pairs.items() if None not in found[:2]}
    if not told:
        raise ValueError(f"{precision} is refused: the validation scans allow no AUC and no Dice to compare")
    figures = ", ".join(f"{name} {was:.4f} to {now:.4f}" for name, (was, now, _) in told.items())
    bounds = ", ".join(f"{name} {most:g}" for name, (_, _, most) in told.items())
    if any(not was - now <= most for was, now, most in told.values()):
        raise ValueError(f"{precision} is refused: on the validation scans {figures}; at most {bounds} may be lost")
    return f"{precision} in place of fp32: on the validation scans {figures}; at most {bounds} was allowed to be lost."


def _own_scales(model: onnx.ModelProto) -> None:
    """Give every Resize its own scales: the converter names one cast for each reader after what is read."""
    shared = {tensor.name: tensor for tensor in model.graph.initializer}
    for number, node in enumerate(node for node in model.graph.node if node.op_type == "Resize"):
        if len(node.input) > 2 and node.input[2] in shared:
            own = onnx.TensorProto()
            own.CopyFrom(shared[node.input[2]])
            own.name = f"{own.name}_of_resize_{number}"
            node.input[2] = own.name
            model.graph.initializer.append(own)
    read = {name for node in model.graph.node for name in node.input}
    for tensor in shared.values():
        if tensor.name not in read:
            model.graph.initializer.remove(tensor)
