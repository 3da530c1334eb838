"""Differences between variants on the same things, with intervals, as a table for the model card."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from trainer.ablation.said import Judged, Said, figures_of
from trainer.ablation.variants import EVERYTHING
from trainer.measures.interval import BOOTSTRAPS, Interval, Numbers
from trainer.measures.weighted import value_of

_SEED = 73_000
"""Of the bootstrap."""


def change(variant: Sequence[Judged], base: Sequence[Judged], draws: int = BOOTSTRAPS) -> Interval:
    """Mean over the seeds of variant minus base, with 95 % from drawing cases and seeds with repetition.

    Cases are drawn once for all seeds and for both sides, since all saw the same; ``n`` counts cases.

    Raises
    ------
    ValueError
        The cases allow no figure, or the sides are of different length.
    """
    pairs = list(zip(variant, base, strict=True))
    value = float(np.mean([value_of(one.figure) - value_of(other.figure) for one, other in pairs]))
    index = pairs[0][0].index
    count = int(index.max()) + 1
    rng = np.random.default_rng(_SEED)
    times = rng.multinomial(count, np.full(count, 1.0 / count), size=draws).astype(np.float64)[:, index]
    by_seed: Numbers = np.stack([one.figure.of(times) - other.figure.of(times) for one, other in pairs], axis=1)
    seeds = rng.multinomial(len(pairs), np.full(len(pairs), 1.0 / len(pairs)), size=draws) / len(pairs)
    drawn = (seeds * by_seed).sum(axis=1)
    drawn = drawn[~np.isnan(drawn)]
    low, high = np.percentile(drawn, [2.5, 97.5]) if drawn.size else (value, value)
    return Interval(value, min(float(low), value), max(float(high), value), count)


def table(found: Mapping[str, Mapping[int, Said]]) -> str:
    """Markdown: a row for each variant, a column for each figure.

    Parameters
    ----------
    found : mapping
        Answers by variant and seed. The first row has means over seeds with their range, the others differences
        from it, on the seeds that both have.
    """
    by_variant = {name: {seed: figures_of(said) for seed, said in seeds.items()} for name, seeds in found.items()}
    whole = by_variant[EVERYTHING]
    columns = list(next(iter(whole.values())))
    lower = {column for column in columns if next(iter(whole.values()))[column].better == "lower"}
    heads = [f"{column} (lower is better)" if column in lower else column for column in columns]
    rows = [["variant", "seeds", *heads], ["---"] * (len(columns) + 2)]
    rows.append([EVERYTHING, str(len(whole)), *(_spread([one[name] for one in whole.values()]) for name in columns)])
    for name, seeds in by_variant.items():
        both = sorted(set(seeds) & set(whole))
        if name != EVERYTHING and both:
            changes = [change([seeds[s][c] for s in both], [whole[s][c] for s in both]) for c in columns]
            rows.append([name, str(len(both)), *map(_signed, changes)])
    lines = ["SYNTHETIC heads, nets trained briefly: only the differences say something.", ""]
    return "\n".join([*lines, *("| " + " | ".join(row) + " |" for row in rows)]) + "\n"


def _spread(seeds: Sequence[Judged]) -> str:
    values = [value_of(one.figure) for one in seeds]
    return f"{np.mean(values):.3f} ({min(values):.3f} to {max(values):.3f})"


def _signed(interval: Interval) -> str:
    shown = f"{interval.value:+.3f} [{interval.low:+.3f}, {interval.high:+.3f}]"
    return shown if interval.low <= 0.0 <= interval.high else f"**{shown}**"
