"""Classifiers made by hand that also say how unfamiliar a slice is: by its mean HU, and nothing else."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from tests.onnx_models import classifier_model, tiny_bundle
from triage.inference.bundle import CLASSIFIER, Bundle
from triage.inference.manifest import Manifest

BRAIN_SHARE = 0.25
"""Where 30 HU lie in the subdural window, -20 to 180 HU."""


def knowing_classifier(size: int, width: int = 1) -> bytes:
    """The classifier of the other tests with ``distance``: 1 for a slice of 30 HU throughout, 4 for 180 HU and more.

    ``width`` is how many it gives for each slice; 1 honours the contract.
    """
    model = onnx.load_from_string(classifier_model(size))
    for node in model.graph.node:
        for names in (node.input, node.output):  # from the middle of the blood's range
            names[:] = ["apart" if name == "distance" else name for name in names]
    model.graph.node.extend(
        [
            helper.make_node("ReduceMean", ["window", "places"], ["brightness"], keepdims=0),
            helper.make_node("Div", ["brightness", "of_brain"], ["one_value"]),
            helper.make_node("Concat", ["one_value"] * width, ["distance"], axis=1),
        ]
    )
    model.graph.initializer.extend(
        [
            numpy_helper.from_array(np.array([2, 3], np.int64), "places"),
            numpy_helper.from_array(np.float32(BRAIN_SHARE), "of_brain"),
        ]
    )
    model.graph.output.append(helper.make_tensor_value_info("distance", TensorProto.FLOAT, ["b", width]))
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())


def knowing_bundle(folder: Path, manifest: Manifest, **changes: object) -> Bundle:
    """A bundle of small nets whose classifier gives distances; ``changes`` replace fields of the manifest."""
    files = {CLASSIFIER: knowing_classifier(manifest.preprocessing.size)}
    return tiny_bundle(folder, manifest, files, **changes)
