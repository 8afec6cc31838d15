"""The node's files: what a start removes, and what has to be on the disk."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("pynetdicom")

from lgg_runtime.errors import ResourceError
from lgg_runtime.pacs import spool as module
from lgg_runtime.pacs.leftovers import settle_leftovers
from stand_ins.records import STUDY, Records


def files(records: Records) -> set[Path]:
    return {path for path in records.spool.root.rglob("*/*") if path.is_file()}


def test_a_start_removes_what_no_record_knows_and_nothing_else(records: Records) -> None:
    records.finish(1, 2)
    records.bring(records.associate(), 3)
    known = files(records)
    assert len(known) == 4, "three images, one of them not confirmed, and a result"
    image = records.spool.image(records.spool.name_of(STUDY), "0" * 32)
    left = (image, image.with_name(f"{image.name}.part"), records.spool.result("f" * 32))
    foreign = image.with_name("notes.txt")
    for path in (*left, foreign):
        path.touch()
    settle_leftovers(records.state, records.spool)
    assert files(records) == known | {foreign}


def test_a_start_whose_disk_does_not_tell_what_is_there_removes_nothing_and_says_why(
    records: Records, monkeypatch: pytest.MonkeyPatch
) -> None:
    records.finish(1)
    left = records.spool.result("f" * 32)
    left.touch()
    real = os.stat

    def fail(path: Any, *more: Any, **options: Any) -> os.stat_result:
        if str(path).endswith(".dcm"):
            raise OSError(errno.EIO, os.strerror(errno.EIO), path)
        return real(path, *more, **options)

    monkeypatch.setattr(os, "stat", fail)
    with pytest.raises(ResourceError, match=r"cannot be looked at \(Input/output error\); see to"):
        settle_leftovers(records.state, records.spool)
    monkeypatch.undo()
    assert left.exists()


def test_an_image_and_a_folder_that_is_new_outlive_a_loss_of_power(
    records: Records, monkeypatch: pytest.MonkeyPatch
) -> None:
    flushed: list[tuple[Path, int]] = []  # with the number of files in it by then
    monkeypatch.setattr(module, "_flush", lambda path: flushed.append((path, len(files(records)))))
    records.spool.keep_image("study", "one", b"")
    records.spool.keep_image("study", "two", b"")
    images = records.spool.root / "images"
    assert flushed == [(images, 0), (images / "study", 1), (images / "study", 2)]
