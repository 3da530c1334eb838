"""Nets in 8 bits: the same names and shapes, nearly the same answers, and every convolution but the heads in 8 bits."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from torch import nn

from trainer.bundles.eight_bits import in_eight_bits
from trainer.bundles.export import export_net
from trainer.bundles.rewrites import double_by_copies, doubled_sides, enlarge_later, without_flat_slopes
from trainer.nets.registry import build_net

SIDE = 64
HEADS, PARTS = 4, 4
"""Of a MUNet with five stages: its mask heads, and the 1x1 convolutions that are taken apart."""


def slices(count: int, seed: int = 3, channels: int = 3) -> NDArray[np.float32]:
    """Smooth pictures from 0 to 1, shape (slice, channel, row, column), so that activations are not those of noise."""
    rng = np.random.default_rng(seed)
    coarse = rng.random((count, channels, SIDE // 8, SIDE // 8), dtype=np.float32)
    noise = 0.05 * rng.random((count, channels, SIDE, SIDE), dtype=np.float32)
    smooth = np.kron(coarse, np.ones((8, 8), np.float32)) + noise
    return np.asarray(np.clip(smooth, 0, 1), np.float32)


def taught(architecture: str, options: dict[str, object], channels: int = 3) -> nn.Module:
    """A net whose norms have seen the pictures and whose channels differ, as they do after training."""
    torch.manual_seed(11)
    net = build_net(architecture, options, in_channels=channels)
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, 0.0, 0.2)
    net.train()
    with torch.no_grad():
        for start in range(0, 60, 10):
            net(torch.from_numpy(slices(10, start, channels)))
    return net.eval()


@pytest.fixture(scope="module")
def munet() -> bytes:
    return export_net(taught("munet", {"widths": [8, 16, 16, 24, 32]}), "munet", slices(30)).content


@pytest.fixture(scope="module")
def small_munet(munet: bytes) -> bytes:
    return in_eight_bits(munet, [slices(10, 1), slices(10, 2)])


def said(content: bytes, image: NDArray[np.float32]) -> dict[str, NDArray[np.float32]]:
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    names = [one.name for one in session.get_outputs()]
    return dict(zip(names, session.run(names, {"image": image}), strict=True))


def kinds_as_run(content: bytes, folder: Path) -> Counter[str]:
    """How many nodes of each kind ONNX Runtime makes of a file on a CPU."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    options.optimized_model_filepath = str(folder / "as-run.onnx")
    onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    return Counter(node.op_type for node in onnx.load(str(folder / "as-run.onnx")).graph.node)


def kinds(content: bytes) -> Counter[str]:
    return Counter(node.op_type for node in onnx.load_from_string(content).graph.node)


def weight_bytes(content: bytes) -> int:
    return sum(
        len(tensor.raw_data) for tensor in onnx.load_from_string(content).graph.initializer if len(tensor.dims) == 4
    )


def nearly(small: NDArray[np.float32], whole: NDArray[np.float32]) -> bool:
    """Within a twentieth of the spread in the mean, and something was lost at all."""
    lost = float(np.abs(small - whole).mean())
    return 0 < lost < 0.05 * float(whole.std())


def test_names_shapes_and_any_number_of_slices_stay(munet: bytes, small_munet: bytes) -> None:
    for count in (1, 3, 30):
        whole, small = said(munet, slices(count)), said(small_munet, slices(count))
        assert {name: value.shape for name, value in small.items()} == {k: v.shape for k, v in whole.items()}
        assert all(value.dtype == np.float32 for value in small.values())


def test_it_says_nearly_the_same_in_less_room(munet: bytes, small_munet: bytes) -> None:
    whole, small = said(munet, slices(12, 7)), said(small_munet, slices(12, 7))
    assert nearly(small["seg_logits"], whole["seg_logits"])
    assert np.abs(small["cls_logits"] - whole["cls_logits"]).mean() < 0.1 * whole["cls_logits"].std()
    assert weight_bytes(small_munet) < 0.3 * weight_bytes(munet)


def test_every_convolution_but_the_heads_runs_in_8_bits(munet: bytes, small_munet: bytes, tmp_path: Path) -> None:
    as_run = kinds_as_run(small_munet, tmp_path)
    convolutions = kinds(munet)["Conv"] + PARTS
    assert (as_run["QLinearConv"], as_run["Conv"]) == (convolutions - HEADS, HEADS)
    assert as_run["LeakyRelu"] == as_run["Relu"] == 0
    assert as_run["QuantizeLinear"] == 1  # the picture; nothing goes back to single precision and returns


def test_weights_leave_room_for_processors_that_would_overflow(small_munet: bytes) -> None:
    tensors = onnx.load_from_string(small_munet).graph.initializer
    weights = [numpy_helper.to_array(t) for t in tensors if t.data_type == TensorProto.INT8 and len(t.dims) == 4]
    assert weights
    assert all(np.abs(value.astype(np.int16)).max() <= 64 for value in weights)
    assert all(np.abs(value.astype(np.int16)).reshape(len(value), -1).max(axis=1).min() >= 63 for value in weights)


def test_a_classifier_that_reads_a_slice_between_its_neighbours_keeps_its_outputs_at_any_batch() -> None:
    options: dict[str, object] = {"widths": [8, 8, 16, 16], "pyramid": 8, "strongest": 4}
    net = taught("slice_classifier", options, channels=9)
    whole = export_net(net, "slice_classifier", slices(30, channels=9)).content
    small = in_eight_bits(whole, [slices(10, 1, channels=9), slices(7, 2, channels=9)])
    for count in (1, 9):
        assert said(small, slices(count, channels=9))["logits"].shape == (count, 6)
    judged = slices(20, 9, channels=9)
    assert nearly(said(small, judged)["logits"], said(whole, judged)["logits"])


def test_ranges_come_from_somewhere() -> None:
    with pytest.raises(ValueError, match="8 bits need slices"):
        in_eight_bits(b"", [])


def test_what_is_convolved_before_it_is_enlarged_is_the_same(munet: bytes) -> None:
    model = onnx.shape_inference.infer_shapes(onnx.load_from_string(munet))
    enlarge_later(model.graph)
    onnx.checker.check_model(model)
    after = bytes(model.SerializeToString())
    assert kinds(after)["Conv"] == kinds(munet)["Conv"] + PARTS
    assert kinds(after)["Concat"] == kinds(munet)["Concat"] - PARTS
    whole, same = said(munet, slices(3)), said(after, slices(3))
    for name, value in whole.items():
        np.testing.assert_allclose(same[name], value, atol=1e-5 * float(np.abs(value).max()))


def test_leaky_relus_of_hardly_any_slope_become_relus() -> None:
    nodes = [
        helper.make_node("LeakyRelu", ["image"], ["a"], name="flat", alpha=1e-3),
        helper.make_node("LeakyRelu", ["a"], ["b"], name="steep", alpha=0.1),
        helper.make_node("LeakyRelu", ["b"], ["c"], name="usual"),
    ]
    graph = helper.make_graph(nodes, "slopes", [], [])
    without_flat_slopes(graph)
    assert [node.op_type for node in graph.node] == ["Relu", "LeakyRelu", "LeakyRelu"]
    assert [len(node.attribute) for node in graph.node] == [0, 1, 0]


def enlarging(coordinates: str = "asymmetric") -> onnx.ModelProto:
    """A picture in 8 bits, enlarged between two changes of scale as the quantiser leaves it."""
    scale, zero, twice = np.float32(1 / 255), np.uint8(3), np.array([1, 1, 2, 2], np.float32)
    values = {"scale": scale, "zero": zero, "twice": twice}
    nodes = [
        helper.make_node("QuantizeLinear", ["image", "scale", "zero"], ["a"], name="first"),
        helper.make_node("DequantizeLinear", ["a", "scale", "zero"], ["b"], name="second"),
        helper.make_node(
            "Resize",
            ["b", "", "twice"],
            ["c"],
            name="enlarge",
            mode="nearest",
            nearest_mode="floor",
            coordinate_transformation_mode=coordinates,
        ),
        helper.make_node("QuantizeLinear", ["c", "scale", "zero"], ["d"], name="third"),
        helper.make_node("DequantizeLinear", ["d", "scale", "zero"], ["logits"], name="fourth"),
    ]
    graph = helper.make_graph(
        nodes,
        "by_hand",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["b", 3, 6, 5])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["b", 3, 12, 10])],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in values.items()],
    )
    return onnx.shape_inference.infer_shapes(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    )


def test_copies_enlarge_as_nearest_neighbours_do() -> None:
    model = enlarging()
    image = np.random.default_rng(5).random((4, 3, 6, 5), dtype=np.float32)
    before = said(bytes(model.SerializeToString()), image)["logits"]
    assert doubled_sides(model.graph) == {"enlarge": (3, 6, 5)}
    double_by_copies(model.graph, doubled_sides(model.graph))
    onnx.checker.check_model(model)
    assert "Resize" not in kinds(bytes(model.SerializeToString()))
    np.testing.assert_array_equal(said(bytes(model.SerializeToString()), image)["logits"], before)


def test_what_is_no_plain_doubling_is_left_alone() -> None:
    model = enlarging("half_pixel")
    double_by_copies(model.graph, doubled_sides(model.graph))
    assert "Resize" in kinds(bytes(model.SerializeToString()))
