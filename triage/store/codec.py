"""Domain values as JSON columns, and back."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from typing import Any

from triage.domain.finding import DecisionRule, KeySlice, Subtype, SubtypeFinding, TriageResult
from triage.domain.study import FrameGeometry, InstanceHeader

Json = dict[str, Any]


def header_json(header: InstanceHeader) -> Json:
    """Every field of the header; numbers that JSON does not know (a position of ``nan``) as text."""
    json: Json = {name: getattr(header, name) for name in InstanceHeader.__dataclass_fields__}
    json["pixel_spacing_mm"] = None if header.pixel_spacing_mm is None else _plain(header.pixel_spacing_mm)
    json["frames"] = [
        {
            "position_mm": _plain(frame.position_mm),
            "orientation": _plain(frame.orientation),
            "thickness_mm": None if frame.thickness_mm is None else _plain([frame.thickness_mm])[0],
        }
        for frame in header.frames
    ]
    return json


def header_of(json: Mapping[str, Any]) -> InstanceHeader:
    """The header that was stored. Fields that a later release added and this one does not know are left out."""
    known = {name: value for name, value in json.items() if name in InstanceHeader.__dataclass_fields__}
    spacing = known.get("pixel_spacing_mm")
    known["image_type"] = tuple(known.get("image_type", ()))
    known["pixel_spacing_mm"] = None if spacing is None else (float(spacing[0]), float(spacing[1]))
    known["frames"] = tuple(_frame_of(frame) for frame in known.get("frames", ()))
    return InstanceHeader(**known)


def _frame_of(json: Mapping[str, Any]) -> FrameGeometry:
    x, y, z = (float(value) for value in json["position_mm"])
    row_x, row_y, row_z, column_x, column_y, column_z = (float(value) for value in json["orientation"])
    thickness = json["thickness_mm"]
    return FrameGeometry(
        position_mm=(x, y, z),
        orientation=(row_x, row_y, row_z, column_x, column_y, column_z),
        thickness_mm=None if thickness is None else float(thickness),
    )


def _plain(numbers: Iterable[float]) -> list[float | str]:
    return [number if math.isfinite(number) else str(number) for number in numbers]


def subtypes_json(subtypes: Mapping[Subtype, SubtypeFinding]) -> Json:
    """``{"EDH": {"probability": p, "volume_ml": v}, ...}``."""
    return {subtype.value: asdict(finding) for subtype, finding in subtypes.items()}


def subtypes_of(json: Mapping[str, Any]) -> dict[Subtype, SubtypeFinding]:
    """The findings that were stored."""
    return {Subtype(name): SubtypeFinding(**finding) for name, finding in json.items()}


def key_slice_json(key_slice: KeySlice | None) -> Json | None:
    """The key slice, or None (SQL NULL)."""
    return None if key_slice is None else asdict(key_slice)


def key_slice_of(json: Mapping[str, Any] | None) -> KeySlice | None:
    """The key slice that was stored."""
    return None if json is None else KeySlice(**json)


def result_columns(result: TriageResult) -> Json:
    """The columns of ``results`` that a result fills, ``status`` among them so that SQL can count it."""
    return {
        "provisional": result.provisional,
        "status": result.status,
        "score": result.score,
        "rule": asdict(result.rule),
        "subtypes": subtypes_json(result.subtypes),
        "total_volume_ml": result.total_volume_ml,
        "key_slice": key_slice_json(result.key_slice),
    }


def result_of(row: Any) -> TriageResult:
    """The result that a row of ``results`` holds."""
    return TriageResult(
        score=row.score,
        rule=DecisionRule(**row.rule),
        subtypes=subtypes_of(row.subtypes),
        total_volume_ml=row.total_volume_ml,
        key_slice=key_slice_of(row.key_slice),
        provisional=row.provisional,
    )
