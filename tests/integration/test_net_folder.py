"""The folder as a way out: whole files under our own names, and one sentence for what is wrong with it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.builders import ct_series
from tests.peers import in_memory, outgoing
from triage.domain.errors import DeliveryUnconfirmed, NotFound
from triage.net.folder import FolderTarget, send
from triage.net.outgoing import OutgoingInstance


@pytest.fixture(scope="module")
def head() -> list[OutgoingInstance]:
    return outgoing(ct_series(3, rows=16, columns=16))


def test_each_object_is_a_file_of_its_own_name(tmp_path: Path, head: list[OutgoingInstance]) -> None:
    outcomes = send(FolderTarget(tmp_path), head)
    assert [o.error for o in outcomes] == [None] * 3
    assert {f.name: f.read_bytes() for f in tmp_path.iterdir()} == {f"{i.sop_instance_uid}.dcm": i.read() for i in head}


def test_writing_again_is_the_same_file(tmp_path: Path, head: list[OutgoingInstance]) -> None:
    send(FolderTarget(tmp_path), head)
    send(FolderTarget(tmp_path), head)
    assert len(list(tmp_path.iterdir())) == 3


def test_a_file_that_a_crash_left_unfinished_is_in_nobody_s_way(tmp_path: Path, head: list[OutgoingInstance]) -> None:
    (tmp_path / f".{head[0].sop_instance_uid}.part").write_bytes(b"half")
    send(FolderTarget(tmp_path), head[:1])
    assert [f.read_bytes() for f in tmp_path.iterdir()] == [head[0].read()]


def test_a_folder_that_is_not_there_is_not_made(tmp_path: Path, head: list[OutgoingInstance]) -> None:
    with pytest.raises(DeliveryUnconfirmed, match="make it, mount it, or correct folder"):
        send(FolderTarget(tmp_path / "share"), head)
    assert list(tmp_path.iterdir()) == []


def test_an_object_that_cannot_be_read_is_its_own_error(tmp_path: Path, head: list[OutgoingInstance]) -> None:
    def gone() -> bytes:
        raise NotFound("The file is gone.")

    outcomes = send(FolderTarget(tmp_path), [OutgoingInstance("1.2", "2.25.5", "1.2.840.10008.1.2.1", gone), head[0]])
    assert isinstance(outcomes[0].error, NotFound)
    assert [f.name for f in tmp_path.iterdir()] == [f"{head[0].sop_instance_uid}.dcm"]


def test_a_place_that_cannot_be_written_is_tried_again(tmp_path: Path, head: list[OutgoingInstance]) -> None:
    (tmp_path / f"{head[0].sop_instance_uid}.dcm").mkdir()  # stands for a full or read-only share, also for root
    (outcome,) = send(FolderTarget(tmp_path), head[:1])
    assert isinstance(outcome.error, DeliveryUnconfirmed)
    assert "check its rights" in str(outcome.error)
    assert [f.name for f in tmp_path.iterdir() if f.suffix == ".part"] == []


def test_a_share_that_fails_is_tried_again(tmp_path: Path, head: list[OutgoingInstance]) -> None:
    """Neither there nor not there: a name too long stands for a server that is down, which cannot be had here."""
    with pytest.raises(DeliveryUnconfirmed, match=r"cannot be reached \(File name too long\)"):
        send(FolderTarget(tmp_path / ("x" * 300)), head)


def test_what_cannot_be_removed_after_a_failure_is_left(tmp_path: Path, head: list[OutgoingInstance]) -> None:
    (tmp_path / f".{head[0].sop_instance_uid}.part").mkdir()  # neither opened for writing nor unlinked
    first, second = send(FolderTarget(tmp_path), head[:2])
    assert isinstance(first.error, DeliveryUnconfirmed)
    assert second.error is None


def test_a_name_that_is_no_uid_is_never_a_path(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="UID"):
        send(FolderTarget(tmp_path), [in_memory("1.2", "../../etc/passwd", "1.2.840.10008.1.2.1", b"")])
    assert list(tmp_path.iterdir()) == []
