"""Half precision, and how much smaller numbers may lose."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from trainer.bundles.precision import MOST_AUC_LOST, MOST_DICE_LOST, check_loss, in_half
from trainer.bundles.scans import Kept
from trainer.bundles.wrappers import NOTHING

SIZE = 16


def slices(count: int = 12) -> NDArray[np.float32]:
    return np.random.default_rng(3).random((count, 3, SIZE, SIZE), dtype=np.float32)


def net() -> bytes:
    """Two convolutions, two resizes that share their scales, and planes of `NOTHING` beside what was found."""
    rng = np.random.default_rng(5)
    half, twice = np.array([1, 1, 0.5, 0.5], np.float32), np.array([1, 1, 2, 2], np.float32)
    constants = {
        "first": rng.normal(0, 0.5, (8, 3, 3, 3)).astype(np.float32),
        "second": rng.normal(0, 0.5, (1, 8, 3, 3)).astype(np.float32),
        "half": half,
        "twice": twice,
        "nothing": np.full((1, 1, SIZE, SIZE), NOTHING, np.float32),
        "zero": np.float32(0.0),
    }
    nodes = [
        helper.make_node("Conv", ["image", "first"], ["a"], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["a"], ["b"]),
        helper.make_node("Resize", ["b", "", "half"], ["c"], mode="linear"),
        helper.make_node("Resize", ["c", "", "twice"], ["d"], mode="linear"),
        helper.make_node("Resize", ["d", "", "half"], ["e"], mode="linear"),
        helper.make_node("Resize", ["e", "", "twice"], ["f"], mode="linear"),
        helper.make_node("Conv", ["f", "second"], ["found"], pads=[1, 1, 1, 1]),
        helper.make_node("Mul", ["found", "zero"], ["empty"]),
        helper.make_node("Add", ["empty", "nothing"], ["none"]),
        helper.make_node("Concat", ["found", "none"], ["logits"], axis=1),
    ]
    graph = helper.make_graph(
        nodes,
        "by_hand",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["b", 3, SIZE, SIZE])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["b", 2, SIZE, SIZE])],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    return bytes(model.SerializeToString())


def said(content: bytes, image: NDArray[np.float32]) -> NDArray[np.float32]:
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    (answer,) = session.run(["logits"], {"image": image})
    return np.asarray(answer)


def weights(content: bytes) -> set[int]:
    return {tensor.data_type for tensor in onnx.load_from_string(content).graph.initializer if len(tensor.dims) == 4}


def test_half_precision_says_nearly_the_same_and_takes_and_gives_single() -> None:
    small = in_half(net())
    answer, expected = said(small, slices()), said(net(), slices())
    assert answer.dtype == np.float32
    np.testing.assert_allclose(answer[:, 0], expected[:, 0], atol=0.05)
    assert (answer[:, 1] == NOTHING).all()
    assert weights(small) == {TensorProto.FLOAT16}


def test_a_loss_within_the_bounds_is_accepted_and_said() -> None:
    sentence = check_loss("int8", Kept(0.95, 0.70), Kept(0.945, 0.705))
    assert sentence.startswith("int8 in place of fp32: on the validation scans AUC 0.9500 to 0.9450, Dice 0.7000")
    assert f"AUC {MOST_AUC_LOST:g}, Dice {MOST_DICE_LOST:g}" in sentence
    assert "Dice" not in check_loss("fp16", Kept(0.95, None), Kept(0.95, None))


@pytest.mark.parametrize("after", [Kept(0.93, 0.70), Kept(0.95, 0.68), Kept(float("nan"), 0.70), Kept(0.5, 0.0)])
def test_a_loss_beyond_either_bound_is_refused_in_one_sentence(after: Kept) -> None:
    with pytest.raises(
        ValueError, match=r"int8 is refused: on the validation scans AUC 0.9500 to .*may be lost"
    ) as told:
        check_loss("int8", Kept(0.95, 0.70), after)
    assert "\n" not in str(told.value)


def test_what_cannot_be_measured_is_not_accepted() -> None:
    with pytest.raises(ValueError, match="fp16 is refused: the validation scans allow no AUC and no Dice"):
        check_loss("fp16", Kept(None, None), Kept(None, None))
