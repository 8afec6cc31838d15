"""Blocks of a Markdown page that a command fills, between lines that only comments show."""

from __future__ import annotations

import re
from collections.abc import Mapping

from lgg_runtime.errors import InputError

_BLOCK = re.compile(r"(?s)(<!-- begin (?P<name>[\w-]+) -->\n).*?(<!-- end (?P=name) -->)")


def fill_blocks(page: str, blocks: Mapping[str, str]) -> str:
    """Replace what stands between `<!-- begin NAME -->` and `<!-- end NAME -->`, for every name.

    Raises InputError where the page has a block that is not given, or lacks one that is.
    """
    there = [match["name"] for match in _BLOCK.finditer(page)]
    if sorted(there) != sorted(blocks):
        raise InputError(
            f"the page has the blocks {', '.join(sorted(there)) or 'none'}, expected "
            f"{', '.join(sorted(blocks))}"
        )
    return _BLOCK.sub(lambda match: f"{match[1]}\n{blocks[match['name']]}\n\n{match[3]}", page)
