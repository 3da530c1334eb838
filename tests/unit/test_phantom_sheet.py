"""The contact sheet: made heads, named, beside slices of a real series."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from click.testing import CliRunner

from trainer.cli import main
from trainer.phantom import sheet
from trainer.phantom.sheet import MADE_COLUMNS, REAL_COLUMNS, ROWS, SIDE_PX, draw_sheet
from triage.domain.finding import SUBTYPES


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three heads of each source instead of twenty."""
    whole = sheet._orders(template=True)
    monkeypatch.setattr(sheet, "_orders", lambda template: [whole[2], whole[10], whole[-3]])


def test_forty_heads_show_every_subtype_twice_from_both_sources() -> None:
    orders = [*sheet._orders(template=True), *sheet._orders(template=False)]
    assert len(orders) == MADE_COLUMNS * ROWS == 40
    assert [sum(order.subtype is subtype for order in orders) for subtype in SUBTYPES] == [4] * len(SUBTYPES)
    assert {"calcium", "tumour", "falx and sinus", "craniectomy", "vertex, 7 mm", "petrous ridges"} <= {
        order.name for order in orders
    }


@pytest.mark.usefixtures("few")
def test_the_sheet_is_the_same_for_the_same_seed(shared_data: Path) -> None:
    first, again, other = (draw_sheet(None, shared_data / "ge_head_tilt", seed) for seed in (4, 4, 5))
    assert first.dtype == np.uint8
    assert first.shape[1] > (MADE_COLUMNS + REAL_COLUMNS) * SIDE_PX
    assert np.array_equal(first, again)
    made = slice(0, MADE_COLUMNS * SIDE_PX)
    assert not np.array_equal(first[:, made], other[:, made])
    assert np.array_equal(first[:, MADE_COLUMNS * SIDE_PX :], other[:, MADE_COLUMNS * SIDE_PX :])


@pytest.mark.usefixtures("few")
def test_made_heads_and_real_slices_are_shown(shared_data: Path) -> None:
    drawn = draw_sheet(None, shared_data / "ge_head_tilt", 4)
    tile = drawn[:, :SIDE_PX][: drawn.shape[0] // ROWS]
    assert 0.02 < (tile == 255).mean() < 0.4  # bone
    assert (tile == 0).mean() > 0.3  # air
    assert ((tile > 60) & (tile < 180)).mean() > 0.05  # brain
    real = drawn[:, -REAL_COLUMNS * SIDE_PX :]
    assert 0.05 < ((real > 60) & (real < 180)).mean() < 0.4


@pytest.mark.usefixtures("few")
def test_the_command_writes_a_picture(tmp_path: Path, shared_data: Path) -> None:
    out = tmp_path / "heads.png"
    given = ["sheet", str(out), "--beside", str(shared_data / "ge_head_tilt"), "--seed", "2"]
    result = CliRunner().invoke(main, [*given, "--anatomy", str(shared_data / "ct_template")])
    assert result.exit_code == 0, result.output
    image = cv2.imread(str(out), cv2.IMREAD_UNCHANGED)
    assert image is not None
    assert image.ndim == 2


def test_only_png_is_written(tmp_path: Path, shared_data: Path) -> None:
    beside = str(shared_data / "ge_head_tilt")
    result = CliRunner().invoke(main, ["sheet", str(tmp_path / "heads.jpg"), "--beside", beside])
    assert result.exit_code == 1
    assert "PNG" in result.output


def test_a_missing_folder_and_a_missing_template_are_said_before_any_head_is_drawn(
    tmp_path: Path, shared_data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sheet, "_made_slice", None)
    beside = ["--beside", str(shared_data / "ge_head_tilt")]
    (tmp_path / "empty").mkdir()
    for given, said in (
        ([str(tmp_path / "none" / "heads.png")], "no folder"),
        ([str(tmp_path / "heads.png"), "--anatomy", str(tmp_path / "empty")], "scct_hu_derived"),
    ):
        result = CliRunner().invoke(main, ["sheet", *given, *beside])
        assert result.exit_code == 1, result.output
        assert said in result.output


def test_a_folder_without_a_series_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("no image", encoding="utf-8")
    with pytest.raises(ValueError, match="no DICOM file"):
        draw_sheet(None, tmp_path, 1)


def test_a_small_slice_is_padded_with_air_and_a_large_one_cut() -> None:
    small = sheet._on_raster(np.full((100, 80), 40.0, np.float32), (1.0, 1.0))
    assert small.shape == (SIDE_PX, SIDE_PX)
    assert small[0, 0] == -1024
    assert small[SIDE_PX // 2, SIDE_PX // 2] == 40
    large = sheet._on_raster(np.full((512, 512), 40.0, np.float32), (0.5, 0.9))
    assert large.shape == (SIDE_PX, SIDE_PX)
    assert large.min() == 40
