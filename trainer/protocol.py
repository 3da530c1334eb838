"""A training protocol: one TOML file that holds every number, read into values that were checked."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any

from pydantic import ConfigDict, TypeAdapter, ValidationError, with_config

from triage.inference.preprocess import PreprocessSpec

_CHECKED = ConfigDict(extra="forbid", allow_inf_nan=False)


@with_config(_CHECKED)
@dataclass(frozen=True, slots=True)
class DataPlan:
    """How many slices to make on the template and on procedural heads, and how many share one seed."""

    template_slices: int
    procedural_slices: int
    slices_per_seed: int

    def __post_init__(self) -> None:
        if min(self.template_slices, self.procedural_slices) < 0 or self.slices_per_seed < 1:
            raise ValueError("slices cannot be fewer than 0, nor slices_per_seed fewer than 1")


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
    """One net and how it is trained. ``crop`` is (rows, columns) about the centre; sides divide by 32."""

    architecture: str
    steps: int
    batch: int
    learning_rate: float
    weight_decay: float
    warmup: float
    crop: tuple[int, int]
    whole_from: float
    options: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.steps < 1 or self.batch < 2:
            raise ValueError("training needs 1 step and batches of 2 slices or more")
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
    """The content of one protocol file."""

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
