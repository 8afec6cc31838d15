"""A run without a command line: what its caller is told, and when it counts as complete."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import fields, replace
from functools import partial
from pathlib import Path

import pytest

from lgg_runtime.errors import (
    LggError,
    ModelError,
    OutOfMemoryError,
    OutputConflictError,
    ResourceError,
    StoreError,
    UsageError,
)
from lgg_runtime.loading import LoadSettings
from lgg_runtime.lock import LOCK_FILE
from lgg_runtime.readers.dicom_series import SeriesChoice
from lgg_runtime.run.inference import infer
from lgg_runtime.run.journal import REPORT_FILE, Journal
from lgg_runtime.run.provenance import settings_of
from lgg_runtime.run.request import Request
from lgg_runtime.segmenter import Segmenter
from stand_ins.runs import files, read_run


class Caller:
    """Keeps what it is told; deliver: what it does once the results are written."""

    def __init__(self, deliver: Callable[[Journal], object] = lambda _: None):
        self.lines: list[str] = []
        self.bars: list[tuple[str, int]] = []
        self.done = 0
        self.deliver = deliver

    def infer(self, request: Request) -> Journal:
        load = partial(Segmenter.load, request.model, request.load)
        return infer(request, load, self.lines.append, self.progress, self.deliver)

    @contextmanager
    def progress(self, unit: str, total: int) -> Iterator[Callable[[int], None]]:
        self.bars.append((unit, total))
        yield self.advance

    def advance(self, count: int) -> None:
        self.done += count


@pytest.fixture
def request_(source: Path, artifact: Path, out: Path) -> Request:
    return Request(
        given=source,
        recorded="two patients",
        output=out,
        outputs=("mask",),
        evaluate=False,
        choice=SeriesChoice(),
        model=str(artifact),
        load=LoadSettings(threads=1),
        resume=False,
    )


def test_a_run_is_complete_only_after_its_results_are_delivered(
    request_: Request, out: Path
) -> None:
    states = []
    caller = Caller(lambda _: states.append((read_run(out)["state"], len(files(out)))))
    journal = caller.infer(request_)
    assert states == [("running", 6)]  # four masks, run.json and summary.csv
    assert (caller.bars[-1], caller.done, caller.lines) == (("slice", 4), 4, [])
    told = read_run(out)
    assert (told["state"], told["settings"]["input"]) == ("complete", "two patients")
    assert len(journal.patients) == 2


def test_results_that_nobody_takes_stop_the_run(request_: Request, out: Path) -> None:
    def refuse(_journal: Journal) -> None:
        raise StoreError("the server is full")

    with pytest.raises(StoreError):
        Caller(refuse).infer(request_)
    assert read_run(out)["state"] == "stopped: the server is full"


def test_memory_that_ended_outside_of_the_model_is_what_stopped_the_run(
    request_: Request, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def exhaust(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr(Segmenter, "prepare", exhaust)
    with pytest.raises(OutOfMemoryError):
        Caller().infer(request_)
    told = "stopped: memory exhausted; give fewer or smaller slices"
    assert read_run(out)["state"] == told


@pytest.mark.parametrize("lost", ["moved", "without its lock"])
def test_a_run_leaves_alone_what_another_one_has_written_into_its_folder_since(
    request_: Request, out: Path, lost: str
) -> None:
    kept = []

    def lose(_journal: Journal) -> None:
        if lost == "moved":
            out.rename(out.with_name("moved"))
        else:
            (out / LOCK_FILE).unlink()
        other = replace(request_, load=LoadSettings(threads=1, threshold=0.9))
        Caller().infer(other)
        kept.append(read_run(out))

    with pytest.raises(OutputConflictError, match="out: it was removed, moved or given to another"):
        Caller(lose).infer(request_)
    assert [read_run(out)] == kept


def test_a_record_that_does_not_fit_hides_nothing_of_what_ended_the_run(
    request_: Request, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fill(_journal: Journal) -> None:
        monkeypatch.setattr(Journal, "write", refuse)
        raise StoreError("the server is full")

    def refuse(*_: object) -> None:
        raise ResourceError("summary.csv: the disk is full")

    with pytest.raises(StoreError, match="the server is full"):
        Caller(fill).infer(request_)
    assert read_run(out)["state"] == "running"


def test_a_record_that_does_not_fit_ends_a_run_that_nothing_else_ended(
    request_: Request, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise ResourceError("summary.csv: the disk is full")

    with pytest.raises(ResourceError, match=r"summary\.csv"):
        Caller(lambda _: monkeypatch.setattr(Journal, "write", refuse)).infer(request_)


def test_a_page_that_cannot_be_written_does_not_keep_the_record_from_it(
    request_: Request, out: Path
) -> None:
    def occupy(_journal: Journal) -> None:
        (out / REPORT_FILE).unlink()
        (out / REPORT_FILE).mkdir()

    def fail(journal: Journal) -> None:
        occupy(journal)
        raise StoreError("the server is full")

    refused = "report.html: cannot be written: Is a directory"
    with_page = replace(request_, outputs=("overlay",), report=True)
    with pytest.raises(StoreError):
        Caller(fail).infer(with_page)
    assert read_run(out)["state"] == "stopped: the server is full"
    with pytest.raises(ResourceError, match=refused):  # before anything is done
        Caller().infer(with_page)
    assert (read_run(out)["state"], read_run(out)["counts"]["done"]) == (f"stopped: {refused}", 0)
    (out / REPORT_FILE).rmdir()
    with pytest.raises(ResourceError, match=refused):
        Caller(occupy).infer(with_page)
    assert (read_run(out)["state"], read_run(out)["counts"]["done"]) == (f"stopped: {refused}", 4)


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"model": "gone.onnx"}, ModelError),
        ({"outputs": ("dicom-seg",)}, UsageError),
        ({"evaluate": True}, UsageError),
        ({"report": True}, UsageError),
    ],
    ids=["model", "outputs", "evaluate", "a page without its pictures"],
)
def test_what_is_refused_leaves_no_trace(
    request_: Request, out: Path, change: dict[str, object], error: type[LggError]
) -> None:
    with pytest.raises(error):
        Caller().infer(replace(request_, **change))
    assert not out.exists()


def test_a_resumed_run_compares_every_setting_of_how_a_model_runs(request_: Request) -> None:
    """But for the two models and what they run on, which are known by their digests and names."""
    known_otherwise = {"gpu", "sha256", "first_look", "first_look_sha256", "public_key"}
    names = {field.name for field in fields(LoadSettings)}
    assert names - known_otherwise == names & settings_of(request_, 1).keys()
