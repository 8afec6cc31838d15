"""The performance page's picture, as PNG."""

from __future__ import annotations

import textwrap

from matplotlib.figure import Figure

from lgg_bench.machine import computes_bf16
from lgg_bench.record import Record
from lgg_bench.throughput import label_subject
from lgg_runtime.notice import RESEARCH_ONLY
from lgg_runtime.plural import count
from lgg_train.png import encode_png

_OURS, _OTHERS = "tab:blue", "tab:grey"


def draw_throughput(record: Record) -> bytes:
    """A bar for each subject, the slowest on top: slices a second, and times the notebook's."""
    results = record.results
    rows = sorted(results["rows"], key=lambda row: -row["slices_per_second"]["median"])
    figure = Figure(figsize=(9, 0.9 + 0.55 * len(rows)), layout="constrained")
    axes = figure.subplots()
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
    axes.set_title(entitle_throughput(record), fontsize=10, loc="left")
    axes.spines[["top", "right"]].set_visible(False)
    figure.text(0.995, 0.998, RESEARCH_ONLY, ha="right", va="top", fontsize=6, color="grey")
    return encode_png(figure)


def entitle_throughput(record: Record) -> str:
    """What the picture shows, on which processor, and what its colours mean."""
    machine = record.machine
    cores = count(min(record.settings["threads"], machine["cores"]), "CPU core")
    defaults = " (OpenVINO's defaults compute in bf16)" if computes_bf16(machine) else ""
    return (
        f"{record.results['slices']} MRI slices to masks on {cores} ({machine['cpu']})\n"
        f"blue: lgg-infer; grey: the standard network without it{defaults}\n"
        "black lines: quartiles"
    )
