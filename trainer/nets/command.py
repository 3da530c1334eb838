"""``trainer nets``: what a protocol can name, and what each costs."""

from __future__ import annotations

import json

import click


@click.command()
@click.option("--json", "as_json", is_flag=True, help="A list of objects instead of a table.")
def nets_command(as_json: bool) -> None:
    """List the nets and what they cost.

    Name, paper, task, parameters, and GFLOP for one slice at the paper's input size.

    Example: trainer nets --json
    """
    from trainer.nets.cost import cost_of
    from trainer.nets.registry import NETS

    costs = {name: cost_of(name) for name in NETS}
    if as_json:
        listed = [
            {
                "name": name,
                "title": entry.title,
                "paper": entry.paper or None,
                "task": entry.task,
                "parameters": costs[name].parameters,
                "gflop": round(costs[name].gflop, 3),
                "size": entry.size,
                "in_channels": entry.in_channels,
                "classes": entry.classes,
            }
            for name, entry in NETS.items()
        ]
        click.echo(json.dumps(listed, indent=2))
        return
    click.echo(f"{'name':<18}{'paper':<7}{'task':<8}{'parameters':>12}{'GFLOP':>8}  {'input':<15}{'classes':<9}title")
    for name, entry in NETS.items():
        cost = costs[name]
        shown = f"{entry.in_channels} x {entry.size} x {entry.size}"
        click.echo(
            f"{name:<18}{entry.paper or 'ours':<7}{entry.task:<8}{cost.parameters:>12,}{cost.gflop:>8.1f}  "
            f"{shown:<15}{entry.classes:<9}{entry.title}"
        )
