"""``trainer train`` as a person gives it."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from tests.caches import Made, written_cache
from trainer.cli import main
from trainer.experiment.command import is_experiment
from trainer.experiment.run_folder import load_run

PROTOCOL = """
name = "small"
title = "A small protocol"
paper = ""
variant = "honest"
datasets = ["phantom"]
classes = "binary"
seed = 3
remarks = ["Everything about it is small."]
input = { size = 32, windows = [[40.0, 80.0]] }
split = { unit = "patient" }
nets = [{ name = "d_unet", options = { widths = [8, 16], bottleneck = 16 } }, { name = "resnet18" }]
loss = { mask = "dice", label = "bce" }
optimiser = {}
fit = { epochs = 30, batch = 8 }
balance = { kind = "paste", share = 0.5 }
"""


@pytest.fixture
def protocol(tmp_path: Path) -> Path:
    path = tmp_path / "small.toml"
    path.write_text(PROTOCOL)
    return path


def trained(*arguments: object) -> tuple[int, str, str]:
    result = CliRunner().invoke(main, ["train", *(str(argument) for argument in arguments)])
    return result.exit_code, result.stdout, result.stderr


def test_an_experiment_is_trained_and_goes_on(tmp_path: Path, protocol: Path) -> None:
    written_cache(tmp_path / "cache", Made(slices=3))
    common = (tmp_path / "run", "--protocol", protocol, "--data", tmp_path / "cache", "--epochs", 1, "--steps", 2)
    code, said, told = trained(*common, "--threads", 1, "--net", "d_unet")
    assert code == 0, told
    assert "d_unet: 1 of 1 folds done\nresnet18: 0 of 1 folds done" in said
    assert "small: Everything about it is small." in told
    assert "such pictures are made, not found" in told
    assert "d_unet: epoch 1 of 1, loss " in told
    assert "validation loss" in told
    assert "slices/s" in told
    run = load_run(tmp_path / "run")
    assert run.record.overrides == {"fit.epochs": 1, "fit.steps_per_epoch": 2}
    assert run.record.began_at.endswith("+00:00")
    code, said, told = trained(*common)
    assert code == 0, told
    assert "resnet18: 1 of 1 folds done" in said
    assert "d_unet: epoch" not in told


def test_what_cannot_be_trained_is_one_sentence(tmp_path: Path, protocol: Path) -> None:
    written_cache(tmp_path / "cache", Made(size=64, slices=2))
    cases = {
        (protocol,): "the experiment small needs --data",
        ("nonsense",): "there is no protocol 'nonsense': give one of",
        ("demo", "--data", tmp_path): "makes its own heads",
        (protocol, "--data", tmp_path): "holds no finished cache",
        (protocol, "--data", tmp_path / "cache"): "--size 32 --geometry resize",
    }
    for arguments, sentence in cases.items():
        code, _, told = trained(tmp_path / "run", "--protocol", *arguments)
        assert code == 1
        assert sentence in told
        assert told.count("\n") == 1 + told.count("small: Everything")
    assert not (tmp_path / "run").exists()


def test_both_kinds_of_protocol_are_told_apart(tmp_path: Path, protocol: Path) -> None:
    assert is_experiment("ihsnet")
    assert is_experiment(str(protocol))
    assert not is_experiment("demo")
    shipped = Path(__file__).parents[2] / "trainer" / "protocols" / "demo.toml"
    assert not is_experiment(str(shipped))
    (tmp_path / "broken.toml").write_text("=")
    with pytest.raises(ValueError, match="no TOML"):
        is_experiment(str(tmp_path / "broken.toml"))
