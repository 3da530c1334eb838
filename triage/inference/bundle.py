"""The bundle folder: ``bundle.json``, two ONNX files, an optional ``card.md``, and ``SHA256SUMS`` over all of them."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from triage.domain.errors import BundleError
from triage.domain.finding import DecisionRule
from triage.inference.card import card_of
from triage.inference.manifest import Manifest, format_manifest, parse_manifest
from triage.inference.preprocess import PreprocessSpec

SUMS = "SHA256SUMS"
MANIFEST = "bundle.json"
CLASSIFIER = "slice_classifier.onnx"
SEGMENTER = "munet.onnx"
_REQUIRED = (MANIFEST, CLASSIFIER, SEGMENTER)
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_LINE = re.compile(rf"([0-9a-f]{{64}})  ({_NAME.pattern})")


@dataclass(frozen=True, slots=True)
class Bundle:
    """A bundle whose checksums were verified. ``digest`` is the SHA-256 of its ``SHA256SUMS`` file."""

    path: Path
    digest: str
    manifest: Manifest

    @property
    def name(self) -> str:
        """Name that results carry."""
        return self.manifest.name

    @property
    def version(self) -> str:
        """Version that results carry."""
        return self.manifest.version

    @property
    def demonstration(self) -> bool:
        """Whether page, SEG and SR must say that this bundle is for demonstration only."""
        return self.manifest.provenance.demonstration

    @property
    def measured(self) -> tuple[str, ...]:
        """What the SR says of the data that this bundle learned from, and of what was measured, a sentence each."""
        return card_of(self.manifest).sentences

    @property
    def preprocessing(self) -> PreprocessSpec:
        """What the nets were trained to see."""
        return self.manifest.preprocessing

    @property
    def rule(self) -> DecisionRule:
        """The exam-score limits."""
        return self.manifest.rule


def load_bundle(path: Path) -> Bundle:
    """Read a bundle folder and verify that it holds exactly what ``SHA256SUMS`` lists.

    Raises
    ------
    BundleError
        A file is missing, damaged or not listed, or ``bundle.json`` is not valid.
    """
    if not path.is_dir():
        raise BundleError(f"There is no bundle folder at {path}; set inference.bundle to a folder with {MANIFEST}.")
    sums = _read(path / SUMS)
    listed = _parse_sums(sums, path)
    present = {p.name for p in path.iterdir()} - {SUMS}
    for name in sorted(present ^ set(listed)):
        what = "is not listed in" if name in present else "is missing although listed in"
        raise BundleError(f"{name} {what} {SUMS} of the bundle {path.name}; copy the bundle again.")
    for name in _REQUIRED:
        if name not in listed:
            raise BundleError(f"The bundle {path.name} has no {name}; it cannot be used.")
    for name, expected in listed.items():
        if _sha256(_read(path / name)) != expected:
            raise BundleError(f"{name} of the bundle {path.name} does not match {SUMS}; copy the bundle again.")
    return Bundle(path, _sha256(sums), parse_manifest(_read(path / MANIFEST)))


def write_bundle(folder: Path, manifest: Manifest, files: Mapping[str, bytes]) -> Bundle:
    """Write a bundle folder: ``files`` by name (both ONNX files, perhaps ``card.md``), manifest and checksums.

    An earlier bundle in the folder is replaced; nothing else is ever removed. The same input gives the same bytes,
    and so the same digest.

    Raises
    ------
    BundleError
        The folder holds something else than a bundle, a required file is not given, or a name is no plain file name.
    """
    folder.mkdir(parents=True, exist_ok=True)
    contents = {**files, MANIFEST: format_manifest(manifest)}
    for name in {*contents, *_REQUIRED}:
        if name not in contents or name == SUMS or not _NAME.fullmatch(name):
            raise BundleError(f"A bundle is written with {', '.join(_REQUIRED)} and plain file names; see {name!r}.")
    _remove_earlier(folder)
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    lines = [f"{_sha256(contents[name])}  {name}\n" for name in sorted(contents)]
    (folder / SUMS).write_text("".join(lines), encoding="ascii")
    return load_bundle(folder)


def check_replaceable(folder: Path) -> None:
    """Make sure, before work begins, that `write_bundle` may write here: nothing is there, or a bundle alone.

    Raises
    ------
    BundleError
        The folder holds something else, or is none.
    """
    if folder.exists() and not folder.is_dir():
        raise BundleError(f"{folder} is no folder; choose another one.")
    _earlier(folder)


def _remove_earlier(folder: Path) -> None:
    for name in _earlier(folder):
        (folder / name).unlink()


def _earlier(folder: Path) -> set[str]:
    """Names of the files of the bundle that is there."""
    present = {p.name for p in folder.iterdir()} if folder.is_dir() else set()
    if not present:
        return present
    listed = _parse_sums(_read(folder / SUMS), folder) if SUMS in present else {}
    foreign = present - set(listed) - {SUMS}
    if foreign:
        raise BundleError(f"{folder} holds {sorted(foreign)[0]}, which is no part of a bundle; choose another folder.")
    return present


def _parse_sums(content: bytes, path: Path) -> dict[str, str]:
    listed: dict[str, str] = {}
    for line in content.decode("ascii", errors="replace").splitlines():
        match = _LINE.fullmatch(line)
        if match is None or match[2] in listed:
            raise BundleError(f"{SUMS} of the bundle {path.name} has a line that is no checksum: {line[:80]!r}.")
        listed[match[2]] = match[1]
    return listed


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as exc:
        raise BundleError(f"{path.name} of the bundle {path.parent.name} cannot be read: {exc.strerror}.") from exc


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
