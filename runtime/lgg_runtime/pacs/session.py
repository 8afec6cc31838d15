"""What the node remembers of an association, from its acceptance to its end."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass
class Session:
    """What came over one association.

    is_open: whether it still runs; instances: the study of each image that came; has_refusals:
    whether an object was not taken, which may have been an image of any of these studies;
    has_strangers: whether one was not taken because another study holds it; ends_in_conflict:
    whether the last one was a CONFLICT, at which many a sender stops, and releases.
    """

    is_open: Callable[[], bool]
    instances: dict[str, str] = field(default_factory=dict)
    has_refusals: bool = False
    has_strangers: bool = False
    ends_in_conflict: bool = False
