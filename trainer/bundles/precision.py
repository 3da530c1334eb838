"""Smaller numbers for the same nets: half precision for GPUs, 8 bits for CPUs, each only while it loses little."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal, cast

import numpy as np
import onnx
from numpy.typing import NDArray

from trainer.bundles.scans import Kept
from trainer.export import quiet

Precision = Literal["fp32", "fp16", "int8"]

MOST_AUC_LOST, MOST_DICE_LOST = 0.01, 0.01
"""How much lower the AUC of slices and the pooled Dice of the validation scans may be than in single precision."""

CALIBRATION_SLICES = 64
_QUANTISED = ("Conv", "ConvTranspose", "Gemm", "MatMul")
"""Where the work is. Everything else stays single: the constants of `wrappers.NOTHING` would crush the rest."""


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


def in_8_bits(content: bytes, slices: NDArray[np.float32], *, together: bool) -> bytes:
    """An ONNX file whose convolutions and products run in 8 bits, weights per channel, ranges from training slices.

    Parameters
    ----------
    slices : ndarray of float32, shape (slice, window, row, column)
        Of the training part, never of validation or test.
    together : bool
        They are one scan, for a net that reads scans.
    """
    from onnxruntime.quantization import QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    with TemporaryDirectory(prefix="trainer-") as folder, quiet("root"):
        plain, ready, small = (Path(folder) / name for name in ("plain.onnx", "ready.onnx", "small.onnx"))
        plain.write_bytes(content)
        quant_pre_process(str(plain), str(ready), skip_symbolic_shape=True)
        quantize_static(
            str(ready),
            str(small),
            _Reader(slices, len(slices) if together else 1),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=list(_QUANTISED),
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
        )
        model = onnx.load(str(small))
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


class _Reader:
    """Hands slices to the quantiser, a batch at a time."""

    def __init__(self, slices: NDArray[np.float32], batch: int) -> None:
        self._batches = iter(slices[start : start + batch] for start in range(0, len(slices), batch))

    def get_next(self) -> dict[str, NDArray[np.float32]] | None:
        """The next batch, or None after the last."""
        batch: Any = next(self._batches, None)
        return None if batch is None else {"image": batch}
