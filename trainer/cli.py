"""The ``trainer`` command. torch is imported only by the commands that need it."""

from __future__ import annotations

import click

from trainer.ablation.command import ablate_command
from trainer.bundles.command import export_command
from trainer.datasets.command import prepare_command
from trainer.experiment.command import train_command
from trainer.judge.command import judge_command
from trainer.nets.command import nets_command
from trainer.phantom.command import phantom_command
from trainer.phantom.sheet_command import sheet_command
from trainer.reports.command import compare_command, evaluate_command


@click.group()
def main() -> None:
    """Build, measure and export the models that the daemon loads.

    From a data set to a bundle: prepare, train, evaluate, compare, export; nets lists the networks. SYNTHETIC heads:
    phantom, sheet. What a bundle made of them is worth: judge, ablate. docs/training.md goes through all of it.

    Example: trainer train runs/ihsnet --protocol ihsnet --data caches/physionet
    """


main.add_command(ablate_command, name="ablate")
main.add_command(export_command, name="export")
main.add_command(judge_command, name="judge")
main.add_command(nets_command, name="nets")
main.add_command(phantom_command, name="phantom")
main.add_command(prepare_command, name="prepare")
main.add_command(sheet_command, name="sheet")
main.add_command(train_command, name="train")
main.add_command(evaluate_command, name="evaluate")
main.add_command(compare_command, name="compare")
