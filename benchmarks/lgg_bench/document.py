"""Markdown pages that a command fills: blocks between lines that only comments show, pictures."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from lgg_runtime.errors import InputError
from lgg_runtime.readers.regular import read_text
from lgg_runtime.writers.atomic import make_folder, write_atomically

_BLOCK = re.compile(r"(?s)(<!-- begin (?P<name>[\w-]+) -->\n).*?(<!-- end (?P=name) -->)")


def fill_page(page: Path, blocks: Mapping[str, str], pictures: Mapping[str, bytes]) -> None:
    """Fill the page's blocks, and write pictures by name into a folder beside it of its stem.

    Raises InputError, before anything is written, for a page that cannot be read or that has other
    blocks.
    """
    try:
        filled = fill_blocks(read_text(page), blocks)
    except OSError as error:
        raise InputError(f"{page}: cannot be read ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{page}: no text in UTF-8 ({error.reason})") from error
    except InputError as error:
        raise InputError(f"{page}: {error}") from error
    folder = page.with_suffix("")
    make_folder(folder)
    for name, data in pictures.items():
        write_atomically(folder / name, data)
    # A patient's name, and so an institution's, need not be text.
    write_atomically(page, filled.encode(errors="backslashreplace"))


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
