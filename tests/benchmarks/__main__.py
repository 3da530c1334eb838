"""``make bench``: run the benchmarks and print figures, ratios and what became of the aims.

``make bench BENCH_ARGS="receive --rounds 5"`` runs one of them.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from rich.console import Console
from rich.table import Table

from tests.benchmarks import flag, heads, nets, objects, pages, prepare, receive, slices, training
from tests.benchmarks.harness import Aim, Contender, Limit, side_by_side, table


@dataclass(frozen=True)
class Benchmark:
    """Contenders, with whom they are compared (None: with nobody), and what is aimed for."""

    about: str
    contenders: Callable[[], list[Contender]]
    against: str | None
    goals: Sequence[Aim | Limit]


BENCHMARKS = {
    "receive": Benchmark(receive.__doc__ or "", receive.contenders, "Orthanc", receive.AIMS),
    "flag": Benchmark(flag.__doc__ or "", flag.contenders, None, flag.LIMITS),
    "objects": Benchmark(objects.__doc__ or "", objects.contenders, None, objects.LIMITS),
    "pages": Benchmark(pages.__doc__ or "", pages.contenders, None, pages.LIMITS),
    "slices": Benchmark(slices.__doc__ or "", slices.contenders, None, slices.LIMITS),
    "prepare": Benchmark(prepare.__doc__ or "", prepare.contenders, None, prepare.LIMITS),
    "heads": Benchmark(heads.__doc__ or "", heads.contenders, None, heads.LIMITS),
    "nets": Benchmark(nets.__doc__ or "", nets.contenders, nets.SINGLE, nets.LIMITS),
    "training": Benchmark(training.__doc__ or "", training.contenders, "bare loop", training.AIMS),
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the chosen benchmarks, or all."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument("name", nargs="*", help=f"which: {', '.join(BENCHMARKS)}; default all")
    parser.add_argument("--rounds", type=int, default=3, help="how often each contender runs (default 3)")
    chosen = parser.parse_args(arguments)
    unknown = set(chosen.name) - set(BENCHMARKS)
    if unknown:
        parser.error(f"there is no benchmark {', '.join(sorted(unknown))}; there are {', '.join(BENCHMARKS)}")
    out = Console(width=140)
    for name in chosen.name or BENCHMARKS:
        show(name, BENCHMARKS[name], chosen.rounds, out)


def show(name: str, benchmark: Benchmark, rounds: int, out: Console) -> None:
    """Run one benchmark and print it."""
    out.print(f"[bold]{name}[/bold]: {benchmark.about.strip()} Medians of {rounds} rounds.")
    with out.status("") as status:
        comparison = side_by_side(benchmark.contenders(), rounds, status.update)
    head, *rows = table(comparison, benchmark.against)
    drawn = Table()
    for number, column in enumerate(head):
        drawn.add_column(column, justify="right" if number else "left")
    for row in rows:
        drawn.add_row(*row)
    out.print(drawn)
    for goal in benchmark.goals:
        out.print(goal.verdict(comparison), highlight=False)


if __name__ == "__main__":
    main()
