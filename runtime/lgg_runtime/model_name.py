"""What a model may be called: DICOM objects name it, and terminals show it."""

from __future__ import annotations

# A DICOM Long String holds 64, of which "lgg-edge " takes nine.
NAME_LENGTH = 55
USABLE_NAME = (
    f"at most {NAME_LENGTH} printable characters, none of them a backslash and not all of them "
    "spaces"
)


def is_usable_name(name: str) -> bool:
    fits = bool(name.strip()) and len(name) <= NAME_LENGTH and "\\" not in name
    return fits and name.isprintable()
