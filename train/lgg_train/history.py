"""The numbers of a run over time: `history.csv`, and TensorBoard's events where asked for."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

from lgg_runtime.writers.atomic import write_atomically
from lgg_train.extras import needs_extra


class History:
    """Rows of numbers over the run, as CSV and, when asked, for TensorBoard."""

    def __init__(self, folder: Path, rows: list[dict[str, float]], tensorboard: bool):
        self.rows = list(rows)
        self._path = folder / "history.csv"
        self._board: Any = None
        if tensorboard:
            with needs_extra("tensorboard"):
                from torch.utils.tensorboard import SummaryWriter

            self._board = SummaryWriter(str(folder / "tensorboard"))

    def add(
        self, step: int, seconds: float, loss: float, rate: float, scores: dict[str, float]
    ) -> None:
        row = {
            "step": step,
            "minutes": round(seconds / 60, 2),
            "loss": loss,
            "rate": rate,
            **scores,
        }
        self.rows.append(row)
        text = io.StringIO(newline="")
        writer = csv.DictWriter(text, fieldnames=list(row))
        writer.writeheader()
        writer.writerows(self.rows)
        write_atomically(self._path, text.getvalue().encode("utf-8"))
        if self._board is not None:
            for name, value in row.items():
                self._board.add_scalar(name, value, step)

    def close(self) -> None:
        if self._board is not None:
            self._board.close()
