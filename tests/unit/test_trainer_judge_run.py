"""What cannot be judged is refused before anything is run."""

from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner

from tests.onnx_models import tiny_bundle
from trainer.cli import main
from trainer.judge.run import Judged, judge
from triage.domain.errors import BundleError


@pytest.mark.parametrize(
    ("asked", "sentence"),
    [
        (lambda: Judged(Path("bundle")), "nothing to judge on"),
        (lambda: Judged(Path("bundle"), held_out=1), "one with blood and one without"),
        (
            lambda: Judged(Path("bundle"), only="template", insilico=Path("figures")),
            "--only is about made exams: it needs --held-out",
        ),
    ],
)
def test_what_fits_nothing_is_refused(asked: Callable[[], Judged], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        asked()


def test_the_other_bundle_is_read_before_anything_is_judged(tmp_path: Path) -> None:
    lines: list[str] = []
    tiny_bundle(tmp_path / "bundle")
    (tmp_path / "other").mkdir()
    with pytest.raises(BundleError):
        judge(Judged(bundle=tmp_path / "bundle", against=tmp_path / "other", insilico=tmp_path), lines.append)
    assert lines == []


def test_a_report_into_no_folder_is_refused_before_anything_is_judged(tmp_path: Path) -> None:
    tiny_bundle(tmp_path / "bundle")
    out = tmp_path / "nowhere" / "judged.md"
    ended = CliRunner().invoke(main, ["judge", str(tmp_path / "bundle"), "--held-out", "2", "--out", str(out)])
    assert ended.exit_code == 1
    assert ended.stderr == f"Error: there is no folder {out.parent} to write judged.md into\n"
