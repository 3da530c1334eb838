"""``trainer prepare``: a downloaded data set becomes a cache."""

from __future__ import annotations

from pathlib import Path

import click

from triage.domain.errors import TriageError

DEFAULT_SIZE, DEFAULT_GEOMETRY, DEFAULT_PIXEL_MM = 256, "resize", 1.0


@click.command("prepare")
@click.argument("dataset")
@click.argument("root", type=click.Path(path_type=Path))
@click.argument("out", type=click.Path(file_okay=False, path_type=Path))
@click.option("--protocol", help="Take size and geometry from this experiment: shipped name, or path of a TOML file.")
@click.option("--size", type=int, help=f"Rows and columns; {DEFAULT_SIZE} if not given.")
@click.option(
    "--geometry",
    type=click.Choice(["resize", "raster"]),
    help="resize: the whole image shrunk to the square, as the papers do. raster: mm about its centre, as the daemon "
    f"does. {DEFAULT_GEOMETRY} if not given.",
)
@click.option("--pixel-mm", type=float, help=f"Side of a pixel of a raster; {DEFAULT_PIXEL_MM} if not given.")
@click.option("--workers", type=click.IntRange(0), default=2, show_default=True, help="Processes; 0: only this one.")
def prepare_command(
    dataset: str,
    root: Path,
    out: Path,
    protocol: str | None,
    size: int | None,
    geometry: str | None,
    pixel_mm: float | None,
    workers: int,
) -> None:
    """Write the slices of DATASET, unpacked in ROOT, to the cache OUT.

    A run that was stopped goes on where it was when the same command is given again.

    Example: trainer prepare physionet_ct_ich ct-ich-1.3.1 caches/physionet --protocol dunet
    """
    from trainer.datasets.prepare import cache_spec, prepare  # keeps --help quick
    from trainer.datasets.registry import dataset_named
    from trainer.datasets.summary import summary
    from trainer.experiment.protocol import load_experiment

    try:
        chosen = dataset_named(dataset)
        if protocol is not None:
            if size is not None or geometry is not None:
                raise ValueError("--protocol says size and geometry; leave out --size and --geometry")
            said = load_experiment(protocol)
            size, geometry = said.input.size, said.input.geometry_of(pictures=chosen.pictures)
            if geometry != said.input.geometry:
                _tell(f"{dataset} holds pictures, which say no size in mm: each is shrunk whole")
            if dataset not in said.datasets:
                _tell(f"the protocol {said.name} was written for {', '.join(said.datasets)}, not for {dataset}")
        if pixel_mm is not None and geometry != "raster":
            raise ValueError("--pixel-mm is of a raster: give --geometry raster, or leave it out")
        side_mm = DEFAULT_PIXEL_MM if pixel_mm is None else pixel_mm
        spec = cache_spec(chosen, size or DEFAULT_SIZE, geometry or DEFAULT_GEOMETRY, side_mm)
        _tell(f"{chosen.title}; licence: {chosen.licence}")
        cache = prepare(chosen, root, out, spec, workers, _tell)
    except (TriageError, ValueError, RuntimeError, OSError) as exc:
        raise click.ClickException(str(exc)) from exc
    click.echo(summary(cache))


def _tell(line: str) -> None:
    click.echo(line, err=True)
