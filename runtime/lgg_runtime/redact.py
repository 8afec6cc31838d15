"""Names for messages, results and folders without the identifiers that DICOM puts into them."""

from __future__ import annotations

import hashlib
import re

from lgg_runtime.errors import printable

# Five components at least (PS3.5, 9.1, with the shortest roots in use), since an IP address has
# four; or a UUID below 2.25 (B.2).
_UID = re.compile(r"\d+(?:\.\d+){4,}|2\.25\.\d{9,}")


def short_digest(text: str) -> str:
    """Eight hexadecimal digits that stand for an identifier, the same each time."""
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:8]


def without_uids(text: str) -> str:
    """The text with each UID replaced by its short digest, and escapes for what breaks a line."""
    return printable(_UID.sub(lambda match: f"uid-{short_digest(match[0])}", text))
