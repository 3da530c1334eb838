"""A training protocol: one TOML file that holds every number, read into values that were checked."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from pydantic import TypeAdapter, with_config

from trainer.protocol_files import CHECKED, read_protocol
from triage.inference.preprocess import PreprocessSpec

_FOLDER = "protocols"

_SEEDS = range(10, 90_000)
"""Seeds of protocols for which stacks of training, exams of calibration, test, ablation and judgement have seeds of
their own: those of stacks begin at a million times the protocol's, those of exams lie between one and eight million."""

_MOST_BLOCKS, _MOST_STACKS = 1_000, 3_000
"""Blocks, and stacks of one, whose seeds do not reach into those of the next protocol or block."""


@with_config(CHECKED)
@dataclass(frozen=True, slots=True)
class DataPlan:
    """Made stacks in blocks: training learns from one while the next is made.

    Attributes
    ----------
    blocks : int
        0 where nets stay as they are and get new limits.
    template_stacks, procedural_stacks : int
        Of each block.
    slices : int
        Of each stack.
    template_first : int
        Blocks from the first on in which procedural heads are left out: what was learned then is judged on them, as
        heads of a kind that the nets have not seen.
    kept : int
        Blocks that stay in memory to be shown again.
    larger : float
        By how many standard deviations bleeds are larger than the published ones: a net that sees little blood
        learns to be silent.
    without : tuple of str
        Ingredients of the heads that are switched off, for an ablation.
    """

    blocks: int
    template_stacks: int
    procedural_stacks: int
    slices: int
    kept: int
    template_first: int = 0
    larger: float = 0.0
    without: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not 0 <= self.template_first <= self.blocks:
            raise ValueError(f"template_first is one of the {self.blocks} blocks, not {self.template_first}")
        if min(self.template_stacks, self.procedural_stacks) < 0 or self.template_stacks + self.procedural_stacks < 1:
            raise ValueError("a block needs a stack")
        if self.blocks < 0 or min(self.slices, self.kept) < 1:
            raise ValueError("slices and kept are 1 or more, blocks 0 or more")
        if self.blocks > _MOST_BLOCKS or self.template_stacks + self.procedural_stacks > _MOST_STACKS:
            raise ValueError(f"there are at most {_MOST_BLOCKS} blocks of {_MOST_STACKS} stacks: seeds would meet")


@with_config(CHECKED)
@dataclass(frozen=True, slots=True)
class AugmentSpec:
    """Random changes to the slices that a net learns from, each with its neighbours; see `augment`.

    Attributes
    ----------
    flip, affine, blur, noise : float
        Share of them that are mirrored; turned, scaled, sheared and shifted; softened; made noisier.
    alone : float
        Share of the runs whose neighbours are the slice itself, as in a scan of one slice.
    rotation_deg, scale, shift_mm, shear : float
        Largest change either way, each drawn evenly; ``scale`` and ``shear`` are shares of the size.
    hu_shift, hu_scale : float
        Standard deviations of what is added to HU, and of the factor on HU about 1.
    blur_mm, noise_hu : float
        Largest standard deviation of the blur, drawn evenly from 0.3 mm on, and of the added white noise, from 0 on.
    """

    flip: float = 0.0
    affine: float = 0.0
    rotation_deg: float = 0.0
    scale: float = 0.0
    shift_mm: float = 0.0
    shear: float = 0.0
    hu_shift: float = 0.0
    hu_scale: float = 0.0
    blur: float = 0.0
    blur_mm: float = 0.0
    noise: float = 0.0
    noise_hu: float = 0.0
    alone: float = 0.0


@with_config(CHECKED)
@dataclass(frozen=True, slots=True)
class FitSpec:
    """One net and how it is trained.

    Attributes
    ----------
    steps : int
        In all; as many on each block.
    batch : int
        Slices.
    reads : str
        ``slice``, or ``neighbours``: each slice with those below and above it as further channels.
    balanced : bool
        Whether a quarter of the draws choose the subtype first, each as often: rare ones are seen more often than they
        bleed, and then marked more often too.
    crop : tuple of int
        Rows and columns about the centre; sides divide by 32.
    warmup : float
        Share of the steps in which the learning rate rises from 0; from then on it falls along a cosine.
    whole_from : float
        Share of the steps after which slices are shown whole, for the statistics of the norms.
    calm : float
        Share of itself that the running mean of the weights keeps in each step.
    """

    architecture: str
    steps: int
    batch: int
    learning_rate: float
    weight_decay: float
    warmup: float
    crop: tuple[int, int]
    whole_from: float
    options: dict[str, Any] = field(default_factory=dict)
    calm: float = 0.98
    reads: Literal["slice", "neighbours"] = "slice"
    balanced: bool = False

    def __post_init__(self) -> None:
        if self.steps < 0 or self.batch < 2:
            raise ValueError("training needs batches of 2 slices or more, and steps are 0 or more")
        if not self.learning_rate > 0.0:
            raise ValueError(f"learning_rate is above 0, not {self.learning_rate}")
        _share("warmup", self.warmup)
        _share("whole_from", self.whole_from)
        _share("calm", self.calm)
        if any(side < 32 or side % 32 for side in self.crop):
            raise ValueError(f"the sides of a crop divide by 32, not {self.crop}")


@with_config(CHECKED)
@dataclass(frozen=True, slots=True)
class DecisionPlan:
    """How limits are chosen on the calibration exams.

    Attributes
    ----------
    gate_sensitivity, gate_area_mm2 : float
        Share of the slices with this area of blood or more that the gate must light up.
    gate_range : tuple of float
        Lowest and highest gate that may come of it.
    gate_share : float
        Weight of the classifier beside a weight of 1 for the mask in the exam score.
    suspected : float
        Limit of the calibrated exam score.
    emergent_sensitivity, emergent_ml : float
        Share of the exams with this volume of blood or more that reach the emergent limit.
    mask_probability : float
        Limit of the mask where no exam holds ``emergent_ml``; else it is chosen from `exams.LADDER`.
    minimum_component_ml : float
        Smaller pieces of an outline are dropped.
    top_k : int
        Of an exam the highest slices, smoothed over their neighbours, whose mean is its evidence.
    means : str
        Whether these are means of ``probabilities`` or of ``logits``, see `triage.inference.manifest.Scoring`.
    """

    gate_sensitivity: float
    gate_area_mm2: float
    gate_range: tuple[float, float]
    gate_share: float
    suspected: float
    emergent_sensitivity: float
    emergent_ml: float
    mask_probability: float
    minimum_component_ml: float
    top_k: int = 3
    means: Literal["probabilities", "logits"] = "probabilities"

    def __post_init__(self) -> None:
        for name in ("gate_sensitivity", "suspected", "emergent_sensitivity", "mask_probability"):
            _share(name, getattr(self, name))
        low, high = self.gate_range
        if not 0.0 < low <= high < 1.0:
            raise ValueError(f"gate_range ascends between 0 and 1, not {self.gate_range}")
        if min(self.gate_area_mm2, self.gate_share, self.emergent_ml, self.minimum_component_ml) < 0.0:
            raise ValueError("gate_area_mm2, gate_share, emergent_ml and minimum_component_ml are 0 or more")
        if self.top_k < 1:
            raise ValueError("top_k is 1 or more")


@with_config(CHECKED)
@dataclass(frozen=True, slots=True)
class ExamPlan:
    """Whole made studies, half of them with blood: for calibration, and apart from them for the test."""

    calibration_template: int
    calibration_procedural: int
    test_template: int
    test_procedural: int

    def __post_init__(self) -> None:
        counts = (self.calibration_template, self.calibration_procedural, self.test_template, self.test_procedural)
        if min(counts) < 0:
            raise ValueError("numbers of exams are 0 or more")


@with_config(CHECKED)
@dataclass(frozen=True, slots=True)
class Protocol:
    """The content of one protocol file.

    ``name`` is that of the file, ``bundle`` that of the bundle that comes of it, where it has another: a bundle that is
    taught further keeps its name, and each of its parts has a protocol. ``augment_late`` takes the place of ``augment``
    after the share ``late_from`` of the steps: wide changes from the beginning keep a net from learning at all.
    ``begins_from`` is the name and version of the bundle whose nets are taught further, as "demo 0.4.0"; empty where
    nets begin from random weights. ``mirrored`` asks for nets that answer for a slice and for its mirror image, and
    give the mean: twice the work, see `trainer.demonstration.mirrored`.
    """

    name: str
    version: str
    seed: int
    training_data: str
    intended_input: str
    data: DataPlan
    augment: AugmentSpec
    slice_classifier: FitSpec
    munet: FitSpec
    decision: DecisionPlan
    exams: ExamPlan
    preprocessing: PreprocessSpec = field(default_factory=PreprocessSpec)
    augment_late: AugmentSpec | None = None
    late_from: float = 0.5
    begins_from: str = ""
    bundle: str = ""
    precision: Literal["fp32", "bf16"] = "fp32"
    int8: bool = False
    mirrored: bool = False

    @property
    def bundle_name(self) -> str:
        """Name of the bundle."""
        return self.bundle or self.name

    def __post_init__(self) -> None:
        if not 0.0 <= self.late_from <= 1.0:
            raise ValueError(f"late_from is a share of the steps, not {self.late_from}")
        if self.seed not in _SEEDS:
            span = f"{_SEEDS.start} to {_SEEDS.stop - 1}"
            raise ValueError(f"seed is {span}, not {self.seed}: the same heads could be learned from and judged on")
        for net in (self.slice_classifier, self.munet):
            if max(net.crop) > self.preprocessing.size:
                raise ValueError(f"{net.architecture}: a crop of {net.crop} is larger than {self.preprocessing.size}")
            if net.steps % max(self.data.blocks, 1) or (net.steps > 0) != (self.data.blocks > 0):
                raise ValueError(f"{net.architecture}: {net.steps} steps do not divide by {self.data.blocks} blocks")
        if not (self.data.blocks or self.begins_from):
            raise ValueError("without blocks nothing is learned: begins_from names the nets that stay as they are")


_ADAPTER: TypeAdapter[Protocol] = TypeAdapter(Protocol)


def load_protocol(name_or_path: str) -> Protocol:
    """Read a protocol that comes with the trainer by its name, or any other by the path of its TOML file.

    Raises
    ------
    ValueError
        There is no such protocol, or a key is unknown, missing or impossible.
    """
    return read_protocol(_ADAPTER, _FOLDER, name_or_path)


def _share(name: str, value: float) -> None:
    if not 0.0 <= value <= 1.0:
        raise ValueError(f"{name} is a share, 0 to 1, not {value}")
