"""What the node writes of itself to standard error, and what it keeps from there."""

from __future__ import annotations

import logging
import os
import re
import threading
import time
from pathlib import Path

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
    when = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3}[+-]\d\d:\d\d"
    assert [re.sub(when, "T", line) for line in lines] == [
        "T ERROR a line",
        "T ERROR AcceptorThread ended: ValueError",
    ]
    assert not LOG.propagate


@pytest.mark.skipif(not Path("/usr/share/zoneinfo/Europe/Berlin").exists(), reason="no zones")
def test_the_hour_that_comes_twice_as_summer_time_ends_is_told_apart(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(LOG, "handlers", [])
    monkeypatch.setattr(LOG, "propagate", LOG.propagate)
    monkeypatch.setattr(LOG, "level", LOG.level)
    monkeypatch.setattr(threading, "excepthook", threading.excepthook)
    set_up_log("info")
    monkeypatch.setenv("TZ", "Europe/Berlin")
    time.tzset()
    record = {"msg": "listening", "levelname": "INFO"}
    told = [
        LOG.handlers[0].format(logging.makeLogRecord(record | {"created": created}))
        for created in (1792888200.0, 1792891800.0)
    ]
    monkeypatch.undo()
    time.tzset()
    assert told == [
        "2026-10-25 02:30:00.000+02:00 INFO listening",
        "2026-10-25 02:30:00.000+01:00 INFO listening",
    ]


@pytest.mark.parametrize(
    ("stream", "lines"),
    [("the same", ["<7>T DEBUG a", "<6>T INFO b", "<4>T WARNING c", "<3>T ERROR d"]),
     ("1:2", ["T DEBUG a", "T INFO b", "T WARNING c", "T ERROR d"])],
)  # fmt: skip
def test_lines_for_the_journal_begin_with_their_priority(
    stream: str,
    lines: list[str],
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(LOG, "handlers", [])
    monkeypatch.setattr(LOG, "propagate", LOG.propagate)
    monkeypatch.setattr(threading, "excepthook", threading.excepthook)
    found, level = os.fstat(2), LOG.level
    own = f"{found.st_dev}:{found.st_ino}"
    monkeypatch.setenv("JOURNAL_STREAM", own if stream == "the same" else stream)
    try:
        set_up_log("debug")
        for log, line in zip((LOG.debug, LOG.info, LOG.warning, LOG.error), "abcd", strict=True):
            log(line)
    finally:
        LOG.setLevel(level)
    when = r"[0-9-]{10} [0-9:.]{12}[+-]\d\d:\d\d"
    assert re.sub(when, "T", capfd.readouterr().err).splitlines() == lines


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
