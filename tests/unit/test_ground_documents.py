"""What the documents promise is there: settings, commands, targets, files."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import click
import pytest
from pydantic_core import PydanticUndefined

from tests.deploy import subcommands
from trainer.cli import main as trainer
from triage.entrypoints.cli import triage
from triage.settings import DestinationSettings, NotifierSettings, Settings, example_toml, read_settings

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text()
DOCUMENTS = sorted([ROOT / "README.md", ROOT / "CHANGELOG.md", *(ROOT / "docs").glob("*.md")])


def described_settings() -> list[str]:
    """One row of the README's table for every key, in the order of the settings."""
    groups = {
        name: field.annotation
        for name, field in Settings.model_fields.items()
        if name not in ("destinations", "notify")
    }
    rows = []
    for name, group in [*groups.items(), ("destinations", DestinationSettings), ("notify", NotifierSettings)]:
        for key, field in group.model_fields.items():
            if field.default is PydanticUndefined:
                default = "required"
            elif field.default is None:
                default = "–"
            else:
                default = f"`{toml_value(field.default)}`"
            rows.append(f"| `{name}.{key}` | {default} | {field.description} |")
    return rows


def toml_value(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return "[" + ", ".join(toml_value(item) for item in value) + "]"
    return f"{value}" if isinstance(value, int | float) else f'"{value}"'


def shell_lines(text: str) -> list[str]:
    blocks = re.findall(r"```sh\n(.*?)```", text, re.DOTALL)
    return [line.split("#")[0].strip() for block in blocks for line in block.splitlines()]


def subcommand(group: click.Group, words: list[str]) -> click.Command:
    """The command that ``words`` name, without its arguments."""
    command: click.Command = group
    for word in words:
        if not isinstance(command, click.Group) or word not in (known := subcommands(command)):
            break
        command = known[word]
    return command


def test_the_settings_table_is_the_settings() -> None:
    between = README.split("<!-- settings:")[1].split("<!-- end of settings -->")[0]
    written = [line for line in between.splitlines() if line.startswith("| `")]
    expected = described_settings()
    assert written == expected, "write this into the README:\n" + "\n".join(expected)


def test_the_printed_example_is_a_valid_settings_file(tmp_path: Path) -> None:
    (tmp_path / "triage.toml").write_text(example_toml())
    assert read_settings(tmp_path / "triage.toml").listener.host == "127.0.0.1"


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_toml_blocks_hold_known_keys(document: Path, tmp_path: Path) -> None:
    for block in re.findall(r"^ *```toml\n(.*?)^ *```", document.read_text(), re.DOTALL | re.MULTILINE):
        (tmp_path / "triage.toml").write_text(block)
        assert tomllib.loads(block)
        read_settings(tmp_path / "triage.toml")


def known_command(words: list[str]) -> bool:
    """Whether a documented ``triage ...`` or ``trainer ...`` names a command and options that exist."""
    root = triage if words[0] == "triage" else trainer
    options = [word.strip("[]`|").split("=")[0] for word in words[1:] if word.lstrip("[").startswith("--")]
    plain = [word for word in words[1:] if not word.lstrip("[").startswith("--")]
    if words[1:2] == ["--config"]:
        plain, options = plain[1:], options[1:]
    if not plain:
        return True
    found = subcommand(root, plain)
    taken = {name for parameter in found.params for name in parameter.opts} | {"--help"}
    return found is not root and set(options) <= taken


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_documented_commands_exist(document: Path) -> None:
    text = document.read_text()
    quoted = [span for span in re.findall(r"`([^`\n]+)`", text) if span.startswith(("triage ", "trainer "))]
    typed = [re.sub(r"^\.venv/bin/", "", line) for line in shell_lines(text)]
    for command in [*quoted, *(line for line in typed if line.startswith(("triage ", "trainer ")))]:
        assert known_command(command.split(" > ")[0].split()), f"{document.name} promises `{command}`"


def test_every_command_of_the_daemon_is_in_the_readme() -> None:
    for name, command in subcommands(triage).items():
        shown = [f"{name} {sub}" for sub in subcommands(command)] if isinstance(command, click.Group) else [name]
        for words in shown:
            assert f"`triage {words}" in README, f"the README does not mention triage {words}"


def test_every_command_of_the_trainer_is_in_the_readme() -> None:
    for name in subcommands(trainer):
        assert f"`trainer {name}`" in README, f"the README does not mention trainer {name}"


def all_commands(group: click.Group) -> list[click.Command]:
    nested = [all_commands(c) if isinstance(c, click.Group) else [c] for c in subcommands(group).values()]
    return [command for commands in nested for command in commands]


@pytest.mark.parametrize("command", [*all_commands(triage), *all_commands(trainer)], ids=lambda c: c.name)
def test_every_command_has_help_with_an_example(command: click.Command) -> None:
    assert command.help
    assert "xample" in f"{command.help} {command.epilog}", f"{command.name} --help shows no example"


def test_documented_targets_exist() -> None:
    makefile = (ROOT / "Makefile").read_text()
    targets = set(re.findall(r"^([a-z-]+):", makefile, re.MULTILINE))
    for document in DOCUMENTS:
        for target in re.findall(r"(?:^|`|&& |sudo )make ([a-z]+)", document.read_text(), re.MULTILINE):
            assert target in targets, f"{document.name} promises make {target}"


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_somewhere(document: Path) -> None:
    for link in re.findall(r"\]\(([^)#]+?)(?:#[^)]*)?\)", document.read_text()):
        if not link.startswith("http"):
            assert (document.parent / link).exists(), f"{document.name} links to {link}"


def anchors(document: Path) -> set[str]:
    """What a link to a heading of a document may be called: small letters, hyphens for spaces, no other signs."""
    headings = re.findall(r"^#+ (.*)$", document.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_to_headings_lead_to_headings(document: Path) -> None:
    for file, anchor in re.findall(r"\]\(([^)#:]*)#([^)]+)\)", document.read_text()):
        target = document.parent / file if file else document
        assert anchor in anchors(target), f"{document.name} links to {file}#{anchor}"
