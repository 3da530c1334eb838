"""Nets for CPUs whose convolutions run in 8 bits from end to end, from an ONNX file in single precision.

A convolution in 8 bits is only fast where its neighbours speak 8 bits as well: each step back to single precision
costs about what the convolution saves. So everything up to the last convolution of a path is quantised, what only
moves numbers included, and everything behind it, where the logits are made, stays single.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import onnx
from numpy.typing import NDArray

from trainer.bundles.export import quiet
from trainer.bundles.rewrites import double_by_copies, doubled_sides, enlarge_later, without_flat_slopes

_COMPUTING = ("Conv", "ConvTranspose")
_QUANTISED = (*_COMPUTING, "Relu", "LeakyRelu", "Add", "Concat", "Resize", "MaxPool", "GlobalAveragePool")


def in_eight_bits(content: bytes, calibration: Iterable[NDArray[np.float32]]) -> bytes:
    """An ONNX file with the same names and shapes that computes in 8 bits up to its last convolutions.

    Weights are per channel and symmetric in 7 of the 8 bits, so that no product overflows on processors without
    VNNI and every processor says the same; activations are unsigned, their ranges the smallest and largest values
    of the calibration.

    Parameters
    ----------
    content : bytes
        What `trainer.bundles.export.export_net` gives: input ``image``, free batch, batch norm folded.
    calibration : iterable of ndarray of float32, shape (slice, window, row, column)
        Batches of what the net will see, of the training part and never of validation or test.

    Raises
    ------
    ValueError
        No batch was given.
    """
    from onnxruntime.quantization import QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    batches = iter(calibration)
    first = next(batches, None)
    if first is None:
        raise ValueError("8 bits need slices to take their ranges from")
    with TemporaryDirectory(prefix="trainer-") as folder, quiet("root"):
        plain, ready, small = (Path(folder) / name for name in ("plain.onnx", "ready.onnx", "small.onnx"))
        plain.write_bytes(content)
        quant_pre_process(str(plain), str(ready), skip_symbolic_shape=True)
        model = onnx.load(str(ready))
        without_flat_slopes(model.graph)
        enlarge_later(model.graph)
        model = onnx.shape_inference.infer_shapes(model)
        sides = doubled_sides(model.graph)
        onnx.save_model(model, str(ready))
        quantize_static(
            str(ready),
            str(small),
            _Reader(first, batches),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=list(_QUANTISED),
            nodes_to_exclude=_behind_the_last_convolution(model.graph),
            per_channel=True,
            reduce_range=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
        )
        model = onnx.load(str(small))
    double_by_copies(model.graph, sides)
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())


def _behind_the_last_convolution(graph: onnx.GraphProto) -> list[str]:
    """Names of the nodes from which no further convolution is reached: the heads and all that follows them."""
    leading: set[str] = set()
    found: list[str] = []
    for node in reversed(graph.node):
        if leading.isdisjoint(node.output):
            found.append(node.name)
        if node.op_type in _COMPUTING or not leading.isdisjoint(node.output):
            leading.update(node.input)
    return found


class _Reader:
    """Hands batches to the quantiser."""

    def __init__(self, first: NDArray[np.float32], rest: Iterator[NDArray[np.float32]]) -> None:
        self._first: NDArray[np.float32] | None = first
        self._rest = rest

    def get_next(self) -> dict[str, NDArray[np.float32]] | None:
        """The next batch, or None after the last."""
        batch, self._first = self._first, next(self._rest, None)
        return None if batch is None else {"image": batch}
