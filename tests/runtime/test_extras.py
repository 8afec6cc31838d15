"""A missing optional package is named with its install command; other faults stay themselves."""

import warnings
from pathlib import Path

import pytest

from lgg_runtime.errors import MissingExtraError
from lgg_runtime.extras import import_extra, installed_versions, keep_silent, needs_extra
from lgg_runtime.terminal import Terminated


def test_a_missing_package_is_named_with_the_install_command():
    with (
        pytest.raises(MissingExtraError, match=r"no_such_package .* 'lgg-edge\[train\]'"),
        needs_extra("train"),
    ):
        import no_such_package  # noqa: F401


def test_a_fault_of_our_own_is_not_taken_for_a_missing_package():
    with pytest.raises(ImportError, match="cannot import name"), needs_extra("train"):
        from lgg_runtime.extras import no_such_name  # noqa: F401


@pytest.mark.parametrize("signal", [KeyboardInterrupt, Terminated])
def test_a_signal_while_a_native_module_begins_stays_a_signal(signal: type[BaseException]):
    with pytest.raises(signal), needs_extra("train"):
        raise ImportError("initialization failed") from signal()


def test_a_package_that_cannot_be_loaded_is_told_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    (tmp_path / "broken_package.py").write_text("raise ImportError('a.so: no symbol x\\nmore')")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(MissingExtraError) as error:
        import_extra("broken_package", "nifti")
    assert str(error.value) == (
        "broken_package is installed and cannot be loaded: a.so: no symbol x"
    )


def test_of_packages_those_that_are_not_installed_are_left_out():
    assert installed_versions(["numpy", "no-such-package"]).keys() == {"numpy"}


def _warn_of(module: str) -> None:
    warnings.warn_explicit("a value", UserWarning, "a_file.py", 1, module)


def test_a_package_s_warnings_are_ignored_whatever_filters_came_later():
    with warnings.catch_warnings(record=True) as shown:
        for _ in range(2):
            warnings.simplefilter("always")
            keep_silent("pydicom")
            keep_silent("highdicom")
            for module in ("pydicom", "pydicom.valuerep", "highdicom.seg", "pydicoms"):
                _warn_of(module)
    assert len(shown) == 2  # of pydicoms


def test_a_program_s_own_warning_is_shown_once_however_often_a_package_is_kept_silent():
    with warnings.catch_warnings(record=True) as shown:
        warnings.simplefilter("default")
        for _ in range(3):
            keep_silent("pydicom")
            keep_silent("highdicom")
            warnings.warn("of the program", stacklevel=1)
    assert [str(warning.message) for warning in shown] == ["of the program"]
