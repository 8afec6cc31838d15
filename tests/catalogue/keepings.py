"""What rows promise to preserve; each promise is a check of what came out."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from catalogue.row import GOOD, Keeping, Outcome, Row
from stand_ins.runs import LESION, read_png

MASK = GOOD.removesuffix(".png") + "_mask.png"


def untouched(outcome: Outcome, _row: Row) -> None:
    assert not outcome.changed


def require_good(outcome: Outcome) -> None:
    expected = np.zeros((40, 48), np.uint8)
    expected[LESION] = 255
    np.testing.assert_array_equal(read_png(outcome.scene.out / MASK), expected)


def require_reasons(outcome: Outcome, row: Row) -> None:
    """run.json has what was said, where a file's folder stands in its name, not in the reason."""
    said = row.says.splitlines()
    failed = outcome.fates("failed")
    assert len(failed) == len(said)
    for entry, line in zip(failed, said, strict=True):
        assert line.endswith(entry["reason"])
        assert f"{Path(entry['name']).parent}/".startswith(line.removesuffix(entry["reason"]))


def _others_done(outcome: Outcome, row: Row) -> None:
    assert outcome.results == [MASK]
    require_good(outcome)
    require_reasons(outcome, row)
    assert all(not entry["outputs"] for entry in outcome.fates("failed"))
    assert outcome.run["state"] == "complete"


def _recorded_alone(outcome: Outcome, row: Row) -> None:
    assert outcome.results == []
    require_reasons(outcome, row)
    assert outcome.run["counts"]["done"] == 0


def _nothing_made(outcome: Outcome, _row: Row) -> None:
    assert not outcome.scene.out.exists()


def _done(outcome: Outcome, row: Row) -> None:
    """The input that is not the good one is done, with its notes, and all it wrote is there."""
    require_good(outcome)
    assert outcome.fates("failed") == []
    others = [entry for entry in outcome.fates("done") if entry["name"] != GOOD]
    assert others
    for entry in others:
        assert tuple(entry["notes"]) == row.notes
    written = {name for entry in outcome.fates("done") for name in entry["outputs"]}
    assert written == set(outcome.results)


def _left_out(outcome: Outcome, row: Row) -> None:
    _done(outcome, row)
    assert outcome.run["counts"]["done"] == 2


def _skipped(outcome: Outcome, _row: Row) -> None:
    require_good(outcome)
    assert outcome.results == [MASK]
    assert outcome.run["counts"]["skipped_files"] == 1
    assert [entry["name"] for entry in outcome.run["inputs"]] == [GOOD]


OTHERS_DONE = Keeping(
    "The other inputs are done; nothing is written for this one, `run.json` has the reason.",
    _others_done,
)
RECORDED = Keeping("Nothing is written but `run.json` with the reason.", _recorded_alone)
NOTHING_MADE = Keeping("Nothing is written; the output folder is not made.", _nothing_made)
DONE = Keeping("It is done as the others, and `run.json` notes it.", _done)
LEFT_OUT = Keeping("The scan is done, and nothing is written for the others.", _left_out)
SKIPPED = Keeping("Passed over and counted in `run.json`; the other inputs are done.", _skipped)


def masks_of_size(height: int, width: int) -> Keeping:
    """Done, with a mask of the input's own size."""

    def check(outcome: Outcome, row: Row) -> None:
        _done(outcome, row)
        (name,) = (name for name in outcome.results if name != MASK)
        mask = read_png(outcome.scene.out / name)
        assert mask.shape == (height, width)
        assert set(np.unique(mask)) <= {0, 255}

    return Keeping(f"It is done; the mask has {height} x {width} pixels as the input.", check)
