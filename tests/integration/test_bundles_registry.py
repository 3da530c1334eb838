"""Any net of the registry becomes a bundle that the daemon's own code loads and runs a study with."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from tests.caches import Made, written_cache
from tests.exported import finished_run, protocol_of
from tests.results import PROVENANCE
from tests.small_protocols import NARROW
from trainer.bundles.build import export_run
from trainer.bundles.making import Asked
from trainer.datasets.cache import Cache
from trainer.nets.registry import NETS
from trainer.phantom.dicom import study_instances
from trainer.phantom.exam import ScanGeometry, study
from triage.dicom.seg import encode_seg
from triage.dicom.sr import encode_sr
from triage.dicom.volume import read_volume
from triage.domain.finding import SUBTYPES, Subtype
from triage.inference.bundle import load_bundle
from triage.inference.predict import Predictor

NOW = datetime(2026, 1, 1, tzinfo=UTC)
QUICK = ("slice_classifier", "d_unet")
"""One net of labels and one of masks; the others take long enough together to be slow."""

TABLE = [
    pytest.param(
        name,
        "binary" if number % 2 else "subtypes",
        1 + number % 3,
        marks=() if name in QUICK else pytest.mark.slow,
        id=name,
    )
    for number, name in enumerate(NARROW)
]


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Cache:
    return written_cache(tmp_path_factory.mktemp("cache"), Made(slices=3))


@pytest.fixture(scope="module")
def contents() -> list[bytes]:
    """A made head with blood, as files."""
    made = study(4711, subtypes=[Subtype.IPH], geometry=ScanGeometry(slice_count=12, matrix=64, spacing_mm=3.84))
    return study_instances(made)


def test_the_table_is_the_registry() -> None:
    assert list(NARROW) == list(NETS)


@pytest.mark.parametrize(("name", "classes", "channels"), TABLE)
def test_any_net_of_the_registry_runs_a_study(
    name: str, classes: str, channels: int, cache: Cache, contents: list[bytes], tmp_path: Path
) -> None:
    run = finished_run(tmp_path / "run", cache, protocol_of(name, classes, channels))
    said: list[str] = []
    export_run(run, cache, tmp_path / "bundle", Asked(threads=1), NOW, said.append)
    bundle = load_bundle(tmp_path / "bundle")
    manifest = bundle.manifest
    assert manifest.name == f"small-{name}"
    assert manifest.names_subtypes is (classes == "subtypes")
    assert manifest.slice_classifier.architecture == name
    assert manifest.slice_classifier.reads == ("scan" if name == "gate_2p5d" else "slice")
    assert {"card.md", "provenance.json"} <= {path.name for path in bundle.path.iterdir()}

    predictor = Predictor.load(bundle.path, "cpu", threads=1)
    volume = read_volume(contents)
    gate = predictor.gate(volume)
    for every_slice in (False, True):
        analysis = predictor.segment(volume, gate, every_slice=every_slice)
        result = analysis.result
        assert set(result.subtypes) == (set(SUBTYPES) if classes == "subtypes" else {Subtype.ICH})
        assert analysis.labels.shape == volume.hu.shape
        assert set(np.unique(analysis.marked)) <= ({0, 1, 2, 3, 4, 5} if classes == "subtypes" else {0, 6})
        if NETS[name].task not in ("masks", "both"):
            assert not analysis.marked.any()
    arguments = {"contents": contents, "volume": volume, "result": result, "provenance": PROVENANCE}
    seg = encode_seg(labels=analysis.labels, **arguments) if analysis.labels.any() else None
    assert encode_sr(segmentation=seg, predecessor=None, **arguments).content
