"""Derived identifiers: the same inputs name the same thing, any other input names another."""

from __future__ import annotations

import random
import uuid

import pytest

from triage.dicom.uids import coding_scheme_uid, device_uid, result_uid
from triage.domain.study import is_uid

SERIES = "1.2.840.113619.2.5.1"
INSTANCES = [f"1.2.840.113619.2.5.1.{n}" for n in range(1, 29)]
DIGEST = "ab" * 32


def uid(kind: str = "SEG", series: str = SERIES, instances: list[str] | None = None, digest: str = DIGEST) -> str:
    return result_uid(kind, series, INSTANCES if instances is None else instances, digest)


def test_a_result_uid_never_changes_between_releases() -> None:
    # Archives hold objects under these names: a change here makes twins of every result ever sent.
    assert uid() == "2.25.7792175713481374920999774784492903125"


def test_order_and_repetition_of_the_instances_do_not_matter() -> None:
    shuffled = INSTANCES * 2
    random.Random(1).shuffle(shuffled)
    assert uid(instances=shuffled) == uid()


@pytest.mark.parametrize(
    "other",
    [
        {"kind": "SR"},
        {"kind": "SEG series"},
        {"series": SERIES + "1"},
        {"instances": INSTANCES[:-1]},
        {"instances": [*INSTANCES, SERIES + ".29"]},
        {"digest": "cd" * 32},
    ],
)
def test_any_other_input_names_another_thing(other: dict[str, object]) -> None:
    assert uid(**other) != uid()  # type: ignore[arg-type]


def test_the_parts_cannot_run_into_each_other() -> None:
    assert uid(series="1.2", instances=["3.4", "5.6"]) != uid(series="1.2.3", instances=["4", "5.6"])
    assert uid(kind="SEG", series="1.2") != uid(kind="SEG1", series=".2")


@pytest.mark.parametrize("made", [uid(), device_uid(DIGEST), coding_scheme_uid()])
def test_every_uid_is_a_name_based_uuid_under_2_25(made: str) -> None:
    assert is_uid(made)
    root, _, number = made.rpartition(".")
    assert root == "2.25"
    assert number == str(int(number))
    assert uuid.UUID(int=int(number)).version == 5


def test_the_device_is_another_when_the_bundle_is() -> None:
    assert device_uid(DIGEST) == device_uid(DIGEST)
    assert device_uid(DIGEST) != device_uid("cd" * 32)


@pytest.mark.parametrize("missing", [{"kind": ""}, {"series": ""}, {"digest": ""}, {"instances": []}])
def test_nothing_is_named_without_its_origin(missing: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="a result UID needs"):
        uid(**missing)  # type: ignore[arg-type]
