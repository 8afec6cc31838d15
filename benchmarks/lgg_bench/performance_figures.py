"""The performance page's picture, as PNG."""

from __future__ import annotations

import textwrap

from lgg_bench.figure import plt, save_png
from lgg_bench.record import Record
from lgg_bench.throughput import label_subject
from lgg_runtime.notice import RESEARCH_ONLY
from lgg_runtime.plural import count

_OURS, _OTHERS = "tab:blue", "tab:grey"


def draw_throughput(record: Record) -> bytes:
    """A bar for each subject, the slowest on top: slices a second, and times the notebook's."""
    results, settings = record.results, record.settings
    rows = sorted(results["rows"], key=lambda row: -row["slices_per_second"]["median"])
    figure, axes = plt.subplots(figsize=(9, 0.9 + 0.55 * len(rows)), layout="constrained")
    for place, row in enumerate(rows):
        rate = row["slices_per_second"]
        colour = _OTHERS if row["engine_busy"] is None else _OURS
        axes.barh(place, rate["median"], color=colour)
        axes.plot((rate["low"], rate["high"]), (place, place), color="black", linewidth=2)
        times = row["times_notebook"]
        said = "" if times is None else f", {times['median']:.1f} x the notebook"
        text = f" {rate['median']:.3g}{said}"
        axes.text(max(rate["median"], rate["high"]), place, text, va="center", fontsize=9)
    names = [textwrap.fill(label_subject(row["subject"], results), 34) for row in rows]
    axes.set_yticks(range(len(rows)), names, fontsize=9)
    fastest = rows[0]["slices_per_second"]["median"]
    axes.set_xlim(0, 1.5 * fastest)
    axes.set_xlabel("slices a second, from the command's start to its last file (more is better)")
    cores = min(settings["threads"], record.machine["cores"])
    axes.set_title(
        f"{results['slices']} MRI slices to masks on {count(cores, 'CPU core')} "
        f"({record.machine['cpu']})\nblue: lgg-infer; grey: the standard network without it "
        "(OpenVINO's defaults compute in bf16)\nblack lines: quartiles",
        fontsize=10, loc="left",
    )  # fmt: skip
    axes.spines[["top", "right"]].set_visible(False)
    figure.text(0.995, 0.998, RESEARCH_ONLY, ha="right", va="top", fontsize=6, color="grey")
    return save_png(figure)
