"""Where the weights of a bundle came from, in one sentence and, with every digest, in a file beside them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import TypeAdapter

from trainer.datasets.cache import Cache
from trainer.datasets.phantom import PHANTOM
from trainer.experiment.checkpoint import WEIGHTS
from trainer.experiment.protocol import ExperimentProtocol
from trainer.experiment.run_folder import SPLIT, Run
from triage.inference.manifest import Training

PROVENANCE = "provenance.json"
_EXPORTED_BY = ("onnx", "onnxscript", "onnxruntime")
_PROTOCOL: TypeAdapter[ExperimentProtocol] = TypeAdapter(ExperimentProtocol)


def training_of(run: Run, cache: Cache, net: str, fold: int, *, demonstration: bool) -> Training:
    """What the manifest says of the training.

    Raises
    ------
    ValueError
        A bundle of made heads is to pass for more than a demonstration.
    """
    record, rows = run.record, run.split().folds[fold].train
    patients = np.unique(cache.table["patient"][rows])
    studies = len(np.unique(cache.table["study"][rows]))
    people = f"{studies} scans" if (patients < 0).any() else f"{len(patients)} patients"
    synthetic = record.dataset == PHANTOM.name
    made = "SYNTHETIC heads: " if synthetic else ""
    tried = f"; shortened for a try: {_pairs(record.overrides)}" if record.overrides else ""
    return Training(
        training_data=(
            f"{made}{len(rows)} slices of {people} of {record.dataset} (licence: {record.licence}), fold {fold} of "
            f"{net}; cache sha256 {record.digest}{tried}"
        ),
        protocol=record.protocol.name,
        seed=record.protocol.seed,
        software={**record.software, **{name: metadata.version(name) for name in _EXPORTED_BY}},
        synthetic=synthetic,
        demonstration=demonstration,
    )


def provenance_file(run: Run, net: str, fold: int, more: Mapping[str, Any]) -> bytes:
    """``provenance.json``: protocol, licence, and the digests of data, split and weights; no name of a patient."""
    record, folder = run.record, run.fold_folder(net, fold)
    split = run.split()
    content = {
        "dataset": record.dataset,
        "licence": record.licence,
        "sha256": {
            "cache": record.digest,
            "split": _sha256(run.folder / SPLIT),
            "weights": _sha256(folder / WEIGHTS),
        },
        "net": net,
        "fold": fold,
        "slices": {
            "train": len(split.folds[fold].train),
            "validation": len(split.folds[fold].validation),
            "test": len(split.test),
        },
        "began_at": record.began_at,
        "device": record.device,
        "overrides": record.overrides,
        "split_remarks": record.remarks,
        "protocol": _PROTOCOL.dump_python(record.protocol, mode="json"),
        **more,
    }
    return (json.dumps(content, indent=1) + "\n").encode()


def _pairs(values: Mapping[str, int]) -> str:
    return ", ".join(f"{key} = {value}" for key, value in values.items())


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
