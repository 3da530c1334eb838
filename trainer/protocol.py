"""A training protocol: one TOML file that holds every number, read into values that were checked."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any, Literal

from pydantic import ConfigDict, TypeAdapter, ValidationError, with_config

from triage.inference.preprocess import PreprocessSpec

_CHECKED = ConfigDict(extra="forbid", allow_inf_nan=False)


@with_config(_CHECKED)
@dataclass(frozen=True, slots=True)
class DataPlan:
    """Made stacks in blocks: training learns from one while the next is made.

    Attributes
    ----------
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
        if min(self.blocks, self.slices, self.kept) < 1:
            raise ValueError("blocks, slices and kept are 1 or more")


@with_config(_CHECKED)
@dataclass(frozen=True, slots=True)
class AugmentSpec:
    """Random changes to a training slice; shares are probabilities, spreads are standard deviations or limits."""

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


@with_config(_CHECKED)
@dataclass(frozen=True, slots=True)
class FitSpec:
    """One net and how it is trained.

    Attributes
    ----------
    steps : int
        In all; as many on each block.
    batch : int
        Slices.
    slices : int
        Neighbouring slices of one stack that are drawn together; more than 1 for a net that reads neighbours.
    crop : tuple of int
        Rows and columns about the centre; sides divide by 32.
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
    slices: int = 1

    def __post_init__(self) -> None:
        if self.steps < 1 or self.batch < 2:
            raise ValueError("training needs 1 step and batches of 2 slices or more")
        if self.slices < 1 or self.batch % self.slices:
            raise ValueError(f"a batch of {self.batch} is not made of runs of {self.slices} slices")
        if self.options.get("neighbours") and self.slices == 1:
            raise ValueError(f"{self.architecture} reads neighbours: its slices come in runs of 2 or more")
        if any(side % 32 for side in self.crop):
            raise ValueError(f"the sides of a crop divide by 32, not {self.crop}")


@with_config(_CHECKED)
@dataclass(frozen=True, slots=True)
class DecisionPlan:
    """How limits are chosen on the calibration exams.

    ``gate_share`` is the weight of the classifier beside a weight of 1 for the mask in the exam score.
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


@with_config(_CHECKED)
@dataclass(frozen=True, slots=True)
class ExamPlan:
    """Whole made studies, half of them with blood: for calibration, and apart from them for the test."""

    calibration_template: int
    calibration_procedural: int
    test_template: int
    test_procedural: int


@with_config(_CHECKED)
@dataclass(frozen=True, slots=True)
class Protocol:
    """The content of one protocol file.

    ``augment_late`` takes the place of ``augment`` after the share ``late_from`` of the steps: wide changes from the
    beginning keep a net from learning at all.
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
    precision: Literal["fp32", "bf16"] = "fp32"
    int8: bool = False

    def __post_init__(self) -> None:
        if not 0.0 <= self.late_from <= 1.0:
            raise ValueError(f"late_from is a share of the steps, not {self.late_from}")
        for net in (self.slice_classifier, self.munet):
            if net.steps % self.data.blocks:
                raise ValueError(f"{net.architecture}: {net.steps} steps do not divide by {self.data.blocks} blocks")


_ADAPTER: TypeAdapter[Protocol] = TypeAdapter(Protocol)


def load_protocol(name_or_path: str) -> Protocol:
    """Read a protocol that comes with the trainer by its name, or any other by the path of its TOML file.

    Raises
    ------
    ValueError
        There is no such protocol, or a key is unknown, missing or impossible.
    """
    shipped = resources.files("trainer") / "protocols" / f"{name_or_path}.toml"
    source = shipped if shipped.is_file() else Path(name_or_path)
    if not source.is_file():
        raise ValueError(f"there is no protocol {name_or_path!r}: give a shipped name or the path of a TOML file")
    try:
        return _ADAPTER.validate_python(tomllib.loads(source.read_text(encoding="utf-8")))
    except ValidationError as exc:
        faults = [f"{'.'.join(str(part) for part in e['loc'])}: {e['msg']}" for e in exc.errors()[:3]]
        raise ValueError(f"the protocol {name_or_path} is not valid: {'; '.join(faults)}") from exc
    except tomllib.TOMLDecodeError as exc:
        raise ValueError(f"the protocol {name_or_path} is no TOML: {exc}") from exc
