"""Nets without training that honour the contract, so that a result can be worked out by hand.

A pixel is blood between 50 and 90 HU, and five vertical bands of the raster name the subtype: EDH in the
leftmost fifth, SDH in the rightmost.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from triage.domain.geometry import stack_frames
from triage.domain.study import FrameGeometry
from triage.domain.volume import SliceSource, Volume
from triage.inference.bundle import CLASSIFIER, SEGMENTER, Bundle, write_bundle
from triage.inference.manifest import Card, Manifest, ModelCard, Thresholds, Training
from triage.inference.preprocess import PreprocessSpec

BLOOD_HU = 70.0
BRAIN_HU = 30.0
_HALF_WIDTH_HU = 20.0
_LOGIT_PER_HU = 0.5
_AREA_AT_HALF = 60.0
"""Blood pixels of a slice at which the classifier says one half."""

_SUBDURAL_LOW_HU, _SUBDURAL_WIDTH_HU = -20.0, 200.0


def band_of(size: int) -> NDArray[np.intp]:
    """Subtype index of each raster column."""
    return np.arange(size) * 5 // size


def classifier_model(size: int = 256, *, shown: int = 0, of: int = 1) -> bytes:
    """Logits grow with the area of blood, in all and in each band; ``shown`` and ``of`` as of `segmenter_model`."""
    bands = np.zeros((1, 5, 1, size), np.float32)
    bands[0, band_of(size), 0, np.arange(size)] = 1.0
    nodes = [
        *_blood_nodes(),
        helper.make_node("Sigmoid", ["blood"], ["pixels"]),
        helper.make_node("Mul", ["pixels", "bands"], ["by_band"]),
        helper.make_node("ReduceSum", ["by_band", "space"], ["areas"], keepdims=0),
        helper.make_node("ReduceSum", ["areas", "one"], ["area"], keepdims=1),
        helper.make_node("Concat", ["area", "areas"], ["counts"], axis=1),
        helper.make_node("Sub", ["counts", "half"], ["excess"]),
        helper.make_node("Mul", ["excess", "per_pixel"], ["steep"]),
        helper.make_node("Clip", ["steep", "lowest", "highest"], ["logits"]),
    ]
    constants = {
        "bands": bands,
        "space": np.array([2, 3], np.int64),
        "one": np.array([1], np.int64),
        "half": np.float32(_AREA_AT_HALF),
        "per_pixel": np.float32(0.1),
        "lowest": np.float32(-8.0),
        "highest": np.float32(8.0),
    }
    return _model(nodes, constants, size, {"logits": (6,)}, shown, of)


def segmenter_model(size: int = 256, *, shown: int = 0, of: int = 1) -> bytes:
    """The band's class wins where the pixel is blood, the background elsewhere.

    Of ``of`` slices that are given as channels it looks at number ``shown`` alone.
    """
    bands = np.full((1, 5, 1, size), -40.0, np.float32)
    bands[0, band_of(size), 0, np.arange(size)] = 0.0
    nodes = [
        *_blood_nodes(),
        helper.make_node("Add", ["blood", "bands"], ["lesions"]),
        helper.make_node("Mul", ["blood", "zero"], ["background"]),
        helper.make_node("Concat", ["background", "lesions"], ["seg_logits"], axis=1),
        helper.make_node("ReduceMax", ["seg_logits", "space"], ["cls_logits"], keepdims=0),
    ]
    constants = {"bands": bands, "zero": np.float32(0.0), "space": np.array([2, 3], np.int64)}
    return _model(nodes, constants, size, {"seg_logits": (6, size, size), "cls_logits": (6,)}, shown, of)


def tiny_manifest(size: int = 256, pixel_mm: float = 1.0) -> Manifest:
    """A manifest that fits the nets of this module; change it with ``dataclasses.replace``."""
    return Manifest(
        name="tiny",
        version="1",
        created_at=datetime(2025, 1, 1, tzinfo=UTC),
        intended_input="SYNTHETIC volumes of the tests",
        slice_classifier=ModelCard("counts pixels between 50 and 90 HU", 0),
        munet=ModelCard("names pixels between 50 and 90 HU by their column", 0),
        thresholds=Thresholds(gate=0.2, suspected=0.5, emergent=0.9, minimum_component_ml=0.0),
        provenance=Training("none", "none", 0, {}, synthetic=True, demonstration=True),
        card=Card("nothing was measured"),
        preprocessing=PreprocessSpec(size=size, pixel_mm=pixel_mm),
    )


def tiny_bundle(
    folder: Path, manifest: Manifest | None = None, files: Mapping[str, bytes] | None = None, **changes: object
) -> Bundle:
    """Write a bundle of this module's nets; ``changes`` replace fields of the manifest."""
    said = replace(manifest or tiny_manifest(), **changes)  # type: ignore[arg-type]
    size = said.preprocessing.size
    nets = {CLASSIFIER: classifier_model(size), SEGMENTER: segmenter_model(size)}
    return write_bundle(folder, said, {**nets, **(files or {})})


def volume_of(
    hu: NDArray[np.float32],
    positions_mm: Sequence[float] | None = None,
    thickness_mm: float | Sequence[float] = 5.0,
    pixel_spacing_mm: tuple[float, float] = (0.5, 0.5),
    orientation: tuple[float, float, float, float, float, float] = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0),
) -> Volume:
    """A volume of ``hu`` (slice, row, column), 5 mm apart unless positions are given, axial unless turned."""
    count = len(hu)
    places = [5.0 * i for i in range(count)] if positions_mm is None else list(positions_mm)
    thick = [float(thickness_mm)] * count if isinstance(thickness_mm, (int, float)) else list(thickness_mm)
    frames = [FrameGeometry((-100.0, -100.0, z), orientation, t) for z, t in zip(places, thick, strict=True)]
    return Volume(
        hu=hu,
        stack=stack_frames(frames),
        positions_mm=np.array([f.position_mm for f in frames]),
        orientation=np.array(orientation),
        pixel_spacing_mm=pixel_spacing_mm,
        frame_of_reference_uid="2.25.1",
        sources=tuple(SliceSource(f"2.25.{100 + i}", 1) for i in range(count)),
    )


def ball(
    shape: tuple[int, int, int],
    spacing_mm: tuple[float, float, float],
    centre_mm: tuple[float, float, float],
    radius_mm: float,
) -> NDArray[np.bool_]:
    """A ball in a grid of ``shape`` whose in-plane coordinates count from the image centre, slices from the first."""
    z = np.arange(shape[0])[:, None, None] * spacing_mm[0] - centre_mm[0]
    y = (np.arange(shape[1])[None, :, None] + 0.5 - shape[1] / 2) * spacing_mm[1] - centre_mm[1]
    x = (np.arange(shape[2])[None, None, :] + 0.5 - shape[2] / 2) * spacing_mm[2] - centre_mm[2]
    return np.asarray(z**2 + y**2 + x**2 <= radius_mm**2)


class LostGpu:
    """Stands for a net whose GPU fell off the bus: it opened, and no run comes back."""

    class Input:
        name = "image"

    def __init__(self, outputs: Sequence[str] = (), raised: type[Exception] = RuntimeError) -> None:
        self._outputs = outputs
        self._raised = raised

    def get_inputs(self) -> list[Input]:
        return [self.Input()]

    def get_outputs(self) -> list[SimpleNamespace]:
        return [SimpleNamespace(name=name) for name in self._outputs]

    def get_providers(self) -> list[str]:
        return ["CUDAExecutionProvider", "CPUExecutionProvider"]

    def run(self, outputs: list[str], feed: dict[str, object]) -> list[object]:
        raise self._raised("CUDA failure 719: unspecified launch failure\nat line 123")


def _blood_nodes() -> list[onnx.NodeProto]:
    """``blood``, shape (b, 1, size, size): above 0 between 50 and 90 HU, read from the subdural window."""
    return [
        helper.make_node("Gather", ["image", "subdural"], ["window"], axis=1),
        helper.make_node("Sub", ["window", "centre"], ["offset"]),
        helper.make_node("Abs", ["offset"], ["distance"]),
        helper.make_node("Sub", ["half_width", "distance"], ["inside"]),
        helper.make_node("Mul", ["inside", "slope"], ["blood"]),
    ]


def _model(
    nodes: list[onnx.NodeProto],
    constants: Mapping[str, NDArray[np.generic] | np.float32],
    size: int,
    outputs: Mapping[str, tuple[int, ...]],
    shown: int,
    of: int,
) -> bytes:
    window = {
        "subdural": np.array([3 * shown + 1], np.int64),
        "centre": np.float32((BLOOD_HU - _SUBDURAL_LOW_HU) / _SUBDURAL_WIDTH_HU),
        "half_width": np.float32(_HALF_WIDTH_HU / _SUBDURAL_WIDTH_HU),
        "slope": np.float32(_LOGIT_PER_HU * _SUBDURAL_WIDTH_HU),
    }
    graph = helper.make_graph(
        nodes,
        "by_hand",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["b", 3 * of, size, size])],
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, ["b", *shape]) for n, shape in outputs.items()],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in {**window, **constants}.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())
