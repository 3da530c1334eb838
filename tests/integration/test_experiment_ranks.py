"""Several processes train one net, as ``torchrun`` starts them."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from tests.caches import Made, written_cache
from tests.integration.two_ranks import PROTOCOLS, train
from trainer.experiment.checkpoint import load_tensors
from trainer.experiment.ranks import Ranks, joined_ranks

REPOSITORY = Path(__file__).parents[2]


def run_group(command: list[str]) -> None:
    """Run ``torchrun``, which ends what it started when it is asked to end."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(command, cwd=REPOSITORY, env=environment, stderr=subprocess.PIPE, text=True)
    try:
        _, told = process.communicate(timeout=200)
        assert process.returncode == 0, told
    finally:
        process.terminate()
        process.wait(60)


@pytest.mark.slow
def test_two_ranks_with_half_batches_end_with_the_same_weights(tmp_path: Path) -> None:
    cache = written_cache(tmp_path / "cache", Made(patients=8, slices=6))
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m"]
    arguments = ["tests.integration.two_ranks", str(tmp_path / "cache"), str(tmp_path)]
    run_group([*command, *arguments])
    for name in PROTOCOLS:
        first, second = (load_tensors(tmp_path / f"{name}-{rank}-of-2.pt") for rank in (0, 1))
        assert [key for key in first if not torch.equal(first[key], second[key])] == []
    train("light_classifier", cache, tmp_path / "alone", Ranks())
    alone = load_tensors(tmp_path / "alone" / "light_classifier-0-of-1.pt")
    together = load_tensors(tmp_path / "light_classifier-0-of-2.pt")
    for key, value in alone.items():
        torch.testing.assert_close(together[key], value, rtol=1e-4, atol=1e-5)


def test_without_torchrun_there_is_one_process() -> None:
    with joined_ranks("cpu") as (ranks, device):
        assert ranks == Ranks(0, 1)
        assert ranks.first
        assert device.type == "cpu"
        assert ranks.same("said") == "said"


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_a_gpu_that_is_not_there_is_said() -> None:
    with pytest.raises(ValueError, match="no CUDA GPU here"), joined_ranks("cuda"):
        pass
