"""``bundle.json``: everything a result depends on besides the weights. The keys are described in docs/bundle.md."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

from pydantic import ConfigDict, TypeAdapter, ValidationError, with_config

from triage.domain.errors import BundleError
from triage.domain.finding import SUBTYPES, DecisionRule
from triage.inference.preprocess import PreprocessSpec, Reads

FORMAT = 1
OUTPUTS: tuple[str, ...] = ("any", *(s.value for s in SUBTYPES))
"""Names of the classifier logits, in order."""

_STRICT = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False, str_strip_whitespace=True)


def _unit(name: str, value: float) -> None:
    if not 0.0 < value < 1.0:
        raise ValueError(f"{name} must lie between 0 and 1, not {value}")


@with_config(_STRICT)
@dataclass(frozen=True, slots=True)
class ModelCard:
    """One net: what it is, its trainable parameters, and how far the ONNX file is from the trained net.

    ``parity`` is the largest absolute logit difference between training framework and ONNX Runtime that was
    seen at export. A net that ``reads`` a scan is given all slices of it in their order, which only the classifier can
    be.
    """

    architecture: str
    parameters: int
    parity: float | None = None
    reads: Reads = "slice"


@with_config(_STRICT)
@dataclass(frozen=True, slots=True)
class Thresholds:
    """Where decisions fall.

    Attributes
    ----------
    gate : float
        Slice probability of any blood at or above which a slice and its neighbours are segmented.
    suspected, emergent : float
        Limits of the exam score.
    mask_probability : float
        A pixel is blood where the probabilities of the five subtypes sum to at least this.
    minimum_component_ml : float
        Connected pieces of mask smaller than this are dropped.
    """

    gate: float
    suspected: float
    emergent: float
    mask_probability: float = 0.5
    minimum_component_ml: float = 0.1

    def __post_init__(self) -> None:
        _unit("thresholds.gate", self.gate)
        _unit("thresholds.mask_probability", self.mask_probability)
        DecisionRule(self.suspected, self.emergent)
        if not self.minimum_component_ml >= 0.0:
            raise ValueError("thresholds.minimum_component_ml must be 0 or more")


@with_config(_STRICT)
@dataclass(frozen=True, slots=True)
class GateCalibration:
    """Provisional exam probability: sigmoid(weight * logit(gate) + bias)."""

    gate_weight: float = 1.0
    bias: float = 0.0

    def __post_init__(self) -> None:
        if not self.gate_weight > 0.0:
            raise ValueError("the gate weight must be above 0: more evidence must never lower the score")


@with_config(_STRICT)
@dataclass(frozen=True, slots=True)
class ExamCalibration:
    """Final exam probability: sigmoid(mask_weight * logit(mask) + gate_weight * logit(gate) + bias)."""

    mask_weight: float = 1.0
    gate_weight: float = 0.0
    bias: float = 0.0

    def __post_init__(self) -> None:
        if self.mask_weight < 0.0 or self.gate_weight < 0.0 or self.mask_weight + self.gate_weight <= 0.0:
            raise ValueError("exam weights must be 0 or more, and not both 0: more evidence must never lower the score")


@with_config(_STRICT)
@dataclass(frozen=True, slots=True)
class Calibration:
    """Temperatures divide logits; the two exam calibrations make one scale of the provisional and the final score."""

    classifier_temperature: tuple[float, ...] = (1.0,) * len(OUTPUTS)
    mask_temperature: float = 1.0
    provisional: GateCalibration = field(default_factory=GateCalibration)
    final: ExamCalibration = field(default_factory=ExamCalibration)

    def __post_init__(self) -> None:
        if len(self.classifier_temperature) != len(OUTPUTS):
            raise ValueError(f"classifier_temperature needs one value for each of {', '.join(OUTPUTS)}")
        if not all(t > 0.0 for t in (*self.classifier_temperature, self.mask_temperature)):
            raise ValueError("temperatures must be above 0")


@with_config(_STRICT)
@dataclass(frozen=True, slots=True)
class Scoring:
    """How slices become an exam: smooth along the neighbours, then the mean of the highest ``top_k``.

    Attributes
    ----------
    evidence_mm2 : float
        Area over which the most blood-like pixels of a slice are averaged.
    means : str
        Of what smoothing and mean are taken. Of ``probabilities`` one certain slice outweighs all that its neighbours
        say; of ``logits`` neighbours that deny count for as much as neighbours that agree.
    """

    kernel: tuple[float, float, float] = (0.25, 0.5, 0.25)
    top_k: int = 3
    evidence_mm2: float = 36.0
    means: Literal["probabilities", "logits"] = "probabilities"

    def __post_init__(self) -> None:
        if any(w < 0.0 for w in self.kernel) or not math.isclose(sum(self.kernel), 1.0) or self.kernel[1] <= 0.0:
            raise ValueError("scoring.kernel must be three weights of 0 or more that sum to 1")
        if self.top_k < 1 or not self.evidence_mm2 > 0.0:
            raise ValueError("scoring needs top_k of 1 or more and evidence_mm2 above 0")


@with_config(_STRICT)
@dataclass(frozen=True, slots=True)
class Training:
    """Where the weights came from. ``demonstration`` makes page, SEG and SR say so wherever they speak."""

    training_data: str
    protocol: str
    seed: int
    software: Mapping[str, str]
    synthetic: bool
    demonstration: bool

    def __post_init__(self) -> None:
        if self.synthetic and not self.demonstration:
            raise ValueError("a bundle trained on synthetic heads alone must be marked demonstration")


@with_config(_STRICT)
@dataclass(frozen=True, slots=True)
class Figure:
    """One held-out figure of the card with its 95 % interval; ``n`` cases, counted in ``unit``."""

    name: str
    value: float
    low: float
    high: float
    n: int
    unit: str
    method: str = ""

    def __post_init__(self) -> None:
        if not self.low <= self.value <= self.high or self.n < 1:
            raise ValueError(f"figure {self.name!r} needs low <= value <= high and n of 1 or more")


@with_config(_STRICT)
@dataclass(frozen=True, slots=True)
class Card:
    """What was measured, and on what."""

    held_out: str
    figures: tuple[Figure, ...] = ()
    remarks: tuple[str, ...] = ()


@with_config(_STRICT)
@dataclass(frozen=True, slots=True)
class ReferenceScores:
    """How the final scores were distributed where the bundle was measured; a site's own are compared with it.

    Attributes
    ----------
    edges : tuple of float
        Ascending limits of the bins, from 0 to 1; the last bin holds its upper limit.
    proportions : tuple of float
        Share of the studies in each bin; they sum to 1.
    n : int
        Number of studies.
    data : str
        Which studies, in words.
    synthetic : bool
        Whether they were made by a program; a real site then differs in any case.
    """

    edges: tuple[float, ...]
    proportions: tuple[float, ...]
    n: int
    data: str
    synthetic: bool

    def __post_init__(self) -> None:
        ascending = all(low < high for low, high in zip(self.edges, self.edges[1:], strict=False))
        if len(self.edges) < 3 or not ascending or (self.edges[0], self.edges[-1]) != (0.0, 1.0):
            raise ValueError("reference.edges must ascend from 0 to 1 and make at least two bins")
        if len(self.proportions) != len(self.edges) - 1 or min(self.proportions) < 0.0:
            raise ValueError("reference.proportions needs one value of 0 or more for each bin")
        if not math.isclose(sum(self.proportions), 1.0, abs_tol=1e-6):
            raise ValueError("reference.proportions must sum to 1")
        if self.n < 1 or not self.data:
            raise ValueError("reference needs n of 1 or more, and data: which studies these were")


@with_config(_STRICT)
@dataclass(frozen=True, slots=True)
class Manifest:
    """The content of ``bundle.json``, valid once built.

    ``names_subtypes`` false: the nets were taught blood and not its type. Then what they give beyond any blood is not
    read, and results name ``Subtype.ICH`` alone. ``familiar_within``: how far from what the classifier learned from a
    scan may lie and still be analysed, see `triage.inference.familiar`; None where the net cannot tell.
    """

    name: str
    version: str
    created_at: datetime
    intended_input: str
    slice_classifier: ModelCard
    munet: ModelCard
    thresholds: Thresholds
    provenance: Training
    card: Card
    preprocessing: PreprocessSpec = field(default_factory=PreprocessSpec)
    calibration: Calibration = field(default_factory=Calibration)
    scoring: Scoring = field(default_factory=Scoring)
    format: int = FORMAT
    reference: ReferenceScores | None = None
    names_subtypes: bool = True
    familiar_within: float | None = None

    def __post_init__(self) -> None:
        if self.format != FORMAT:
            raise ValueError(f"format {self.format} is not known to this release, which reads format {FORMAT}")
        if not self.name or not self.version:
            raise ValueError("a bundle needs a name and a version")
        if self.created_at.tzinfo is None:
            raise ValueError("created_at needs a time zone, for example 2025-01-31T12:00:00Z")
        if len(self.preprocessing.windows) != 3:
            raise ValueError("the nets take three windows: brain, subdural, bone")
        if self.munet.reads == "scan":
            raise ValueError('munet.reads is "slice" or "neighbours": only lit slices are segmented, never whole scans')
        if self.familiar_within is not None and not self.familiar_within > 0.0:
            raise ValueError("familiar_within must be above 0: nothing lies nearer to what was learned")
        gate = self.thresholds.gate
        provisional = self.calibration.provisional
        highest = provisional.gate_weight * math.log(gate / (1.0 - gate)) + provisional.bias
        if 1.0 / (1.0 + math.exp(-highest)) >= self.thresholds.suspected:
            raise ValueError(
                "thresholds.gate is too high: a study whose slices all stay below it, and that is therefore never "
                "segmented, could still score as suspected"
            )

    @property
    def rule(self) -> DecisionRule:
        """The exam-score limits."""
        return DecisionRule(self.thresholds.suspected, self.thresholds.emergent)


_ADAPTER: TypeAdapter[Manifest] = TypeAdapter(Manifest)
_REFERENCE: TypeAdapter[ReferenceScores] = TypeAdapter(ReferenceScores)


def parse_manifest(text: bytes) -> Manifest:
    """Read ``bundle.json``.

    Raises
    ------
    BundleError
        Unknown, missing or impossible keys; the first three are named.
    """
    try:
        return _ADAPTER.validate_json(text)
    except ValidationError as exc:
        faults = [f"{'.'.join(str(p) for p in e['loc']) or 'bundle.json'}: {e['msg']}" for e in exc.errors()[:3]]
        raise BundleError(f"bundle.json is not valid: {'; '.join(faults)}.") from exc


def format_manifest(manifest: Manifest) -> bytes:
    """``bundle.json`` of a manifest: keys in the order of the classes, two spaces, the same bytes every time.

    What later releases added is left out where it says nothing new: a manifest then reads as one of the releases that
    did not know these keys.
    """
    absent: dict[str, bool | set[str]] = {
        net: {"reads"} for net in ("slice_classifier", "munet") if getattr(manifest, net).reads == "slice"
    }
    if manifest.scoring.means == "probabilities":
        absent["scoring"] = {"means"}
    if not manifest.preprocessing.even_brain:
        absent["preprocessing"] = {"even_brain"}
    if manifest.reference is None:
        absent["reference"] = True
    if manifest.names_subtypes:
        absent["names_subtypes"] = True
    if manifest.familiar_within is None:
        absent["familiar_within"] = True
    return _ADAPTER.dump_json(manifest, indent=2, exclude=absent) + b"\n"


def reference_on_record(manifest: Mapping[str, Any]) -> ReferenceScores | None:
    """The reference of a manifest that was put on record, by this release or another; None when it has none."""
    found = manifest.get("reference")
    if found is None:
        return None
    try:
        return _REFERENCE.validate_json(json.dumps(found))
    except ValidationError:
        return None  # a later release may say it in another way
