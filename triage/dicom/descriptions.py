"""What the words of a description say: contrast or plain, head or another part of the body, soft or sharp.

Descriptions are typed by people in many languages; English, German, French, Spanish and Italian words that are
common on CT consoles are known. A word counts only as a whole word.
"""

from __future__ import annotations

import re
import unicodedata

_WITHOUT = re.compile(
    r"\b(without|w/ ?o|wo|non?|not|pre|ohne|sans|sin|senza|zonder)[ -]?(any |i ?v )?"
    r"(contrast[eo]?|contr|kontrast(mittel)?|km|injection|c|enhance(d|ment)|mdc)\b"
    r"|\b(contrast[eo]?|kontrast) (none|no)\b"
)
_CONTRAST = re.compile(
    r"\b(cta|ctv|ctp|angio\w*|venogra\w*|perfusion\w*|perf|bolus\w*|arterial\w*|venous|venos\w*|carotids?|cow"
    r"|contrast(ed|e|o|s)?|postcontrast|kontrast\w*|gado\w*|km|w/? ?c|iv c|arch to vertex"
    r"|premonitoring|monitoring|smartprep|surestart|\d+ ?(cc|ml))\b|\bc ?\+|\+ ?c\b"
)
_HEAD = re.compile(
    r"\b((ct)?heads?\d*|brains?|crani\w*|cerebr\w*|neuro\w*|skull|schae?del\w*|kopf\w*|hirn\w*|cran\w*|tete"
    r"|encephal\w*|encefal\w*|testa|hoofd|hersen\w*|headneck|headbrain|ich|stroke)\b"
)
_OTHER_PART = re.compile(
    r"\b(chest|thora\w*|lungs?|lunge\w*|pulm\w*|heart|cardiac\w*|coronar\w*|abd|abdom\w*|abdpel\w*|liver|kidneys?"
    r"|pelvi\w*|becken|spine|cspine|tspine|lspine|[ctl] spine|spinal\w*|hws|bws|lws|neck|hals|shoulder|arm|elbow|wrist"
    r"|hand|hip|leg|femur|knee|knie|tibia|ankle|foot|extremity|aorta|colon|larynx|sinus\w*|nnh|orbits?|facial|face"
    r"|maxillo\w*|mandib\w*|teeth|dental|temporal ?bones?|petrous|felsenbein\w*|iacs?|ears?|inner ?ear|mastoids?|tmj)\b"
)
_SHARP = re.compile(r"\b(bones?|knochen|osseux|hueso|osso|sharp|edge|lung|uhr|high res\w*|inner ?ear)\b")


def is_contrast(description: str) -> bool:
    """Whether a description speaks of contrast, once every way of saying "without" is taken out."""
    return _CONTRAST.search(_WITHOUT.sub(" ", _words(description))) is not None


def speaks_of_head(description: str) -> bool:
    """Whether a description names the head or the brain."""
    return _HEAD.search(_words(description)) is not None


def speaks_of_other_body_part(description: str) -> bool:
    """Whether a description names a part of the body that is not the brain; face, ears and neck count as other."""
    return _OTHER_PART.search(_words(description)) is not None


def speaks_of_sharp_kernel(description: str) -> bool:
    """Whether a description names a bone or other sharp reconstruction."""
    return _SHARP.search(_words(description)) is not None


def _words(description: str) -> str:
    """Lower case without accents; what separates words is one space, but ``/``, ``+`` and ``&`` are kept."""
    plain = unicodedata.normalize("NFKD", description.lower())
    plain = "".join(character for character in plain if not unicodedata.combining(character))
    return re.sub(r"[^\w/+&]+|_+", " ", plain).strip()
