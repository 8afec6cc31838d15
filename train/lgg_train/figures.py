"""Pictures of a run: curves over time, precision and recall over thresholds, panels."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties, findfont, get_font

from lgg_runtime.errors import printable
from lgg_runtime.notice import RESEARCH_ONLY
from lgg_runtime.volume import FLAIR
from lgg_runtime.writers.atomic import write_atomically
from lgg_train.decision import Decision
from lgg_train.png import encode_png
from lgg_train.prediction import Prediction

_PANELS = 6


def draw_curves(history: Sequence[dict[str, float]], path: Path) -> None:
    """Training loss on the left axis, validation Dice on the right one, over minutes."""
    figure = Figure(figsize=(7, 4), layout="constrained")
    loss = figure.subplots()
    minutes = [row["minutes"] for row in history]
    loss.plot(minutes, [row["loss"] for row in history], color="tab:grey", marker=".", label="loss")
    loss.set_xlabel("training time [min]")
    loss.set_ylabel("training loss (BCE + Dice)")
    dice = loss.twinx()
    for name, colour in (("mean", "tab:red"), ("median", "tab:orange")):
        values = [row[f"dice_{name}"] for row in history]
        dice.plot(minutes, values, color=colour, marker="o", label=name)
    dice.set_ylim(0, 1)
    dice.set_ylabel("validation Dice by patient")
    # Above the axes: a loss ends at the lower right and a Dice at the upper right.
    figure.legend(loc="outside upper center", ncols=3)
    _save(figure, path)


def draw_precision_recall(record: dict[str, Any], title: str, path: Path) -> None:
    """Precision, recall and F1 of pooled pixels over the threshold, with the chosen one marked."""
    curve = record["precision_recall"]
    threshold = [row["threshold"] for row in curve]
    precision = np.array([row["precision"] for row in curve])
    recall = np.array([row["recall"] for row in curve])
    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    axes.plot(threshold, precision, label="precision")
    axes.plot(threshold, recall, label="recall")
    total = np.maximum(precision + recall, 1e-9)
    axes.plot(threshold, 2 * precision * recall / total, label="F1", color="black")
    chosen = record["decision"]["threshold"]
    axes.axvline(chosen, color="tab:red", linestyle="--", label=f"chosen: {chosen:g}")
    axes.set(xlabel="threshold", ylim=(0, 1), title=f"{title}, pooled pixels before clean-up")
    axes.legend(loc="lower center")
    _save(figure, path)


def draw_panels(predictions: Sequence[Prediction], decision: Decision, path: Path) -> None:
    """MRI | truth | heatmap, a row a patient, at the slice with its largest reference tumour (where
    it has none, with its largest mask): the five patients of the lowest Dice, lowest first, and the
    one of the highest.
    """
    chosen = choose_panels(predictions, decision)
    figure = Figure(figsize=(8, 2.7 * len(chosen)), layout="constrained")
    grid = figure.subplots(len(chosen), 3, squeeze=False)
    for row, (p, dice, index) in zip(grid, chosen, strict=True):
        flair = p.slices[index][..., FLAIR]
        mask = decision.apply(p.probability)[index]
        for axes in row:
            axes.imshow(flair, cmap="gray", vmin=0, vmax=255)
            axes.axis("off")
        title = f"{_drawable(p.patient)}: Dice {dice:.2f}; slice {index + 1}"
        # From the left on: a long name has room over the other two pictures.
        row[0].set_title(title, loc="left", fontsize=8, parse_math=False)
        if p.truth[index].any():
            row[1].contour(p.truth[index], [0.5], colors="lime", linewidths=1)
        heat = np.ma.masked_less(p.probability[index], 0.05)
        row[2].imshow(heat, cmap="inferno", vmin=0, vmax=1, alpha=0.7)
        if mask.any():
            row[2].contour(mask, [0.5], colors="red", linewidths=1)
    for axes, name in zip(grid[0], ("FLAIR", "truth", "probability, mask in red"), strict=True):
        axes.text(0.5, 1.14, name, transform=axes.transAxes, ha="center", weight="bold")
    _save(figure, path)


def _drawable(name: str) -> str:
    """The name with what the pictures' font lacks escaped, as `printable` does with what breaks a
    terminal.
    """
    font = get_font(findfont(FontProperties()))
    return "".join(
        each if font.get_char_index(ord(each)) else each.encode("unicode_escape").decode()
        for each in printable(name)
    )


def choose_panels(
    predictions: Sequence[Prediction], decision: Decision
) -> list[tuple[Prediction, float, npt.NDArray[np.intp]]]:
    """The patients of the lowest Dice and the one of the highest, lowest first: each with its Dice
    and its slice of the largest reference tumour; where it has none, of the largest mask.
    """
    scored = sorted(((p, p.counts(decision).dice) for p in predictions), key=lambda pair: pair[1])
    chosen = scored if len(scored) <= _PANELS else [*scored[: _PANELS - 1], scored[-1]]
    return [(p, dice, _largest_slice(p, decision)) for p, dice in chosen]


def _largest_slice(p: Prediction, decision: Decision) -> npt.NDArray[np.intp]:
    used = np.array(p.used)
    shown = p.truth if p.truth[used].any() else decision.apply(p.probability)
    largest: npt.NDArray[np.intp] = used[np.argmax(shown[used].sum(axis=(1, 2)))]
    return largest


def _save(figure: Any, path: Path) -> None:
    below = 0.14 / figure.get_figheight()  # inches for the line below the pictures
    figure.get_layout_engine().set(rect=(0, below, 1, 1 - below))
    figure.text(0.995, 0.002, RESEARCH_ONLY, ha="right", va="bottom", fontsize=6, color="grey")
    write_atomically(path, encode_png(figure))
