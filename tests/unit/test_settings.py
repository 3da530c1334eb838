"""Settings: safe defaults, one sentence for what cannot work, and an example that is true."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from triage.domain.errors import ConfigurationError
from triage.settings import (
    DestinationSettings,
    NotifierSettings,
    Settings,
    example_toml,
    read_settings,
    settings_of_record,
)


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder without a settings file."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


PACS = "[[destinations]]\nname='p'\nae_title='P'\nhost='h'\nport=1\n"
STOW = "[[destinations]]\nname='s'\nkind='stow'\n"


def written(folder: Path, text: str) -> Path:
    file = folder / "mine.toml"
    file.write_text(text)
    return file


def test_defaults_are_safe() -> None:
    settings = read_settings()
    assert settings.listener.host == "127.0.0.1"
    assert settings.destinations == ()
    assert settings.database.url.startswith("sqlite:///")
    assert settings.inference.bundle is None


def test_a_file_is_read(elsewhere: Path) -> None:
    file = written(elsewhere, '[listener]\nport = 104\n[[destinations]]\nname="p"\nae_title="P"\nhost="h"\nport=1\n')
    settings = read_settings(file)
    assert settings.listener.port == 104
    assert settings.destinations == (DestinationSettings(name="p", ae_title="P", host="h", port=1),)


def test_triage_toml_in_the_working_folder_is_read(elsewhere: Path) -> None:
    (elsewhere / "triage.toml").write_text("[series]\nquiet_seconds = 4.0\n")
    assert read_settings().series.quiet_seconds == 4.0


def test_the_environment_goes_before_the_file(elsewhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = written(elsewhere, "[listener]\nport = 104\nae_title = 'FILE'\n")
    monkeypatch.setenv("TRIAGE_LISTENER__PORT", "105")
    settings = read_settings(file)
    assert (settings.listener.port, settings.listener.ae_title) == (105, "FILE")


@pytest.mark.parametrize("value", ["PACS@192.0.2.10", "['PACS']", "[", '["PACS"'])
def test_a_list_in_the_environment_that_is_no_json_is_one_sentence(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRIAGE_LISTENER__ALLOWED_CALLERS", value)
    with pytest.raises(ConfigurationError) as caught:
        read_settings()
    said = str(caught.value)
    assert said.startswith("The settings cannot work: TRIAGE_LISTENER__ALLOWED_CALLERS in the environment is no JSON")
    assert """'["PACS@192.0.2.10"]'""" in said


@pytest.mark.parametrize("name", ["TRIAGE_DESTINATIONS", "TRIAGE_NOTIFY", "TRIAGE_LISTENER", "TRIAGE_WEB__OIDC_ROLES"])
def test_the_variable_that_is_no_json_is_named(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRIAGE_LISTENER__ALLOWED_CALLERS", '["PACS"]')
    monkeypatch.setenv(name, "pacs:104")
    with pytest.raises(ConfigurationError, match=f"{name} in the environment is no JSON"):
        read_settings()


def test_lists_and_destinations_come_from_the_environment_as_json(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRIAGE_LISTENER__ALLOWED_CALLERS", '["PACS@192.0.2.10"]')
    monkeypatch.setenv("TRIAGE_DESTINATIONS", '[{"name": "p", "ae_title": "P", "host": "h", "port": 1}]')
    settings = read_settings()
    assert settings.listener.allowed_callers == ("PACS@192.0.2.10",)
    assert [destination.name for destination in settings.destinations] == ["p"]


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("[listener]\nport = 0\n", "listener.port"),
        ("[listener]\nprot = 104\n", r"work: listener\.prot: there is no such key\.$"),
        ("[listner]\nport = 104\n", "listner"),
        ("[listener]\nae_title = 'THIS TITLE IS FAR TOO LONG'\n", "listener.ae_title"),
        ("[listener]\nhost = '0.0.0.0'\n", "allowed_callers"),
        ("[database]\nurl = 'mysql://x'\n", r"work: database\.url: database\.url must begin with [^.]*\.$"),
        ("[series]\nsettle_seconds = 20.0\n", "settle_seconds"),
        ("[inference]\ndevice = 'tpu'\n", "inference.device"),
        ("[[destinations]]\nname='a b'\nae_title='P'\nhost='h'\nport=1\n", "destinations.0.name"),
        ("[[destinations]]\nname='p'\nae_title='P'\nhost='h'\nport=1\nobjects=['PDF']\n", "destinations.0.objects"),
        (STOW, "destinations.0.*needs url"),
        (PACS + "tls_key='k'\n", "tls_certificate and tls_key"),
        (PACS + "objects=['SEG', 'SEG_LABELMAP']\n", "two kinds of segmentation"),
        (PACS + "objects=['SEG', 'ORU']\n", "configure a notifier"),
        (PACS + "objects=['SEG']\nundetermined=true\n", "undetermined needs a kind of report"),
        (PACS + "retry_base_seconds=500.0\n", "base_seconds"),
        ("[[destinations]]\nname='f'\nkind='folder'\nfolder='out'\ncommitment=true\n", "cannot commit"),
        ("[[notify]]\nname='r'\nkind='hl7'\nhost='h'\n", "needs port"),
        ("[[notify]]\nname='r'\nkind='ian'\nhost='h'\nport=1\nae_title='A'\nafter='q'\n", "is no destination"),
        ("[[notify]]\nname='w'\nkind='webhook'\nurl='ftp://x'\nsecret_file='s'\n", "https://"),
        (PACS + "[[notify]]\nname='p'\nkind='hl7'\nhost='h'\nport=1\n", "same name"),
        (2 * "[[destinations]]\nname='p'\nae_title='P'\nhost='h'\nport=1\n", "same name"),
    ],
)
def test_what_cannot_work_is_named(elsewhere: Path, text: str, named: str) -> None:
    with pytest.raises(ConfigurationError, match=named):
        read_settings(written(elsewhere, text))


def test_broken_toml_is_one_sentence(elsewhere: Path) -> None:
    with pytest.raises(ConfigurationError, match="not valid TOML"):
        read_settings(written(elsewhere, "[listener\n"))


def test_a_missing_file_is_one_sentence(elsewhere: Path) -> None:
    with pytest.raises(ConfigurationError, match="no settings file"):
        read_settings(elsewhere / "nowhere.toml")


def test_a_file_that_cannot_be_read_is_one_sentence(elsewhere: Path) -> None:
    (elsewhere / "triage.toml").mkdir()
    for file in (None, elsewhere / "triage.toml"):
        with pytest.raises(ConfigurationError, match=r"triage\.toml cannot be read \(Is a directory\)\.$"):
            read_settings(file)


def test_the_file_area_is_a_folder_or_a_bucket(elsewhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert read_settings(written(elsewhere, "[storage]\nroot='/srv/heads'\n")).storage.root == Path("/srv/heads")
    monkeypatch.setenv("TRIAGE_STORAGE__ROOT", "s3://heads/site-1")
    settings = read_settings()
    assert settings.storage.root == "s3://heads/site-1"
    assert settings_of_record(settings)["storage"]["root"] == "s3://heads/site-1"


@pytest.mark.parametrize("root", ["gs://heads", "s3://us:secret@heads", "s3://", "file:///srv/heads"])
def test_another_url_is_no_folder_of_that_name(elsewhere: Path, root: str) -> None:
    with pytest.raises(ConfigurationError, match=r"storage\.root: a bucket is written as s3://BUCKET") as raised:
        read_settings(written(elsewhere, f"[storage]\nroot='{root}'\n"))
    assert "secret" not in str(raised.value)


def test_off_loopback_with_named_callers_is_allowed(elsewhere: Path) -> None:
    text = "[listener]\nhost = '0.0.0.0'\nallowed_callers = ['PACS@192.0.2.10']\n"
    assert read_settings(written(elsewhere, text)).listener.allowed_callers == ("PACS@192.0.2.10",)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql+psycopg://ich:secret@db.local/triage", "postgresql+psycopg://ich:***@db.local/triage"),
        ("postgresql+psycopg://ich@db.local/triage", "postgresql+psycopg://ich@db.local/triage"),
        ("sqlite:///var/triage.db", "sqlite:///var/triage.db"),
        ("postgresql://ich:se/c?r#et@db/triage", "postgresql://ich:***@db/triage"),
        ("postgresql://ich:sec@ret@db/triage", "postgresql://ich:***@db/triage"),
        (
            "postgresql://ich@db/triage?password=secret&sslmode=require",
            "postgresql://ich@db/triage?password=***&sslmode=require",
        ),
        ("postgresql://ich:secret@db/triage?sslpassword=secret", "postgresql://ich:***@db/triage?sslpassword=***"),
        ("postgresql://ich@db/triage?Password=secret", "postgresql://ich@db/triage?Password=***"),
    ],
)
def test_the_password_is_hidden_on_record(elsewhere: Path, url: str, shown: str) -> None:
    settings = read_settings(written(elsewhere, f"[database]\nurl = '{url}'\n"))
    assert settings_of_record(settings)["database"]["url"] == shown


@pytest.mark.parametrize("url", ["postgresql://ich:secret@db:port/triage", "postgresql://ich@a:1,b:2/triage"])
def test_a_database_that_cannot_be_named_is_not_put_on_record(elsewhere: Path, url: str) -> None:
    settings = read_settings(written(elsewhere, f"[database]\nurl = '{url}'\n"))
    with pytest.raises(ConfigurationError, match=r"database\.url cannot be read") as caught:
        settings_of_record(settings)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://hooks.example.org/services/T0/secret?token=secret#secret", "https://hooks.example.org/***"),
        ("https://me:secret@hooks.example.org:8443/secret", "https://hooks.example.org:8443/***"),
        ("http://127.0.0.1:9000", "http://127.0.0.1:9000/***"),
        ("https://[secret", "***"),
    ],
)
def test_of_a_webhook_the_host_alone_is_on_record(elsewhere: Path, url: str, shown: str) -> None:
    text = f"[[notify]]\nname='w'\nkind='webhook'\nurl='{url}'\nsecret_file='s'\n{PACS}"
    (webhook,) = settings_of_record(read_settings(written(elsewhere, text)))["notify"]
    assert (webhook["url"], webhook["secret_file"]) == (shown, "s")


def test_where_an_archive_is_stays_on_record(elsewhere: Path) -> None:
    text = f"{STOW}url='https://archive.example.org/dicom-web'\n[[notify]]\nname='r'\nkind='hl7'\nhost='h'\nport=1\n"
    plain = settings_of_record(read_settings(written(elsewhere, text)))
    assert plain["destinations"][0]["url"] == "https://archive.example.org/dicom-web"
    assert plain["notify"][0]["url"] == ""


def test_the_example_is_the_default(elsewhere: Path) -> None:
    assert read_settings(written(elsewhere, example_toml())) == read_settings()


def test_the_example_shows_every_key() -> None:
    shown = example_toml()
    for group in (*(f.annotation for f in Settings.model_fields.values()), DestinationSettings, NotifierSettings):
        for key in getattr(group, "model_fields", {}):
            assert any(f"\n{mark}{key} " in shown for mark in ("", "# ", "# # ")), key


def test_the_destination_and_the_notifier_of_the_example_work(elsewhere: Path) -> None:
    start = example_toml().index("# [[destinations]]")
    uncommented = f"\n{example_toml()[start:]}".replace("\n# ", "\n").replace(
        "\nOne reading list", "\n# One reading list"
    )
    tomllib.loads(uncommented)
    settings = read_settings(written(elsewhere, uncommented))
    assert [destination.name for destination in settings.destinations] == ["pacs"]
    assert [notifier.name for notifier in settings.notify] == ["ris"]


def test_every_key_says_what_it_means() -> None:
    for group in (*(f.annotation for f in Settings.model_fields.values()), DestinationSettings, NotifierSettings):
        for key, field in getattr(group, "model_fields", {}).items():
            assert field.description, key
