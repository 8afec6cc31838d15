"""The notice of research use, which stands on every result, and the licence of what is shipped."""

from __future__ import annotations

RESEARCH_ONLY = "research use only, not for diagnosis"
RESEARCH_ONLY_LINE = f"{RESEARCH_ONLY.capitalize()}."
LICENCE = "MIT"
