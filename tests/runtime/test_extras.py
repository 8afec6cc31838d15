"""A missing optional package is named with its install command; other faults stay themselves."""

import pytest

from lgg_runtime.errors import MissingExtraError
from lgg_runtime.extras import needs_extra


def test_a_missing_package_is_named_with_the_install_command():
    with (
        pytest.raises(MissingExtraError, match=r"no_such_package .* 'lgg-edge\[train\]'"),
        needs_extra("train"),
    ):
        import no_such_package  # noqa: F401


def test_a_fault_of_our_own_is_not_taken_for_a_missing_package():
    with pytest.raises(ImportError, match="cannot import name"), needs_extra("train"):
        from lgg_runtime.extras import no_such_name  # noqa: F401
