"""Filling a page's blocks: what is outside stays, and no block is left or lost."""

import pytest

from lgg_bench.document import fill_blocks
from lgg_runtime.errors import InputError

PAGE = "# Title\n<!-- begin a -->\nold\n<!-- end a -->\nprose\n<!-- begin b -->\n<!-- end b -->\n"


def test_blocks_are_replaced_and_the_prose_stays():
    filled = fill_blocks(PAGE, {"a": "new", "b": r"back\1slash"})
    assert filled == (
        "# Title\n<!-- begin a -->\n\nnew\n\n<!-- end a -->\nprose\n"
        "<!-- begin b -->\n\nback\\1slash\n\n<!-- end b -->\n"
    )
    assert fill_blocks(filled, {"a": "new", "b": r"back\1slash"}) == filled


@pytest.mark.parametrize("blocks", [{"a": ""}, {"a": "", "b": "", "c": ""}, {}])
def test_a_block_that_is_missing_or_too_many_is_refused(blocks):
    with pytest.raises(InputError, match="the page has the blocks a, b, expected"):
        fill_blocks(PAGE, blocks)
