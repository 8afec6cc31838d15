"""What the node writes of itself to standard error, and what it keeps from there."""

from __future__ import annotations

import logging
import re
import threading

import pytest

pytest.importorskip("pynetdicom")

from lgg_runtime.pacs.log import LOG, set_up_log


def test_lines_of_the_level_and_above_are_written_and_a_thread_s_error_by_its_type(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(LOG, "handlers", [])
    monkeypatch.setattr(LOG, "propagate", LOG.propagate)
    level = LOG.level
    monkeypatch.setattr(threading, "excepthook", threading.excepthook)

    def fail() -> None:
        raise ValueError("of a patient")

    try:
        set_up_log("error")
        LOG.warning("nothing")
        LOG.error("a line")
        thread = threading.Thread(target=fail, name="AcceptorThread@20260101")
        thread.start()
        thread.join(20)
    finally:
        LOG.setLevel(level)
    lines = capsys.readouterr().err.splitlines()
    when = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3}"
    assert [re.sub(when, "T", line) for line in lines] == [
        "T ERROR a line",
        "T ERROR AcceptorThread ended: ValueError",
    ]
    assert not LOG.propagate


@pytest.mark.parametrize("package", ["pynetdicom", "pydicom", "highdicom", "dicomweb_client"])
def test_libraries_that_would_quote_a_header_are_silent(
    package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(LOG, "handlers", [])
    monkeypatch.setattr(LOG, "propagate", LOG.propagate)
    monkeypatch.setattr(threading, "excepthook", threading.excepthook)
    logger, level = logging.getLogger(package), LOG.level
    logger.setLevel(logging.NOTSET)
    try:
        set_up_log("debug")
    finally:
        LOG.setLevel(level)
    assert not logger.isEnabledFor(logging.CRITICAL)
