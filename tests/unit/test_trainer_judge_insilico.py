import json
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.onnx_models import tiny_bundle, tiny_manifest
from trainer.judge.insilico import FIELD_MM, SIZE, InSilicoFigure, expanded, load_figures
from trainer.judge.insilico_section import insilico_section
from triage.inference.predict import Predictor

LESIONS = Path(__file__).parents[2] / "trainer" / "judge" / "insilico_lesions.json"


def disc(radius: float, centre: tuple[float, float] = (256.0, 256.0)) -> np.ndarray:
    rows, columns = np.indices((SIZE, SIZE))
    return np.hypot(rows - centre[0], columns - centre[1]) <= radius


def clipped() -> np.ndarray:
    """Skull 15 pixels thick about a brain of 36 HU, black outside."""
    hu = np.zeros((SIZE, SIZE), np.float32)
    hu[disc(180)] = 80.0
    hu[disc(165)] = 36.0
    return hu


def test_the_skull_becomes_bone_and_the_outside_air() -> None:
    hu, head = expanded(clipped())
    assert hu[5, 5] == -1000.0
    assert hu[256, 256 - 172] == 1000.0
    assert hu[256, 256] == 36.0
    assert head.sum() == pytest.approx(np.pi * 180**2, rel=0.01)


def test_white_in_the_brain_is_blood() -> None:
    picture = clipped()
    picture[disc(20)] = 80.0
    assert expanded(picture)[0][256, 256] == 88.0


def test_white_against_the_skull_is_bone_down_to_a_depth() -> None:
    picture = clipped()
    picture[disc(40, (256.0, 256.0 - 165.0)) & disc(180)] = 80.0
    hu, _ = expanded(picture)
    assert hu[256, 256 - 164] == 1000.0  # 16 deep, of a skull of 15
    assert hu[256, 256 - 150] == 88.0  # 30 deep


def test_speckled_white_against_the_skull_is_blood() -> None:
    picture = clipped()
    layer = disc(165) & ~disc(160)
    rng = np.random.default_rng(1)
    picture[layer] = np.where(rng.random((SIZE, SIZE)) < 0.5, 80.0, 62.0)[layer]
    by_speckle, _ = expanded(picture)
    by_depth, _ = expanded(picture, speckle=False)
    assert (by_speckle[layer] == 1000.0).mean() < 0.15
    assert (by_depth[layer] == 1000.0).mean() > 0.4


def test_bone_is_measured_from_the_sinus_inside_it() -> None:
    picture = clipped()
    sinus = disc(12, (256.0 - 160.0, 256.0))
    picture[disc(28, (256.0 - 155.0, 256.0)) & disc(180)] = 80.0
    picture[sinus] = 0.0
    hu, _ = expanded(picture)
    assert hu[256 - 160 + 14, 256] == 1000.0


def test_every_drawn_lesion_lies_on_the_figure() -> None:
    content = json.loads(LESIONS.read_text())
    assert sorted(map(int, content["polygons"])) == [4, 16, 25, 41, 53, 62, 63, 90]
    assert "eye" in content["provenance"]
    for points in content["polygons"].values():
        corners = np.array(points)
        assert corners.min() > 56
        assert corners.max() < 456
        assert 90 < cv2.contourArea(corners.astype(np.float32)) * (FIELD_MM / SIZE) ** 2 < 1100


def test_a_picture_of_another_size_is_refused(tmp_path: Path) -> None:
    row = {"uid": 4, "lesion_type": "epidural", "attenuation": 65.0, "filename": "a.png"}
    (tmp_path / "metadata.json").write_text(json.dumps([row]))
    cv2.imwrite(str(tmp_path / "a.png"), np.zeros((64, 64), np.uint8))
    with pytest.raises(ValueError, match="no figure of 2337 x 2337"):
        load_figures(tmp_path)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (None, "holds no metadata.json"),
        ("figures", "is no list of figures"),
        ('[{"uid": 4, "filename": "a.png"}]', "is no list of figures"),
        ('{"uid": 4}', "is no list of figures"),
    ],
)
def test_another_folder_is_named(tmp_path: Path, content: str | None, sentence: str) -> None:
    if content is not None:
        (tmp_path / "metadata.json").write_text(content)
    with pytest.raises(ValueError, match=sentence):
        load_figures(tmp_path)


def test_figures_are_read_with_their_lesions(tmp_path: Path) -> None:
    rows = [
        {"uid": 4, "lesion_type": "epidural", "attenuation": 65.0, "filename": "a.png"},
        {"uid": 1, "lesion_type": None, "attenuation": 69.4, "filename": "a.png"},
    ]
    (tmp_path / "metadata.json").write_text(json.dumps(rows))
    picture = np.full((2337, 2337), 255, np.uint8)
    grey = clipped() * 255 / 80
    picture[57:2281, 57:2281] = cv2.resize(grey, (2224, 2224), interpolation=cv2.INTER_NEAREST)
    cv2.imwrite(str(tmp_path / "a.png"), picture)
    first, second = load_figures(tmp_path)
    assert (first.visible, second.visible) == (True, False)
    assert first.outline is not None
    assert second.outline is None
    assert first.hu[256, 256] == pytest.approx(36.0, abs=0.3)
    assert first.head_mm2 == pytest.approx(np.pi * (180 * FIELD_MM / SIZE) ** 2, rel=0.02)


def test_the_section_counts_outlines_and_keeps_the_faint_apart(tmp_path: Path) -> None:
    """The net of the tests outlines 50 to 90 HU; one lesion lies where it was drawn, the other does not."""
    tiny_bundle(tmp_path, tiny_manifest(size=128, pixel_mm=2.0))
    bright = clipped()
    bright[disc(20)] = 70.0
    there, elsewhere = disc(20), disc(20, (200.0, 200.0))
    figure = InSilicoFigure(1, "epidural", 70.0, expanded(bright)[0], expanded(bright)[0], 100.0, there)
    plain = expanded(clipped())[0]
    figures = [
        figure,
        replace(figure, uid=2, outline=elsewhere),
        replace(figure, uid=3, attenuation_hu=30.0, hu=plain, plain_hu=plain, outline=None),
        replace(figure, uid=4, lesion="", hu=plain, plain_hu=plain, head_mm2=200.0, outline=None),
        replace(figure, uid=5, lesion="", hu=plain, plain_hu=plain, head_mm2=50.0, outline=None),
    ]
    section = insilico_section(Predictor.load(tmp_path, "cpu", threads=1), figures)
    found = {row.figure.name: row for row in section.rows}
    main = found["mask score: AUC of 2 lesions of 50 HU and more against 2 without"]
    assert (main.figure.value, main.figure.n, main.met) == (1.0, 4, True)
    assert found["yardstick: small head area instead of the score"].figure.value == 0.5
    assert found["the 1 fainter lesions"].figure.value == 0.5
    assert found["outlines that overlap the lesion"].figure.value == 1.0
    assert [case["uid"] for case in section.cases] == [1, 2, 3, 4, 5]
    assert section.cases[0]["covered"] > 0.9
    assert section.cases[1]["covered"] == 0.0
