"""What the name of a NIfTI file tells: whose file it is, and of which sequence."""

from __future__ import annotations

import re
from pathlib import Path

SUFFIXES = (".nii", ".nii.gz")
# The role of files that lie beside FLAIR in such data sets and that the model does not take.
UNUSED = "unused"
# The last part of a stem that names its sequence, in the words of dcm2niix users, BIDS, BraTS and
# others; of the TCGA's patients BraTS names label maps after the program that drew them.
_ROLES = {
    "t1": "t1", "t1n": "t1", "t1w": "t1",
    "flair": "flair", "t2f": "flair",
    "t1c": "t1c", "t1ce": "t1c", "t1gd": "t1c", "t1gad": "t1c", "ct1": "t1c",
    "t2": UNUSED, "t2w": UNUSED, "seg": UNUSED, "label": UNUSED, "labels": UNUSED,
    "glistrboost": UNUSED, "glistrboost_manuallycorrected": UNUSED,
}  # fmt: skip
_SEPARATORS = "_-. "
_S = rf"[{re.escape(_SEPARATORS)}]"
# Without a separator before it, patient1 would be the T1 of `patien`.
_SEQUENCE = re.compile(
    rf"^(?:(?P<stem>.*?){_S})?(?:(?:t2{_S}?)?flair|(?P<role>{'|'.join(_ROLES)}))$", re.I
)
_SECOND_TIME = re.compile(rf"(.+{_S}t2){_S}flair", re.I)
# BIDS: `sub-01_ses-02_ce-gadolinium_T1w`, of which the last word alone is the sequence.
_BIDS = re.compile(r"(?P<stem>sub-[a-z0-9]+(_[a-z]+-[a-z0-9.+]+)*)_(?P<word>[a-z][a-z0-9]*)", re.I)
# The last words that BIDS has for other images than FLAIR and T1, and ISLES for a mask.
_OTHER_IN_BIDS = re.compile(
    r"\w+map|adc|angio|asl|bold(ref)?|cbv|colfa|defacemask|dseg|dwi(ref)?|epi|expadc|fa|flash|"
    r"inplanet[12]|irt1|m0scan|magnitude[12]?|mask|megre|mese|mp2rage|mpm|msk|mt[rs]|mtsat|pdw?|"
    r"pdt2|pet|phase[12]?|phasediff|probseg|rb1cor|roi|sbref|swi|t1rho|t2starw?|tb1[a-z]+|trace|"
    r"unit1|vfa",
    re.I,
)
# ce-none and the like are no agent.
_AGENT = re.compile(r"_ce-(?!no|pre|without)[a-z0-9]+", re.I)
# Words anywhere in a name, as dcm2niix leaves them: p1_T1_post_20010203101112_4. Siemens says
# t2_tirm_tra_dark-fluid for FLAIR, and t2_tirm_cor_stir for what is none.
_WORD_OF_FLAIR = re.compile(
    rf"(?:^|{_S})(?:t2)?(?:flair|t2f|tirm(?!.*stir)|dark{_S}?fluid)(?={_S})", re.I
)
# Labels even of FLAIR: p1_FLAIR_seg_v2.
_LABELS = "seg|segm|segmentations?|dseg|probseg|labels?|mask"
_LABELS_WORD = re.compile(rf"(?:^|{_S})({_LABELS})(?={_S})", re.I)
# Philips says sT1W and eT2W, eADC and sDWI too.
_OTHER = (
    rf"c?t1[a-z]*|t2[a-z]*|[des]t[12]w[a-z]*|mp2?{_S}?rage|f?spgr|bravo|vibe|stir|tof|ep2d|pdw|"
    rf"[de]?adc|s?dwi|dti|swi|asl|{_LABELS}|" + "|".join(_ROLES)
)
_OTHER_WORD = re.compile(rf"(?:^|{_S})({_OTHER})(?={_S})", re.I)
# What stands before FLAIR's word in T1_brain_to_FLAIR, which is a T1 on FLAIR's grid. A 2 that does
# not follow its word may count the patient or the visit. The end is tried first: few have it.
_BROUGHT_ONTO = re.compile(
    rf"(?=.*{_S}(?:2|to|in|into|on|onto)$)(?:.*{_S})?(?:{_OTHER}){_S}(?:2|.*[a-z])", re.I
)
# Up to FLAIR's word in T1_FLAIR_5, as GE calls a T1 with an inversion.
_T1_AND_NO_T2 = re.compile(rf"(?:^|{_S})c?t1[a-z]*(?={_S}|$)(?!.*t2)", re.I)
# dcm2niix tells images of one series apart by a letter behind its number.
_SAME_SERIES = re.compile(r"(?<=\d)[a-z](?![a-z\d])", re.I)


def is_nifti_name(path: Path) -> bool:
    return path.name.lower().endswith(SUFFIXES)


def split_name(path: Path) -> tuple[str, str]:
    """Stem and role of a file's name: `p_t1ce.nii` is (p, t1c).

    The role is t1, flair, t1c, UNUSED for T2, labels and BIDS's other images, or empty where the
    name tells none.
    """
    whole = _whole(path)
    bids = _BIDS.fullmatch(whole)
    if bids and _OTHER_IN_BIDS.fullmatch(bids["word"]):
        return bids["stem"], UNUSED
    match = _SEQUENCE.match(whole)
    if match is None or _BROUGHT_ONTO.fullmatch(match["stem"] or ""):
        return whole, ""
    stem, role = match["stem"] or "", _ROLES[match["role"].lower()] if match["role"] else "flair"
    if bids and role == "t1" and _AGENT.search(stem):
        return _AGENT.sub("", stem), "t1c"
    return stem, role


def is_no_scan_name(path: Path) -> bool:
    """Whether it is called `mask`, has a stem that ends in `_mask`, or is by BIDS of no sequence
    that is used.
    """
    whole, (stem, role) = _whole(path), split_name(path)
    is_mask = whole.lower() == "mask" or whole.lower().endswith("_mask")
    is_bids = _BIDS.fullmatch(whole) is not None
    return is_mask or stem.lower().endswith("_mask") or (role == UNUSED and is_bids)


def find_other_word(path: Path) -> str:
    """The word of another sequence than FLAIR, or of labels, within a name whose end tells nothing
    and that `has_word_of_flair` says is no FLAIR's; empty for none.
    """
    if split_name(path)[1] or has_word_of_flair(path):
        return ""
    found = _LABELS_WORD.search(path.name) or _OTHER_WORD.search(path.name)
    return found[1] if found else ""


def has_word_of_flair(path: Path) -> bool:
    """Whether a word of FLAIR stands anywhere in the name, and no other makes it labels or another
    sequence.
    """
    found = _WORD_OF_FLAIR.search(path.name)
    if found is None or _LABELS_WORD.search(path.name):
        return False
    is_brought = _BROUGHT_ONTO.fullmatch(path.name[: found.start()])
    return not is_brought and not _T1_AND_NO_T2.search(path.name[: found.end()])


def find_second_time(path: Path) -> str:
    """`p1_T2` of `p1_T2_FLAIR`, where T2 may be the second of several times; empty for none."""
    match = _SECOND_TIME.fullmatch(_whole(path))
    return match[1] if match else ""


def owner_of(stem: str, patients: set[str], flairs: set[str]) -> str | None:
    """The first part of a stem that is a patient's, before a separator, or the whole of a FLAIR's,
    before a separator or dcm2niix's letter: `p1_FLAIR_5` of `p1_FLAIR_5_ph` and `p1_FLAIR_5a`.
    """
    for at, letter in enumerate(stem):
        before, is_separator = stem[:at], letter in _SEPARATORS
        if (is_separator and before in patients) or (
            (is_separator or _SAME_SERIES.match(stem, at)) and before in flairs
        ):
            return before
    return None


def channel_of(stem: str) -> str | None:
    """What stands before the number of a channel, as in nnU-Net's `case_0000`."""
    match = re.fullmatch(r"(.+)_\d{4}", stem, re.ASCII | re.DOTALL)
    return match[1] if match else None


def _whole(path: Path) -> str:
    return re.sub(r"\.nii(\.gz)?$", "", path.name, flags=re.I)
