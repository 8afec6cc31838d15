"""Filling a page's blocks: what is outside stays, and no block is left or lost."""

import pytest

from lgg_bench.document import fill_blocks, fill_page
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


@pytest.mark.parametrize(
    ("held", "told"),
    [(b"", "the page has the blocks none, expected a$"), (b"\xff", r"no text in UTF-8 \(inval")],
)
def test_a_page_that_cannot_be_filled_is_named_and_stays(tmp_path, held, told):
    page = tmp_path / "page.md"
    page.write_bytes(held)
    with pytest.raises(InputError, match=rf"/page\.md: {told}"):
        fill_page(page, {"a": "new"}, {"a.png": b"picture"})
    assert page.read_bytes() == held
    assert list(tmp_path.iterdir()) == [page]


def test_a_name_that_is_no_text_is_escaped(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("<!-- begin a -->\n<!-- end a -->\n")
    fill_page(page, {"a": "M\udcfcnchen"}, {})
    assert "M\\udcfcnchen" in page.read_text(encoding="utf-8")
