"""An experiment as one TOML file: every number of a paper's protocol, or of an honest one beside it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from pydantic import TypeAdapter, with_config

from trainer.protocol_files import CHECKED, read_protocol, shipped_protocols

_FOLDER = "protocols/experiments"


@with_config(CHECKED)
@dataclass(frozen=True, slots=True)
class InputSpec:
    """What the nets see.

    Attributes
    ----------
    size : int
        Rows and columns.
    geometry : str
        ``resize`` or ``raster``, see `trainer.datasets.cache.CacheSpec`; the cache must have been prepared so, but for
        pictures, which say no size in mm and are always shrunk whole.
    windows : tuple of (centre, width)
        In HU, one channel each, scaled to 0..1. Pictures of 8 bits have one channel, their grey divided by 255.
    bone_removal : bool
        Pixels of bone and what lies outside the skull are set to the lowest value (paper 002).
    clahe : bool
        Contrast-limited adaptive histogram equalisation of the first channel (paper 004). No daemon serves this.
    """

    size: int = 256
    geometry: Literal["resize", "raster"] = "resize"
    windows: tuple[tuple[float, float], ...] = ((40.0, 80.0),)
    bone_removal: bool = False
    clahe: bool = False

    def __post_init__(self) -> None:
        if not 16 <= self.size <= 1024 or self.size % 16:
            raise ValueError(f"input.size lies in 16..1024 and divides by 16, not {self.size}")
        if not self.windows or any(width <= 0 for _, width in self.windows):
            raise ValueError("input.windows are pairs of centre and width, with a width above 0")

    def geometry_of(self, *, pictures: bool) -> Literal["resize", "raster"]:
        """How a cache of pictures, or of HU, is prepared for this input."""
        return "resize" if pictures else self.geometry


@with_config(CHECKED)
@dataclass(frozen=True, slots=True)
class SplitSpec:
    """Who trains, validates and tests.

    Attributes
    ----------
    unit : str
        What is drawn: ``image`` (neighbouring slices of one head then lie on both sides: as published, never honest),
        or ``patient``.
    select : str
        ``all`` slices, ``positive`` ones alone, or ``balanced``: all positive ones and as many without blood.
    test : float
        Share set apart before anything else; used once, by ``trainer evaluate``.
    folds : int
        Stratified folds over the rest; 0: one hold-out of ``validation``.
    validation : float
        Share of the rest that chooses the epoch when there are no folds.
    named : str
        A list that ships with the trainer, ``trainer/splits/<named>.toml``, instead of drawing.
    """

    unit: Literal["image", "patient"]
    select: Literal["all", "positive", "balanced"] = "all"
    test: float = 0.2
    folds: int = 0
    validation: float = 0.2
    named: str = ""

    def __post_init__(self) -> None:
        if not (0.0 <= self.test < 1.0 and 0.0 <= self.validation < 1.0):
            raise ValueError("split.test and split.validation are shares from 0 to below 1")
        if self.folds == 1 or self.folds < 0:
            raise ValueError("split.folds is 0, or 2 and more")


@with_config(CHECKED)
@dataclass(frozen=True, slots=True)
class BalanceSpec:
    """What is done about the rarity of blood, in the training part alone.

    ``replicate`` shows positive slices ``factor`` times (paper 001); ``sampler`` draws classes equally often;
    ``smote_pixel`` mixes whole images (the form that paper 004 implies; harmful, and said so); ``smote_feature`` mixes
    features of a frozen net for the classifier head; ``paste`` puts lesions of training slices into others.
    """

    kind: Literal["none", "replicate", "sampler", "smote_pixel", "smote_feature", "paste"] = "none"
    factor: int = 1
    share: float = 0.5

    def __post_init__(self) -> None:
        if self.factor < 1 or not 0.0 <= self.share <= 1.0:
            raise ValueError("balance.factor is 1 or more and balance.share lies in 0..1")


@with_config(CHECKED)
@dataclass(frozen=True, slots=True)
class AugmentSpec:
    """Random changes of a training slice, drawn evenly within these limits; 0 turns one off."""

    flip: bool = False
    rotation_deg: float = 0.0
    shift: float = 0.0
    shear_deg: float = 0.0
    zoom: float = 0.0
    noise: float = 0.0
    brightness: float = 0.0


@with_config(CHECKED)
@dataclass(frozen=True, slots=True)
class NetSpec:
    """A net of the registry and its options, besides the channels and classes that input and task decide."""

    name: str
    options: dict[str, Any] = field(default_factory=dict)


@with_config(CHECKED)
@dataclass(frozen=True, slots=True)
class LossSpec:
    """What training minimises: ``mask`` and ``label`` by name, ``label_weight`` beside a weight of 1 for the mask."""

    mask: Literal["none", "dice", "bce_dice", "dice_ce", "dice_focal"] = "none"
    label: Literal["none", "bce", "focal", "cross_entropy"] = "none"
    label_weight: float = 1.0
    gamma: float = 2.0
    deep_supervision: bool = False

    def __post_init__(self) -> None:
        if self.mask == "none" and self.label == "none":
            raise ValueError("a loss needs a mask term or a label term")


@with_config(CHECKED)
@dataclass(frozen=True, slots=True)
class OptimiserSpec:
    """How weights move. ``plateau`` multiplies the rate by ``drop`` after ``patience`` epochs without progress."""

    name: Literal["adam", "adamw", "sgd"] = "adam"
    learning_rate: float = 1e-4
    weight_decay: float = 0.0
    schedule: Literal["constant", "plateau", "cosine"] = "constant"
    drop: float = 0.5
    patience: int = 5


@with_config(CHECKED)
@dataclass(frozen=True, slots=True)
class FitSpec:
    """How long, and what is kept.

    Attributes
    ----------
    steps_per_epoch : int
        0: every training slice once.
    stop_after : int
        Epochs without a better ``monitor`` before training ends; 0: never.
    checkpoint_every : int
        Also keep and judge the weights of every so many epochs (paper 002: 100); 0: only the last and the best.
    freeze_at : int
        From this epoch on only the heads train (paper 004, Algorithm 1); 0: never.
    keep : str
        Which weights are the result.
    clip : float
        Gradients longer than this are shortened to it; 0: never.
    """

    epochs: int
    batch: int
    steps_per_epoch: int = 0
    monitor: Literal["loss", "dice", "auc"] = "loss"
    stop_after: int = 0
    checkpoint_every: int = 0
    freeze_at: int = 0
    keep: Literal["best", "last"] = "best"
    precision: Literal["fp32", "bf16"] = "fp32"
    clip: float = 0.0

    def __post_init__(self) -> None:
        if self.epochs < 1 or self.batch < 1:
            raise ValueError("fit.epochs and fit.batch are 1 or more")
        counts = (self.steps_per_epoch, self.stop_after, self.checkpoint_every, self.freeze_at, self.clip)
        if min(counts) < 0:
            raise ValueError("fit.steps_per_epoch, stop_after, checkpoint_every, freeze_at and clip are 0 or more")


@with_config(CHECKED)
@dataclass(frozen=True, slots=True)
class ExperimentProtocol:
    """The content of one protocol file.

    Attributes
    ----------
    paper : str
        Key of the paper's table in ``trainer/papers``; empty when no paper stands behind it.
    variant : str
        ``as_published``, its defects kept, or ``honest``.
    datasets : tuple of str
        Registry names that the protocol was written for, the paper's own first.
    classes : str
        ``binary`` (any blood), or ``subtypes``: any and the five.
    nets : tuple of NetSpec
        The paper's own first, then what it compares with.
    labels : str
        ``slice``: what the data set says of each slice. ``study``: a slice of which it says nothing takes what it says
        of its study; as published where labels are per patient (paper 000), and wrong for slices without blood.
    grid : mapping
        Dotted key of this file to the values that a grid search tries on the validation part.
    remarks : tuple of str
        What the paper leaves open or contradicts, and how it was settled here.
    """

    name: str
    title: str
    paper: str
    variant: Literal["as_published", "honest"]
    datasets: tuple[str, ...]
    classes: Literal["binary", "subtypes"]
    seed: int
    input: InputSpec
    split: SplitSpec
    nets: tuple[NetSpec, ...]
    loss: LossSpec
    optimiser: OptimiserSpec
    fit: FitSpec
    balance: BalanceSpec = field(default_factory=BalanceSpec)
    augment: AugmentSpec = field(default_factory=AugmentSpec)
    labels: Literal["slice", "study"] = "slice"
    grid: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    threshold: float = 0.5
    remarks: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.datasets or not self.nets:
            raise ValueError("a protocol names at least one data set and one net")
        if self.variant == "honest" and self.split.unit != "patient":
            raise ValueError("an honest protocol splits by patient")


_ADAPTER: TypeAdapter[ExperimentProtocol] = TypeAdapter(ExperimentProtocol)


def shipped_experiments() -> list[str]:
    """Names of the experiment protocols that come with the trainer."""
    return shipped_protocols(_FOLDER)


def load_experiment(name_or_path: str) -> ExperimentProtocol:
    """Read an experiment that comes with the trainer by its name, or any other by the path of its TOML file.

    Raises
    ------
    ValueError
        There is no such protocol, or a key is unknown, missing or impossible.
    """
    return read_protocol(_ADAPTER, _FOLDER, name_or_path)
