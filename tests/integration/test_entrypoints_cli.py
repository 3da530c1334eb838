"""The commands, on a database that holds one positive study, one that was not analysed, and nothing else."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from tests.integration.site import BOTH, Site, head
from tests.onnx_models import tiny_bundle
from tests.peers import Memory, listening
from triage import __version__
from triage.domain.audit import AuditAction
from triage.domain.errors import ConfigurationError, NotFound, TriageError, UnreadableInstance
from triage.entrypoints.cli import main, triage
from triage.entrypoints.operate import dicom_files, parse_remote


@pytest.fixture
def site(sqlite_url: str, tmp_path: Path) -> Site:
    """Two studies: one suspected with its objects waiting, one with a gap."""
    made = Site(sqlite_url, tmp_path / "blobs", profiles={"archive": BOTH})
    whole, holed = head(), head(24)
    for number, slices in enumerate((whole, holed[:10] + holed[14:])):
        uid = f"1.2.3.{number}"
        for ds in slices:
            ds.StudyInstanceUID, ds.SeriesInstanceUID = uid, f"{uid}.1"
        made.send(slices, f"a{number}")
        made.wait(11)
        made.assemble()
    made.analyse()
    return made


@pytest.fixture
def config(site: Site, sqlite_url: str, tmp_path: Path) -> Path:
    file = tmp_path / "triage.toml"
    file.write_text(f"[database]\nurl = {json.dumps(sqlite_url)}\n[storage]\nroot = {json.dumps(str(site.root))}\n")
    return file


def run(*arguments: str, config: Path | None = None) -> Result:
    chosen = ["--config", str(config)] if config else []
    return CliRunner().invoke(triage, [*chosen, *arguments], standalone_mode=False)


def printed(result: Result) -> str:
    if result.exception is not None:
        raise result.exception
    return result.stdout


@pytest.mark.parametrize(
    "words",
    [
        ["run"],
        ["worklist"],
        ["show"],
        ["audit"],
        ["audit", "verify"],
        ["retry"],
        ["config"],
        ["db", "upgrade"],
        ["bundle", "verify"],
        ["send"],
        ["demo"],
    ],
    ids=" ".join,
)
def test_every_command_has_help_with_an_example(words: list[str]) -> None:
    ran = CliRunner().invoke(triage, [*words, "--help"])
    assert ran.exit_code == 0
    assert f"Example: triage {' '.join(words)}" in " ".join(ran.output.split())


def test_the_help_says_what_it_is_not() -> None:
    assert "Not a diagnosis" in " ".join(CliRunner().invoke(triage, ["--help"]).output.split())


def test_the_version() -> None:
    assert __version__ in CliRunner().invoke(triage, ["--version"]).output


def test_the_worklist_as_json_is_in_reading_order(config: Path) -> None:
    rows = json.loads(printed(run("worklist", "--json", config=config)))
    assert [(r["study_instance_uid"], r["status"], r["reason"]) for r in rows] == [
        ("1.2.3.0", "suspected", None),
        ("1.2.3.1", "not_analysed", "gap"),
    ]
    assert {o["kind"] for o in rows[0]["objects"]} == {"SEG", "SR"}


def test_the_worklist_as_a_table(config: Path) -> None:
    text = printed(run("worklist", config=config))
    assert "suspected" in text
    assert "not_analysed: gap" in text


def test_one_study_as_json(config: Path) -> None:
    told = json.loads(printed(run("show", "1.2.3.0", "--json", config=config)))
    assert told["study"]["status"] == "suspected"
    assert [s["state"] for s in told["series"]] == ["analysed"]
    assert {d["state"] for d in told["deliveries"]} == {"pending"}
    assert all(Path(o["file"]).is_file() for o in told["objects"])
    actions = [e["action"] for e in told["timeline"]]
    assert actions.index("instances_received") < actions.index("study_flagged")


def test_one_study_for_a_person(config: Path) -> None:
    text = printed(run("show", "1.2.3.1", config=config))
    assert "gap" in text
    assert "Timeline" in text


def test_a_study_that_is_not_there(config: Path) -> None:
    with pytest.raises(NotFound, match=r"9\.9\.9"):
        printed(run("show", "9.9.9", config=config))


def test_reading_the_audit_log_is_audited(config: Path, site: Site) -> None:
    first = json.loads(printed(run("audit", "--json", config=config)))
    assert [r["sequence"] for r in first] == list(range(1, len(first) + 1))
    assert site.audit()[-1].event.action is AuditAction.AUDIT_READ
    text = printed(run("audit", "--since", "2026-01-01", config=config))
    assert "audit_read" in text


def test_since_leaves_out_what_is_older(config: Path) -> None:
    assert json.loads(printed(run("audit", "--json", "--since", "2100-01-01", config=config))) == []


def test_the_chain_is_proved_whole(config: Path, site: Site) -> None:
    assert f"whole: {len(site.audit())} rows" in printed(run("audit", "verify", config=config))


def test_retry_of_what_has_not_failed(config: Path) -> None:
    with pytest.raises(NotFound, match="Nothing has failed"):
        printed(run("retry", "1.2.3.0", config=config))


def test_config_shows_what_is_in_force(config: Path) -> None:
    assert json.loads(printed(run("config", config=config)))["database"]["url"].startswith("sqlite:///")
    assert "[listener]" in printed(run("config", "--example"))


def test_db_upgrade_makes_a_schema_and_can_be_repeated(tmp_path: Path) -> None:
    file = tmp_path / "new.toml"
    file.write_text(f"[database]\nurl = {json.dumps(f'sqlite:///{tmp_path}/deep/new.db')}\n")
    assert printed(run("db", "upgrade", config=file)) == printed(run("db", "upgrade", config=file))
    assert json.loads(printed(run("worklist", "--json", config=file))) == []


def test_a_database_without_schema_says_what_to_do(tmp_path: Path) -> None:
    file = tmp_path / "new.toml"
    file.write_text(f"[database]\nurl = {json.dumps(f'sqlite:///{tmp_path}/empty.db')}\n")
    with pytest.raises(TriageError, match="triage db upgrade"):
        printed(run("worklist", config=file))


def test_a_database_in_a_folder_that_cannot_be_made_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "a file").touch()
    file = tmp_path / "new.toml"
    file.write_text(f"[database]\nurl = {json.dumps(f'sqlite:///{tmp_path}/a file/triage.db')}\n")
    for words in (["worklist"], ["db", "upgrade"]):
        with pytest.raises(
            ConfigurationError, match=r"^The folder .*/a file of the database cannot be made \(.*\): set"
        ):
            printed(run(*words, config=file))


def test_bundle_verify(tmp_path: Path) -> None:
    made = tiny_bundle(tmp_path / "bundle")
    text = printed(run("bundle", "verify", str(tmp_path / "bundle")))
    assert made.digest in text
    assert "DEMONSTRATION" in text
    (tmp_path / "bundle" / "munet.onnx").write_bytes(b"changed")
    with pytest.raises(TriageError, match=r"munet\.onnx"):
        printed(run("bundle", "verify", str(tmp_path / "bundle")))


def test_send_counts_what_was_accepted(site: Site, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("not DICOM")
    memory = Memory()
    with listening(memory) as scp:
        target = f"ICHTRIAGE@127.0.0.1:{scp.port}"
        text = printed(run("send", str(site.root), str(tmp_path / "notes.txt"), "--to", target))
    files = len(list(site.root.rglob("*.dcm")))
    assert f"Sent {files} of {files} instances; 1 files are not DICOM." in text
    assert len(memory.received) == files


def test_send_says_what_was_not_accepted(site: Site) -> None:
    with pytest.raises(TriageError):
        printed(run("send", str(site.root), "--to", "ICHTRIAGE@127.0.0.1:1"))


def test_send_without_dicom(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("not DICOM")
    with pytest.raises(UnreadableInstance, match="no DICOM file"):
        printed(run("send", str(tmp_path / "notes.txt"), "--to", "A@127.0.0.1:1"))


def test_dicom_files_know_their_study(site: Site) -> None:
    found, skipped = dicom_files([site.root])
    assert {f.study_instance_uid for f in found} == {"1.2.3.0", "1.2.3.1"}
    assert skipped == 0


@pytest.mark.parametrize(
    "target", ["PACS", "PACS@host", "PACS@host:", "@host:104", "PACS@:104", "PACS@host:one", "P\\S@h:1"]
)
def test_a_target_that_cannot_be_read(target: str) -> None:
    with pytest.raises(ConfigurationError):
        parse_remote(target, "ME")


def test_a_target_that_can() -> None:
    remote = parse_remote("PACS@10.0.0.1:104", "ME")
    assert (remote.ae_title, remote.host, remote.port, remote.calling_ae_title) == ("PACS", "10.0.0.1", 104, "ME")


@pytest.mark.parametrize(
    ("words", "code"),
    [(["show", "9.9.9"], 1), (["--config", "nowhere.toml", "run"], 78), (["worklist", "--wrong"], 2)],
)
def test_a_failure_is_one_sentence_and_a_status(
    words: list[str], code: int, config: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(config.parent)
    monkeypatch.setattr("sys.argv", ["triage", *words])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == code
    told = capsys.readouterr()
    assert told.out == ""
    assert len([line for line in told.err.splitlines() if line.startswith(("triage:", "Error:"))]) == 1
    assert "Traceback" not in told.err
