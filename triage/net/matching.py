"""Attribute matching of C-FIND (PS3.4 C.2.2.2): universal, single value, wildcard, range, list of UIDs, sequence."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from typing import Final

from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset

_WILDCARD_VRS: Final = frozenset({"AE", "CS", "LO", "LT", "PN", "SH", "ST", "UC", "UR", "UT"})
_INSTANT: Final = r"\d{4}(?:\d{2}){0,5}(?:\.\d{1,6})?(?:[+-]\d{4})?"
_DT_RANGE: Final = re.compile(rf"({_INSTANT})?-({_INSTANT})?")
_CHARACTER_SET, _TIMEZONE = 0x00080005, 0x00080201
_FIRST = "00010101000000"


def matches(keys: Dataset, candidate: Dataset) -> bool:
    """Whether a candidate has what every key asks for. A key without a value is met by anything."""
    zone = str(keys.get("TimezoneOffsetFromUTC") or "")
    return all(_element_matches(key, candidate, zone) for key in keys if key.tag not in (_CHARACTER_SET, _TIMEZONE))


def _element_matches(key: DataElement, candidate: Dataset, zone: str) -> bool:
    if key.VR == "SQ":
        wanted = key.value[0] if key.value else Dataset()
        if not any(not _is_universal(inner) for inner in wanted):
            return True
        items = candidate[key.tag].value if key.tag in candidate else ()
        return any(matches(wanted, item) for item in items)
    if _is_universal(key):
        return True
    if key.tag not in candidate or candidate[key.tag].is_empty:
        return False
    wanted_values, values = _texts(key), _texts(candidate[key.tag])
    return any(_value_matches(key.VR, one, value, zone) for one in wanted_values for value in values)


def _is_universal(key: DataElement) -> bool:
    if key.VR == "SQ":
        return not key.value or all(_is_universal(inner) for inner in key.value[0])
    return key.is_empty or (key.VR in _WILDCARD_VRS and set(str(key.value)) == {"*"})


def _texts(element: DataElement) -> list[str]:
    values = element.value if element.VM > 1 else [element.value]
    return [str(value) for value in values]


def _value_matches(vr: str, wanted: str, value: str, zone: str) -> bool:
    match vr:
        case "DT":
            return _dt_matches(wanted, value, zone)
        case "DA" | "TM":
            return _range_matches(wanted, value)
        case "PN":
            # A name matches in any of its scripts, whatever its case (C.2.2.2.1).
            forms = [value, *value.split("=")]
            return any(_text_matches(wanted.rstrip("^=").casefold(), form.rstrip("^").casefold()) for form in forms)
        case _ if vr in _WILDCARD_VRS:
            return _text_matches(wanted, value)
        case _:
            return wanted == value


def _text_matches(wanted: str, value: str) -> bool:
    """Wildcard matching without going back: a regular expression would take for ever over a key of many stars."""
    first, *rest = wanted.split("*")
    if not rest:
        return len(first) == len(value) and _stands_at(first, value, 0)
    *middle, last = rest
    end = len(value) - len(last)
    if end < len(first) or not (_stands_at(first, value, 0) and _stands_at(last, value, end)):
        return False
    place = len(first)
    for part in middle:
        found = next((at for at in range(place, end - len(part) + 1) if _stands_at(part, value, at)), None)
        if found is None:
            return False
        place = found + len(part)
    return True


def _stands_at(part: str, value: str, place: int) -> bool:
    """Whether a part without a star stands at a place of a value that is long enough for it."""
    return all(one in ("?", other) for one, other in zip(part, value[place : place + len(part)], strict=True))


def _range_matches(wanted: str, value: str) -> bool:
    """Dates and times in their fixed order of digits compare as text; an end that is cut short means all of it."""
    if "-" not in wanted:
        return value.startswith(wanted)
    first, _, last = wanted.partition("-")
    return (not first or value >= first) and (not last or value[: len(last)] <= last)


def _dt_matches(wanted: str, value: str, zone: str) -> bool:
    found = _instant(value, zone)
    if re.fullmatch(_INSTANT, wanted):
        first = last = wanted
    else:
        limits = _DT_RANGE.fullmatch(wanted)
        if limits is None:
            return False
        first, last = limits[1] or "", limits[2] or ""
    if found is None:
        return False
    start, end = _instant(first, zone), _instant(last, zone)
    if (first and start is None) or (last and end is None):
        return False
    return (start is None or found >= start) and (end is None or found < end + _precision(last))


def _instant(text: str, zone: str) -> datetime | None:
    """The first instant that a date and time means; of the zone of the asker, or of this machine, without its own."""
    parts = re.fullmatch(r"(\d{4,14})(?:\.(\d{1,6}))?([+-]\d{4})?", text)
    if parts is None:
        return None
    digits, fraction = parts[1] + _FIRST[len(parts[1]) :], (parts[2] or "0").ljust(6, "0")
    offset = parts[3] or (zone if re.fullmatch(r"[+-]\d{4}", zone) else "")
    try:
        return datetime.fromisoformat(f"{digits[:8]}T{digits[8:]}.{fraction}{offset}").astimezone()
    except (ValueError, OverflowError):
        return None


def _precision(text: str) -> timedelta:
    """How long the unit lasts that a date and time is given to; a month and a year are counted generously."""
    digits = re.match(r"\d+", text)
    units = {4: timedelta(days=366), 6: timedelta(days=31), 8: timedelta(days=1), 10: timedelta(hours=1)}
    length = len(digits[0]) if digits is not None else 0
    if "." in text:
        return timedelta(microseconds=1)
    return units.get(length, timedelta(minutes=1) if length == 12 else timedelta(seconds=1))
