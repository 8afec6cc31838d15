"""A run's result as lines for a person."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lgg_runtime.errors import printable
from lgg_runtime.metrics import describe_dice, describe_pooled
from lgg_runtime.notice import RESEARCH_ONLY_LINE
from lgg_runtime.plural import count
from lgg_runtime.readers.listing import COPY_LINKS, is_mask_name
from lgg_runtime.readers.raster import SUFFIXES
from lgg_runtime.readers.sequences import UNSIZED
from lgg_runtime.readers.study import MISSING
from lgg_runtime.redact import without_uids
from lgg_runtime.run.journal import REPORT_FILE, RUN_FILE, SUMMARY_FILE, InputRecord, Journal
from lgg_runtime.table import format_table
from lgg_runtime.volume import LARGE_DROPPED

_MOST_ROWS = 40


def describe_run(
    journal: Journal, output: Path, has_page: bool = False, columns: int | None = None
) -> str:
    """A table of the patients, the metrics where the run was evaluated, and where to look.

    has_page: whether the run wrote a page as well; columns: of the terminal that shows it, where
    long names are cut to fit.
    """
    slices, with_tumour = _count_slices(journal)
    lines = [_table(journal, slices, with_tumour, columns)] if journal.patients else []
    if journal.metrics is not None:
        lines += describe_metrics(journal.metrics)
    provider = journal.provider
    ran, device = provider["ran"], provider["device"]
    names = (Path(record.name) for record in journal.failures)
    masks = sum(is_mask_name(name) and name.suffix.lower() in SUFFIXES for name in names)
    unusable = f", {count(masks, 'reference mask')} unusable" if masks else ""
    where = ran if device.lower() == ran else f"{ran} ({device})"
    lines.append(
        f"{count(slices.total(), 'slice')} on {where} in {journal.seconds['total']:.1f} s, "
        f"{len(journal.failures) - masks} failed{unusable}; model {journal.model['name']} in "
        f"{journal.model['precision']}, threshold {journal.model['threshold']}"
    )
    if look := journal.model.get("first_look"):
        left_out = count(look["left_out"], "slice")
        lines.append(f"First look {look['name']} in {look['precision']} left {left_out} out.")
    lines += [f"Warning: {warning}" for warning in describe_warnings(journal)]
    if journal.resumed:
        studies = count(journal.resumed, "study", "studies")
        lines.append(f"Taken over unchanged from the earlier run: {studies}.")
    page = f"; look at {REPORT_FILE} first" if has_page else ""
    lines.append(f"Results: {printable(str(output))}  ({SUMMARY_FILE}, {RUN_FILE}{page})")
    lines.append(RESEARCH_ONLY_LINE)
    return "\n".join(lines)


def describe_warnings(journal: Journal) -> list[str]:
    """What may be wrong with results that were written all the same, a line each."""
    lines = []
    if journal.doubts:  # the check that says so may err
        names = _list_few([printable(name) for name in journal.doubts])
        lines.append(f"{names}: unlike the training data; see doubts in summary.csv")
    if journal.links:
        told = f"symbolic links in the input, not followed: {journal.links}"
        lines.append(f"{told}; {COPY_LINKS}, or what they lead to")
    lines += [f"{notice}; see passed_over in {RUN_FILE}" for notice in journal.notices]
    gaps = [
        without_uids(record.name)
        for record in journal.inputs
        if any(note.startswith(MISSING) for note in record.notes)
    ]
    if unsized := [
        without_uids(record.name) for record in journal.inputs if UNSIZED in record.notes
    ]:
        lines.append(f"{_list_few(unsized)}: {UNSIZED}; mm, mL and sides may be wrong")
    if dropped := [printable(row.patient) for row in journal.patients if row.drops_much]:
        lines.append(
            f"{_list_few(dropped)}: the clean-up dropped all, or a region of {LARGE_DROPPED:g} "
            "times the largest one's size or more, which may be tumour; --save-heatmap shows it"
        )
    wide = dict.fromkeys(
        printable(row.patient)
        for row in journal.rows
        if row.level == "slice" and row.is_mostly_reference
    )
    if wide:
        lines.append(
            f"{_list_few([*wide])}: a reference mask covers more than half of its slice; expected "
            "black where there is no tumour"
        )
    if journal.metrics is not None and not journal.metrics["pooled"]["support"]["tumour"]:
        lines.append(
            "the reference masks hold no tumour; the scores tell nothing of tumour found or missed"
        )
    if gaps:
        lines.append(f"slices are missing before {_list_few(gaps)}; see run.json")
    if journal.stale:
        files = count(len(journal.stale), "file")
        lines.append(f"{files} left by an earlier run beside these results; see stale in run.json")
    return lines


def measured_columns(journal: Journal) -> dict[str, list[str]]:
    """What tables tell of each patient's finding, by column; without what is known of none."""
    patients = journal.patients
    columns = {
        "area px": [str(row.area_px) for row in patients],
        "largest px": [str(row.largest_component_px) for row in patients],
        "max p": [f"{row.max_probability:.2f}" for row in patients],
    }
    if any(row.volume_ml is not None for row in patients):
        volumes = [row.volume_ml for row in patients]
        columns["mL"] = ["" if volume is None else f"{volume:.2f}" for volume in volumes]
    if journal.metrics is not None:
        scores = [row.counts for row in patients]
        columns["Dice"] = ["" if counts is None else f"{counts.dice:.4f}" for counts in scores]
    return columns


def describe_metrics(metrics: dict[str, Any]) -> list[str]:
    """The scores of a run that was evaluated, as `run.json` has them, in a few lines."""
    return [
        describe_dice(metrics["per_patient_dice"]),
        describe_pooled(metrics["pooled"]),
        *_partly(metrics["partly_scored"]),
    ]


def describe_failure(record: InputRecord) -> str:
    """The reason, `NAME: why`, with the name's folder: 1.tif stands in many of them."""
    folder, _, name = record.name.rpartition("/")
    known = folder and record.reason.startswith(f"{printable(name)}: ")
    return f"{without_uids(folder)}/{record.reason}" if known else record.reason


def describe_notes(record: InputRecord) -> str:
    """What was recorded of an input that has notes, `NAME: note; note`."""
    return f"{without_uids(record.name)}: {'; '.join(record.notes)}"


def _count_slices(journal: Journal) -> tuple[Counter[str], Counter[str]]:
    """Slices by patient, and those with tumour."""
    slices: Counter[str] = Counter()
    with_tumour: Counter[str] = Counter()
    for row in journal.rows:
        if row.level == "slice":
            slices[row.patient] += 1
            with_tumour[row.patient] += row.tumour_present
    return slices, with_tumour


def _table(
    journal: Journal, slices: Counter[str], with_tumour: Counter[str], most: int | None
) -> str:
    names = [row.patient for row in journal.patients]
    columns = {
        "patient": [printable(name) for name in names],
        "slices": [str(slices[name]) for name in names],
        "with tumour": [str(with_tumour[name]) for name in names],
        **measured_columns(journal),
    }
    rows = list(zip(*columns.values(), strict=True))
    table = format_table(list(columns), rows[:_MOST_ROWS], most)
    left = len(rows) - _MOST_ROWS
    return table + (f"\n... and {left} more in summary.csv" if left > 0 else "")


def _partly(partly: dict[str, dict[str, int]]) -> list[str]:
    """A line on the patients whose scores are of some of their slices alone."""
    if not partly:
        return []
    named = [
        f"{printable(name)} {part['scored']} of {part['slices']}" for name, part in partly.items()
    ]
    return [f"Only slices with a mask are scored: {_list_few(named)}"]


def _list_few(names: Sequence[str]) -> str:
    """The first five, and how many more there are."""
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return ", ".join(names[:5]) + more
