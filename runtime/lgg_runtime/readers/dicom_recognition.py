"""What a series shows: by how its images were made, then by what they are called.

Echo, inversion and repetition times and ScanningSequence say what a sequence shows; a description
is asked where they are missing.
"""

from __future__ import annotations

import re
from typing import Any

from lgg_runtime.readers.dicom_frames import Frame

LATEST_T1_ECHO_MS = 30.0
# Of gradient echoes: later ones are T2*-weighted, whatever their repetition time.
LATEST_T1_GRADIENT_ECHO_MS = 12.0

# Of a description, 16 times what it may have (PS3.5, 6.2): the time goes by its square.
_MOST_LETTERS = 1024
_NOT_IMAGES = re.compile(
    r"LOCALIZER|SCOUT|ADC|TRACE|PROJECTION IMAGE|MIP|MINIP|SUBTRACT|PHASE|FIELDMAP|\bSUB\b|T2 MAP"
)
_FLAIR_WORDS = re.compile(r"flair|dark.?fluid|tirm", re.I)
# Its times are FLAIR's; white matter is dark in it too.
_DOUBLE_INVERSION_WORDS = re.compile(r"\bdir\b|double.?(?:inv|ir\b)", re.I)
_T1_FLAIR_WORDS = re.compile(r"(?!.*t2).*t1", re.I | re.S)
_T2_WORDS = re.compile(r"(?!.*t1).*t2", re.I | re.S)
_T1_WORDS = re.compile(r"t1|mp.?rage|spgr|bravo|vibe|tfe|thrive", re.I)
_OTHER_WORDS = re.compile(
    r"locali[sz]er|scout|survey|3.?plane|tof|angio|mra|mrv|swi|swan|t2\*|dwi|dti|diff|\be?adc|"
    r"perf|dsc|dce|asl|map|mip|sub(?:tr|\b)|fmri|bold|spectro|\bloc\b|calib|\bcal\b|fiesta|\bciss|"
    r"trufi|truefi|b-?[tf]fe|inhance",
    re.I,
)
# "Post" of something else, as surgery, says nothing of contrast.
_AFTER_WORDS = re.compile(
    r"\bpost(?!erior|.?(?:foss|op(?!tic)|surg|rad(?:io|iat|\b)|biops|resec|treat|therap|chemo))|"
    r"\+c|\+ c\b|\+ ?gd|\bgd\b|\bgad|\bc\+|\bce\b|contrast|\bkm\b|"
    r"t1c(?![a-z])|t1ce(?!r)",
    re.I,
)
_CONTRAST = r"(?:c\b|km\b|gd\b|gad|contr|kontr)"
# "Without" and "pre" of something else, as fat saturation or surgery, say nothing of contrast; with
# and without it is a whole examination. What is between two of its words is said once, by the \W*
# behind each: said in two ways, 26 words of a description are tried in 2^26.
_BEFORE_WORDS = re.compile(
    r"\bpre(?!.?(?:sat|op|p\b|scan|surg|rad|proc))|non.?con|nativ|"
    rf"\b(?:no|non|without|w/o(?:ut)?|w/out|ohne|vor|sans|sin|senza|zonder|before)\W*"
    rf"(?:(?:i\W?v|any|the|added|and|with|w|mit)\b\W*)*{_CONTRAST}|"
    rf"{_CONTRAST}\w*\W*(?:without|w/o|ohne|none)\W*$",
    re.I,
)
# What is written for want of a ContrastBolusAgent.
_NO_AGENT = re.compile(
    r"(?:n|no|none|not|without|w/o|nil|kein[es]?|ohne)(?:[ _]+(?:contrast|agent|given|used|km))*"
    r"|n[./]?a\.?|0+|[-.?]*",
    re.I,
)
# What de-identification may write for any agent, and for an empty value as well.
_DUMMY_AGENT = re.compile(
    r"\*+|\W*(?:anonym\w*|de-?identified|removed|redacted|masked|dummy|x{2,})\W*", re.I
)
UNTOLD_T1 = "t1 or t1c"


def recognise(frame: Frame) -> str | None:
    """The role of a frame's sequence: flair, t1, t1c, UNTOLD_T1 where neither a description nor
    more than a dummy for an agent says which of these two, or None for any other.
    """
    # A protocol may be called by the whole examination, with words of its other series.
    named = str(frame.get("SeriesDescription", "ProtocolName") or "")
    # To a regular expression an underscore is a letter, so that no word would end beside it.
    described = named[:_MOST_LETTERS].replace("_", " ")
    kind = _kind_by_times(frame)
    if kind is None and not _OTHER_WORDS.search(described):
        kind = _kind_by_words(frame, described)
    elif kind == "t1":
        # Angiography, susceptibility, perfusion, steady states and what scanners calibrate their
        # coils by are gradient echoes of the same times.
        is_other = _OTHER_WORDS.search(described) or _T2_WORDS.match(described)
        kind = None if is_other else "t1"
    if kind == "flair":
        return None if _DOUBLE_INVERSION_WORDS.search(described) else "flair"
    if kind != "t1":
        return None
    return _role_of_t1(frame, described)


def _kind_by_times(frame: Frame) -> str | None:
    """flair, t1 or other by the sequence's times in ms, None where they do not tell."""
    if _is_echo_planar(frame):
        return "other"
    echo = _echo_time(frame)
    inversion = _number(frame.get("InversionTime", "InversionTimes"))
    repetition = _number(frame.get("RepetitionTime"))
    names = frame.texts("ScanningSequence")
    if echo is None:
        return None
    inverted = inversion or 0.0
    rules: tuple[tuple[bool, str | None], ...] = (
        # Fluid is dark at inversion times of 1500 to 3000 ms with an echo late enough for T2.
        (inverted >= 1500, "flair" if echo >= 60 else "other"),
        (echo >= 60 and bool(names) and "IR" not in names, "other"),
        # The inversion time is often left out; then the sequence's name has to say it.
        (echo >= 60, "other" if inverted > 0 else None),
        (echo > LATEST_T1_ECHO_MS, "other"),
        (echo > LATEST_T1_GRADIENT_ECHO_MS and _is_gradient_echo(frame), "other"),
        (inverted > 0, "t1" if inverted >= 350 else "other"),
        (repetition is None, None),
        (True, "t1" if (repetition or 0.0) <= 1200 else "other"),
    )
    return next(kind for applies, kind in rules if applies)


def _kind_by_words(frame: Frame, described: str) -> str | None:
    echo = _echo_time(frame)
    is_early = echo is None or echo <= LATEST_T1_ECHO_MS
    # T1 FLAIR is T1-weighted, with an inversion time of a second or less.
    if _FLAIR_WORDS.search(described) and not (is_early and _T1_FLAIR_WORDS.match(described)):
        return "flair"
    return "t1" if is_early and _T1_WORDS.search(described) else None


def _echo_time(frame: Frame) -> float | None:
    return _number(frame.get("EchoTime", "EffectiveEchoTime"))


def _is_echo_planar(frame: Frame) -> bool:
    """By either attribute: Enhanced MR has the second alone (PS3.3, C.8.13.4)."""
    is_named = "EP" in frame.texts("ScanningSequence")
    return is_named or frame.get("EchoPlanarPulseSequence") == "YES"


def _is_gradient_echo(frame: Frame) -> bool:
    """By either attribute, as `_is_echo_planar`; SE and GR together are spin echoes in the main."""
    names = frame.texts("ScanningSequence")
    is_named = "GR" in names and "SE" not in names
    return is_named or frame.get("EchoPulseSequence") == "GRADIENT"


def has_dummy_agent(frame: Frame) -> bool:
    """Whether what stands for its contrast agent is a dummy of de-identification."""
    agent = frame.get("ContrastBolusAgent", "ContrastBolusAgentSequence")
    return isinstance(agent, str) and _DUMMY_AGENT.fullmatch(agent.strip()) is not None


def _role_of_t1(frame: Frame, described: str) -> str:
    agent = frame.get("ContrastBolusAgent", "ContrastBolusAgentSequence")
    if agent is not None and not isinstance(agent, str):
        return "t1c"
    is_dummy = has_dummy_agent(frame)
    if not (is_dummy or _NO_AGENT.fullmatch((agent or "").strip())):
        return "t1c"
    if _BEFORE_WORDS.search(described):
        return "t1"
    if _AFTER_WORDS.search(described):
        return "t1c"
    return UNTOLD_T1 if is_dummy else "t1"


def is_derived(frame: Frame) -> bool:
    """Whether a frame is a localizer or was computed: ADC, MIP, subtraction and the like."""
    kind = " ".join(map(str, frame.texts("ImageType", "FrameType")))
    return bool(_NOT_IMAGES.search(kind.upper().replace("_", " ")))


def _number(value: Any) -> float | None:
    try:
        if value is not None and not isinstance(value, (str, int, float)):
            value = value[0]
        return None if value is None else float(value)
    except (TypeError, ValueError, IndexError):
        return None
