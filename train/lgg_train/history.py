"""The numbers of a run over time: `history.csv`, and TensorBoard's events where asked for.

`earlier.csv` beside it holds those of the rounds that the run went on from.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Sequence
from itertools import chain, groupby
from pathlib import Path
from typing import Any

from lgg_runtime.errors import InputError
from lgg_runtime.extras import needs_extra
from lgg_runtime.writers.atomic import remove, telling_refusal, write_atomically
from lgg_train.run import is_kept

HISTORY_FILE, EARLIER_FILE, EVENTS_FOLDER = "history.csv", "earlier.csv", "tensorboard"
Row = dict[str, float]


class History:
    """Rows of numbers over the run, as CSV and, when asked, for TensorBoard."""

    def __init__(self, folder: Path, rows: list[Row], tensorboard: bool):
        self.rows = list(rows)
        self._path, self._events = folder / HISTORY_FILE, folder / EVENTS_FOLDER
        self._board: Any = None
        if tensorboard:
            with needs_extra("tensorboard"):
                from torch.utils.tensorboard import SummaryWriter

            # Hides what an earlier call wrote of later steps, which are taken again.
            later = int(self.rows[-1]["step"]) + 1 if self.rows else 0
            with telling_refusal(self._events):
                self._board = SummaryWriter(str(self._events), purge_step=later)

    def add(
        self, step: int, seconds: float, loss: float, rate: float, scores: dict[str, float]
    ) -> None:
        """Take a row and write the whole file. Raises ResourceError where the disk refuses.

        seconds: of training since the run began; loss: the moving mean of training's; scores: of
        the validation.
        """
        row = {
            "step": step,
            "minutes": round(seconds / 60, 2),
            "loss": loss,
            "rate": rate,
            **scores,
        }
        self.rows.append(row)
        _write(self._path, self.rows)
        if self._board is not None:
            with telling_refusal(self._events):
                for name, value in row.items():
                    self._board.add_scalar(name, value, step)

    def close(self) -> None:
        """Raises ResourceError where the disk refused events, which are written in a thread."""
        if self._board is not None:
            with telling_refusal(self._events):
                self._board.close()


def read_history(folder: Path) -> list[Row]:
    """The rows of a run alone; none where it kept no history. Raises InputError for a file that
    holds anything else.
    """
    return _read(folder / HISTORY_FILE, "step", "minutes")


def read_rounds(folder: Path) -> list[list[Row]]:
    """The rows of each round, the run's own last.

    The rounds are the runs before it, each of which began with the weights of the one before.
    Steps and minutes are counted on from round to round.
    """
    earlier = _read(folder / EARLIER_FILE, "round", "step", "minutes")
    rounds = [list(rows) for _, rows in groupby(earlier, lambda row: row.pop("round"))]
    before = rounds[-1][-1] if rounds else {"step": 0.0, "minutes": 0.0}
    own = [
        row | {name: before[name] + row[name] for name in ("step", "minutes")}
        for row in read_history(folder)
    ]
    return [*rounds, own]


def clear_rounds(folder: Path) -> None:
    """Remove the numbers that an abandoned beginning left. Raises ResourceError where that cannot
    be.
    """
    for path in (folder / HISTORY_FILE, folder / EARLIER_FILE):
        remove(path)


def carry_rounds(rounds: Sequence[Sequence[Row]], folder: Path) -> None:
    """Keep the rounds of a run in the folder of the one that goes on from it."""
    numbered = [{"round": n, **row} for n, rows in enumerate(rounds, 1) for row in rows]
    _write(folder / EARLIER_FILE, numbered)


def _read(path: Path, *needed: str) -> list[Row]:
    """Raises InputError for what cannot be read or is no table of numbers, or lacks one that is
    needed in a row.
    """
    if not is_kept(path.parent, path.name):
        return []
    try:
        with path.open(newline="") as stream:
            table = csv.DictReader(stream)
            rows = [
                {name: _read_number(value) for name, value in row.items() if value} for row in table
            ]
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from error
    except (TypeError, ValueError, csv.Error) as error:
        raise InputError(f"{path}: no table of numbers ({error})") from error
    if missing := [name for name in needed if any(name not in row for row in rows)]:
        raise InputError(f"{path}: a row has no {' and no '.join(missing)}")
    return rows


def _read_number(text: str) -> float:
    """Raises ValueError for what is none, or none that a picture can show."""
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text} is no number of a run")
    return value


def _write(path: Path, rows: Sequence[Row]) -> None:
    """Rows may differ in what they hold: a round on all patients validates nothing."""
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, fieldnames=list(dict.fromkeys(chain.from_iterable(rows))))
    writer.writeheader()
    writer.writerows(rows)
    write_atomically(path, text.getvalue().encode("utf-8"))
