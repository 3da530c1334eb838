"""Blood whose type nobody was taught: one finding, named as such, through every door of the daemon.

Segmentation, report, pages and outlines of such a finding are among the cases of tests/cases.py.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.notices import IDENTIFIER, notice
from tests.notices import result as noticed
from tests.onnx_models import BLOOD_HU, BRAIN_HU, ball, tiny_bundle, tiny_manifest, volume_of
from tests.results import analysed, dataset
from tests.stores import DIGEST, at, running
from tests.unit.test_dicom_ups import codes_in, of
from tests.unit.test_entrypoints_present import row, shown
from triage.dicom.codes import SUBTYPE_CODES
from triage.dicom.seg_reading import read_outlines
from triage.domain.errors import BundleError
from triage.domain.finding import KINDS, SUBTYPES, Subtype, SubtypeFinding, TriageResult, WorklistStatus
from triage.domain.worklist_json import row_json
from triage.inference.bundle import load_bundle
from triage.inference.manifest import ModelCard, format_manifest, parse_manifest
from triage.inference.predict import Predictor
from triage.net.hl7 import Hl7Names, encode_oru
from triage.net.webhook import encode_webhook
from triage.store import results
from triage.store.db import Database
from triage.web.worklist_api import RowJson

SIZE, SHAPE, SPACING = 128, (12, 160, 160), (5.0, 0.8, 0.8)
UNNAMED = replace(tiny_manifest(SIZE), names_subtypes=False)
SHIPPED = Path(__file__).parents[2] / "triage" / "bundles" / "demo"


def predictor(folder: Path, **changes: object) -> Predictor:
    tiny_bundle(folder, UNNAMED, **changes)
    return Predictor.load(folder, "cpu", threads=1)


def head(*offsets_mm: float) -> np.ndarray:
    """Balls of blood at these offsets to the right: the nets of the tests would name each another subtype."""
    hu = np.full(SHAPE, BRAIN_HU, np.float32)
    for x in offsets_mm:
        hu[ball(SHAPE, SPACING, (25.0, 0.0, x), 9.0)] = BLOOD_HU
    return hu


def test_kinds_are_the_subtypes_and_then_the_unspecified_one() -> None:
    assert (*SUBTYPES, Subtype.ICH) == KINDS
    assert len(SUBTYPES) == 5


@pytest.mark.parametrize("named", [(Subtype.ICH, *SUBTYPES), SUBTYPES[:3], (Subtype.ICH, Subtype.EDH), ()])
def test_a_result_names_all_subtypes_or_the_unspecified_one_alone(named: tuple[Subtype, ...]) -> None:
    whole = noticed(found=(Subtype.ICH,))
    assert whole.outlined == (Subtype.ICH,)
    assert whole.volume_ml(Subtype.EDH) == 0.0
    with pytest.raises(ValueError, match="unspecified type alone"):
        replace(whole, subtypes={kind: SubtypeFinding(0.1, 0.0) for kind in named})


def test_a_bundle_that_names_no_subtype_outlines_all_blood_as_one(tmp_path: Path) -> None:
    volume = volume_of(head(-50.0, 50.0), None, 5.0, SPACING[1:])
    told = Predictor.load(tiny_bundle(tmp_path / "named", tiny_manifest(SIZE)).path, "cpu", threads=1)
    named = told.segment(volume, told.gate(volume))
    untold = predictor(tmp_path / "unnamed")
    gate = untold.gate(volume)
    found = untold.segment(volume, gate, probabilities=True)
    assert list(gate.result.subtypes) == list(found.result.subtypes) == [Subtype.ICH]
    assert np.unique(found.labels).tolist() == [0, 6]
    assert np.array_equal(found.labels > 0, named.labels > 0)
    assert found.result.score == named.result.score
    assert found.result.subtypes[Subtype.ICH].probability == found.result.score
    assert found.result.volume_ml(Subtype.ICH) == pytest.approx(named.result.total_volume_ml)
    assert found.result.total_volume_ml == pytest.approx(named.result.total_volume_ml)
    assert found.probabilities is not None
    assert set(found.probabilities) == {Subtype.ICH}
    assert ((found.probabilities[Subtype.ICH] >= 127) | (found.labels == 0)).all()


def test_without_suspicion_the_unspecified_one_is_named_with_nothing(tmp_path: Path) -> None:
    volume = volume_of(head(), None, 5.0, SPACING[1:])
    untold = predictor(tmp_path)
    result = untold.segment(volume, untold.gate(volume)).result
    assert result.status is WorklistStatus.NOT_SUSPECTED
    assert result.subtypes == {Subtype.ICH: SubtypeFinding(result.score, 0.0)}
    assert result.outlined == ()


def test_a_classifier_that_reads_scans_is_given_the_whole_scan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The classifier of the tests says the same of a slice wherever it stands; what matters is the batch."""
    volume = volume_of(head(0.0), None, 5.0, SPACING[1:])
    card = ModelCard("reads scans", 0, reads="scan")
    by_slice = predictor(tmp_path / "slice")
    by_scan = predictor(tmp_path / "scan", slice_classifier=card)
    batches: list[int] = []
    inner = by_scan._classifier.run_for  # the batch is not to be seen from outside

    def run(image: np.ndarray, outputs: Sequence[str]) -> tuple[np.ndarray, ...]:
        batches.append(len(image))
        return inner(image, outputs)

    monkeypatch.setattr(by_scan._classifier, "run_for", run)
    one, other = by_slice.gate(volume), by_scan.gate(volume)
    assert batches == [len(volume.sources)]
    np.testing.assert_allclose(one.slice_probabilities, other.slice_probabilities, atol=1e-6)


def test_only_the_classifier_can_read_scans() -> None:
    with pytest.raises(ValueError, match=r'munet\.reads is "slice" or "neighbours"'):
        replace(UNNAMED, munet=ModelCard("reads scans", 0, reads="scan"))


def test_both_keys_survive_the_file_and_are_absent_where_they_say_nothing_new() -> None:
    said = replace(UNNAMED, slice_classifier=ModelCard("reads scans", 0, reads="scan"))
    content = json.loads(format_manifest(said))
    assert content["names_subtypes"] is False
    assert content["slice_classifier"]["reads"] == "scan"
    assert "reads" not in content["munet"]
    assert parse_manifest(format_manifest(said)) == said
    plain = json.loads(format_manifest(tiny_manifest()))
    assert "names_subtypes" not in plain
    assert "reads" not in plain["slice_classifier"]
    beside = replace(UNNAMED, munet=ModelCard("reads neighbours", 0, reads="neighbours"))
    assert parse_manifest(format_manifest(beside)) == beside
    with pytest.raises(BundleError, match=r"slice_classifier\.reads"):
        parse_manifest(format_manifest(said).replace(b'"scan"', b'"page"'))


def test_the_shipped_bundle_keeps_its_bytes() -> None:
    bundle = load_bundle(SHIPPED)
    assert format_manifest(bundle.manifest) == (SHIPPED / "bundle.json").read_bytes()
    assert bundle.manifest.names_subtypes


def test_segmentation_and_report_say_hemorrhage_and_no_subtype() -> None:
    case = analysed(subtypes=[Subtype.ICH])
    (segment,) = dataset(case.seg()).SegmentSequence
    assert segment.SegmentLabel == SUBTYPE_CODES[Subtype.ICH].label
    (kind,) = segment.SegmentedPropertyTypeCodeSequence
    modifiers = [item.CodeValue for item in kind.SegmentedPropertyTypeModifierCodeSequence]
    assert (kind.CodeMeaning, modifiers) == ("Hemorrhage", ["1386000", "ICH"])
    assert read_outlines(case.seg().content).subtypes(case.volume.sources[9]) == (Subtype.ICH,)
    said = str(dataset(case.sr()))
    assert "Intracranial hemorrhage of unspecified type" in said
    assert not [s for s in SUBTYPES if SUBTYPE_CODES[s].subtype.meaning in said]


def test_messages_name_it() -> None:
    told = notice(result=noticed(found=(Subtype.ICH,)))
    text = encode_oru(told, Hl7Names(), IDENTIFIER).content.decode()
    assert "ICH^Intracranial hemorrhage of unspecified type^99ICHTRIAGE" in text
    assert not [s for s in SUBTYPES if f"|{s}^" in text]
    body = json.loads(encode_webhook(told, IDENTIFIER).content)
    assert body["subtypes"] == {"ICH": {"probability": 0.9, "volume_ml": 7.5}}
    items = dataset(of(told)).ScheduledProcessingParametersSequence
    assert codes_in(items)["SUBTYPE"] == "ICH"


def test_a_stored_result_is_read_back(database: Database) -> None:
    found: TriageResult = noticed(found=(Subtype.ICH,))
    job = running(database)
    with database.transaction() as tx:
        results.record(tx, job, found, bundle_digest=DIGEST, bundle="demo 1", now=at(2))
    with database.read() as tx:
        latest = results.latest(tx, job.series_id)
    assert latest is not None
    assert latest[0] == found


def test_the_list_shows_it_and_its_schema_allows_it() -> None:
    listed = row(subtypes={Subtype.ICH: SubtypeFinding(0.9, 12.345)})
    assert "ICH 0.90 12.3" in shown(listed)
    told = row_json(listed)
    assert told["subtypes"] == {"ICH": {"probability": 0.9, "volume_ml": 12.35}}
    assert RowJson(**told).subtypes.keys() == {Subtype.ICH}
    assert "ICH" in json.dumps(RowJson.model_json_schema())
