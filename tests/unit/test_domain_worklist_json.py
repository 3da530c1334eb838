"""The JSON of one worklist row is the contract."""

from __future__ import annotations

import json

from tests.unit.test_entrypoints_present import NOT_ANALYSED, row
from triage.domain.worklist_json import row_json

CONTRACT = [
    "study_instance_uid",
    "series_instance_uid",
    "accession_number",
    "status",
    "provisional",
    "reason",
    "urgency",
    "score",
    "subtypes",
    "total_volume_ml",
    "key_slice",
    "received_at",
    "flagged_at",
    "bundle",
    "demonstration",
    "objects",
]


def test_the_json_has_exactly_the_keys_of_the_contract() -> None:
    assert list(row_json(row())) == CONTRACT
    assert list(row_json(row(**NOT_ANALYSED))) == CONTRACT


def test_the_json_is_plain_and_rounded() -> None:
    told = json.loads(json.dumps(row_json(row())))
    assert told["score"] == 0.9877
    assert told["subtypes"]["IPH"] == {"probability": 0.9, "volume_ml": 12.35}
    assert set(told["subtypes"]) == {"EDH", "IPH", "IVH", "SAH", "SDH"}
    assert told["received_at"] == "2026-11-21T01:57:00.000Z"
    assert told["objects"] == [
        {"kind": "SR", "sop_instance_uid": "2.25.1", "destination": "pacs", "state": "delivered"}
    ]


def test_what_was_not_analysed_has_a_reason_and_no_score() -> None:
    told = row_json(row(**NOT_ANALYSED))
    assert (told["reason"], told["score"], told["key_slice"], told["flagged_at"]) == ("gap", None, None, None)
