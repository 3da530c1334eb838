"""ONNX Runtime: the provider is what it says, the contract is checked, its errors become ours."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from onnx import TensorProto, helper
from onnxruntime.capi.onnxruntime_pybind11_state import Fail

from tests.onnx_models import LostGpu, classifier_model, segmenter_model
from triage.domain.errors import BundleError, ProviderUnavailable
from triage.inference.session import CPU, CUDA, Session, open_session

CLASSES = {"logits": (6,)}


@pytest.fixture
def net(tmp_path: Path) -> Path:
    path = tmp_path / "net.onnx"
    path.write_bytes(classifier_model(32))
    return path


def identity_net(input_name: str, output_name: str, kind: int = TensorProto.FLOAT) -> bytes:
    graph = helper.make_graph(
        [helper.make_node("Identity", [input_name], [output_name])],
        "identity",
        [helper.make_tensor_value_info(input_name, kind, ["b", 3, 32, 32])],
        [helper.make_tensor_value_info(output_name, kind, ["b", 3, 32, 32])],
    )
    return bytes(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10).SerializeToString()
    )


@pytest.mark.parametrize("device", ["auto", "cpu"])
def test_the_cpu_says_so(net: Path, device: str) -> None:
    if device == "auto" and CUDA in onnxruntime.get_available_providers():
        pytest.skip("this machine has the CUDA build")
    session = open_session(net, device, threads=1)  # type: ignore[arg-type]
    assert session.provider == CPU
    session.verify(CLASSES, 32)


def test_asking_for_a_gpu_that_is_not_there_is_an_error(net: Path) -> None:
    if CUDA in onnxruntime.get_available_providers():
        pytest.skip("this machine has the CUDA build")
    with pytest.raises(ProviderUnavailable, match=r"set inference\.device to cpu"):
        open_session(net, "cuda")


@pytest.mark.parametrize("batch", [1, 2, 8])
def test_a_batch_comes_back_in_order(net: Path, batch: int) -> None:
    session = open_session(net, "cpu", threads=1)
    images = np.random.default_rng(0).random((batch, 3, 32, 32), np.float32)
    together = session.run(images, "logits")
    assert together.shape == (batch, 6)
    for index in range(batch):
        assert session.run(images[index : index + 1], "logits")[0] == pytest.approx(together[index], abs=1e-5)


def test_both_outputs_of_the_segmenter_are_checked(tmp_path: Path) -> None:
    path = tmp_path / "munet.onnx"
    path.write_bytes(segmenter_model(32))
    session = open_session(path, "cpu", threads=1)
    session.verify({"seg_logits": (6, 32, 32), "cls_logits": (6,)}, 32)
    with pytest.raises(BundleError, match="seg_logits"):
        session.verify({"seg_logits": (2, 32, 32)}, 32)


def test_a_net_that_is_no_net(tmp_path: Path) -> None:
    path = tmp_path / "munet.onnx"
    path.write_bytes(b"not a net at all")
    with pytest.raises(BundleError, match=r"munet\.onnx does not load"):
        open_session(path, "cpu")


def test_a_net_that_is_missing(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="does not load"):
        open_session(tmp_path / "absent.onnx", "cpu")


@pytest.mark.parametrize(("takes", "gives"), [("x", "logits"), ("image", "scores")])
def test_names_of_the_contract(tmp_path: Path, takes: str, gives: str) -> None:
    path = tmp_path / "net.onnx"
    path.write_bytes(identity_net(takes, gives))
    with pytest.raises(BundleError, match="must take 'image' and give logits"):
        open_session(path, "cpu").verify(CLASSES, 32)


def test_shapes_of_the_contract(tmp_path: Path) -> None:
    path = tmp_path / "net.onnx"
    path.write_bytes(identity_net("image", "logits"))
    with pytest.raises(BundleError, match=r"float32 \(1, 6\) was expected"):
        open_session(path, "cpu").verify(CLASSES, 32)


def test_a_wrong_size_is_found_at_load(net: Path) -> None:
    with pytest.raises(BundleError, match="failed while running"):
        open_session(net, "cpu").verify(CLASSES, 64)


def test_another_input_type_is_found_at_load(tmp_path: Path) -> None:
    path = tmp_path / "net.onnx"
    path.write_bytes(identity_net("image", "logits", TensorProto.DOUBLE))
    with pytest.raises(BundleError, match="failed while running"):
        open_session(path, "cpu").verify(CLASSES, 32)


@pytest.mark.parametrize("raised", [Fail, RuntimeError])
def test_a_lost_gpu_is_told_apart_from_a_bad_net(raised: type[Exception]) -> None:
    session = Session(LostGpu(raised=raised), "munet.onnx")
    with pytest.raises(ProviderUnavailable, match=r"munet\.onnx failed while running on CUDA.*launch failure$"):
        session.run(np.zeros((1, 3, 32, 32), np.float32), "seg_logits")
