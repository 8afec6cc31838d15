"""The accuracy page's pictures, as PNG."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from lgg_bench.run_record import RunRecord
from lgg_runtime.notice import RESEARCH_ONLY
from lgg_train.png import encode_png

# Of Okabe and Ito, in an order in which no two look alike to eyes that lack red or green.
COLOURS = ("#0072B2", "#E69F00", "black", "#56B4E9", "#CC79A7")


def draw_patients(records: Sequence[RunRecord]) -> bytes:
    """Dice of each test patient, from the worst to the best of the first run."""
    figure = Figure(figsize=(8, 4), layout="constrained")
    axes = figure.subplots()
    first = records[0].scores["test"]["per_patient_dice"]["by_patient"]
    order = sorted(first, key=first.__getitem__)
    for record, colour in zip(records, itertools.cycle(COLOURS), strict=False):
        dice = record.scores["test"]["per_patient_dice"]
        values = [dice["by_patient"][name] for name in order]
        axes.plot(range(1, len(order) + 1), values, "o", color=colour, label=record.label)
        axes.axhline(dice["mean"], color=colour, linestyle="--", linewidth=1)
    axes.set_xticks(range(1, len(order) + 1))
    return _png_of_dice(figure, f"test patients in the order of {records[0].name}, worst first")


def draw_folds(folds: dict[str, dict[str, Any]]) -> bytes:
    """Dice of every patient of a cross-validation, each by a model that never saw it, sorted."""
    figure = Figure(figsize=(8, 4), layout="constrained")
    axes = figure.subplots()
    for (name, record), colour in zip(folds.items(), itertools.cycle(COLOURS), strict=False):
        dice = record["per_patient_dice"]
        values = sorted(dice["by_patient"].values())
        axes.plot(range(1, len(values) + 1), values, ".", color=colour, label=name)
        axes.axhline(dice["mean"], color=colour, linestyle="--", linewidth=1)
    return _png_of_dice(figure, "patients, for each recipe from its worst on")


def draw_calibration(records: Sequence[RunRecord]) -> bytes:
    """Fraction of tumour against probability, over the head pixels of the test patients."""
    figure = Figure(figsize=(5, 4.5), layout="constrained")
    axes = figure.subplots()
    axes.plot((0, 1), (0, 1), color="grey", linewidth=1, label="perfect")
    for record, colour in zip(records, itertools.cycle(COLOURS), strict=False):
        found = record.scores["test"]["assessment"]["calibration"]
        points = np.array([(row["probability"], row["tumour"]) for row in found["bins"]])
        label = f"{record.name}, calibration error {found['expected_error']:.4f}"
        axes.plot(points[:, 0], points[:, 1], "o-", color=colour, label=label)
    axes.set(xlabel="probability that the model gives", ylabel="fraction that is tumour")
    axes.legend(loc="upper left")
    return _png(figure)


def draw_curves(records: Sequence[RunRecord]) -> bytes:
    """Mean Dice of the validation part over all rounds' steps, at a threshold of 0.5."""
    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    for record, colour in zip(records, itertools.cycle(COLOURS), strict=False):
        rows = [row for rows in record.rounds for row in rows]
        steps = [row["step"] / 1000 for row in rows]
        label = f"{record.label}, {rows[-1]['minutes']:.0f} minutes"
        for name, style, what in (("dice_mean_largest", "o-", label), ("dice_mean", ".:", None)):
            axes.plot(steps, [row[name] for row in rows], style, color=colour, label=what)
        for rows in record.rounds[:-1]:
            axes.axvline(rows[-1]["step"] / 1000, color=colour, linewidth=0.5)
    axes.set(xlabel="training steps [1000]", ylabel="validation: mean Dice by patient")
    axes.set_ylim(0.7, 0.92)
    handles, _ = axes.get_legend_handles_labels()
    cleaned = Line2D([], [], color="grey", label="the largest component alone, at 0.5")
    plain = Line2D([], [], color="grey", linestyle=":", label="without clean-up")
    ended = Line2D([], [], color="grey", linewidth=0.5, label="end of a round")
    axes.legend(handles=[*handles, cleaned, plain, ended], loc="lower right")
    return _png(figure)


def _png_of_dice(figure: Figure, patients: str) -> bytes:
    """patients: which ones, and in which order they stand."""
    (axes,) = figure.axes
    axes.set(xlabel=patients, ylabel="Dice of the patient's volume", ylim=(0, 1))
    axes.legend(loc="lower right", title="dashed: mean")
    return _png(figure)


def _png(figure: Figure) -> bytes:
    figure.axes[0].set_title(RESEARCH_ONLY, loc="right", fontsize=7, color="grey")
    return encode_png(figure)
