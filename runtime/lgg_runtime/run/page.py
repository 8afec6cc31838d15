"""A run's result as a page for a person, `report.html`: numbers of each patient, and the overlays
that lie beside it. It has no scripts, and asks no server for anything.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from html import escape
from itertools import chain, groupby
from pathlib import Path
from typing import Any
from urllib.parse import quote

from lgg_runtime.errors import printable
from lgg_runtime.notice import RESEARCH_ONLY_LINE
from lgg_runtime.plural import count
from lgg_runtime.readers.listing import RASTER, Listing, Study
from lgg_runtime.run.area_chart import draw_areas
from lgg_runtime.run.journal import REPORT_FILE, Journal, tool_versions
from lgg_runtime.run.ledger import in_words
from lgg_runtime.run.report import (
    describe_failure,
    describe_metrics,
    describe_warnings,
    measured_columns,
)
from lgg_runtime.run.summary import SummaryRow
from lgg_runtime.volume import describe_drop
from lgg_runtime.writers.atomic import write_atomically
from lgg_runtime.writers.formats import OUTPUTS, numbered

_STYLE = """
:root { color-scheme: light dark }
body { font: 15px/1.45 system-ui, sans-serif; max-width: 62em; margin: 0 auto; padding: 0 1em 3em }
.use, .warning { border-left: .3em solid #d98200; padding: .3em .8em; background: #d9820022 }
table { border-collapse: collapse } td, th { padding: .2em .8em; text-align: right }
td:first-child, th:first-child { text-align: left } td { border-top: 1px solid #8884 }
th { font-weight: 600; border-bottom: 2px solid #8888 } .wide { overflow-x: auto }
section { border-top: 1px solid #8888; margin-top: 2em } section, figure, tr { break-inside: avoid }
figure { display: inline-block; width: 13em; margin: .4em .8em .4em 0; vertical-align: top }
figure img { display: block; background: #000; width: 100% }
.first { display: flex; flex-wrap: wrap; gap: 0 1.5em; align-items: end }
.first figure { flex: 1 1 16em; margin-right: 0 } .first .chart { flex: 2 2 24em }
h2, p, li, dd, figcaption, td:first-child { overflow-wrap: anywhere }
td:first-child { min-width: 12em } figcaption { font-size: .85em }
svg { width: 100%; height: 12em; display: block } svg * { vector-effect: non-scaling-stroke }
rect { fill: #e0282f } .slice { fill: transparent } g:hover .slice { fill: #8884 }
.axes { fill: none; stroke: #8888 } .reference { stroke: #0a84d6; stroke-width: 2 }
dt { font-weight: 600; float: left; clear: left; width: 11em } dd { margin-left: 11.5em }
summary { cursor: pointer; break-after: avoid }
@media print { details::details-content { content-visibility: visible; block-size: auto } }
"""


def write_page(folder: Path, journal: Journal, listing: Listing, state: str) -> None:
    """Write it into the output folder, for a run that wrote overlays.

    listing: of the run's input; state: as `run.json` has it. Raises ResourceError where the disk
    refuses.
    """
    pieces = encode_page(journal, listing, state)
    write_atomically(folder / REPORT_FILE, (piece.encode("utf-8") for piece in pieces))


def encode_page(journal: Journal, listing: Listing, state: str) -> Iterator[str]:
    """The page in pieces, a patient each: of thousands the whole is not held in memory."""
    yield (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width"><title>lgg-edge report</title>'
        f"<style>{_STYLE}</style></head><body><main>\n<h1>lgg-edge: tumour in MRI slices</h1>"
        f'<p class="use"><strong>{RESEARCH_ONLY_LINE}</strong></p>\n'
    )
    yield from _overview(journal, state)
    yield from _sections(journal, listing)
    yield from _failures(journal)
    yield _details(journal)
    yield "</main></body></html>\n"


def _overview(journal: Journal, state: str) -> Iterator[str]:
    patients = journal.patients
    found = sum(row.tumour_present for row in patients)
    reference = "; blue: the reference" if journal.metrics is not None else ""
    yield (
        f"<p>{count(len(patients), 'patient')}, {found} with a finding; model "
        f"{_text(journal.model['name'])} in {_text(journal.model['precision'])}, threshold "
        f"{journal.model['threshold']}. Red: what the model marks as FLAIR abnormality"
        f"{reference}.</p>\n"
    )
    if state != "complete":
        yield f'<p class="warning">This run is not complete: {_text(state)}.</p>\n'
    for warning in describe_warnings(journal):
        yield f'<p class="warning">{_text(warning)}</p>\n'
    if journal.failures:
        failed = count(len(journal.failures), "input")
        yield f'<p class="warning">{failed} <a href="#failed">could not be used</a>.</p>\n'
    if journal.metrics is not None:
        yield f"<p>{'<br>'.join(map(_text, describe_metrics(journal.metrics)))}</p>\n"
    if not patients:
        return
    named = enumerate((row.patient for row in patients), 1)
    columns = {
        "patient": [f'<a href="#p{number}">{_text(name)}</a>' for number, name in named],
        "finding": [_finding(row) for row in patients],
        **measured_columns(journal),
    }
    if journal.doubts:
        columns["doubts"] = ["yes" if row.patient in journal.doubts else "" for row in patients]
    yield '<div class="wide"><table><thead><tr>'  # a head, which is printed on every sheet
    yield "".join(f"<th>{name}</th>" for name in columns) + "</tr></thead>\n"
    for cells in zip(*columns.values(), strict=True):
        yield "<tr>" + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>\n"
    yield "</table></div>\n"


def _sections(journal: Journal, listing: Listing) -> Iterator[str]:
    studies = {study.name: study for study in listing.studies}
    noted = {record.name: record.notes for record in journal.inputs if record.notes}
    grouped = groupby(journal.rows, lambda row: row.patient)
    for number, (name, rows) in enumerate(grouped, 1):
        *slices, patient = rows
        if patient.level != "patient":  # a run that ended here recorded a part of its rows
            return
        study, notes = studies[name], []
        if doubts := journal.doubts.get(name):
            notes.append(f"unlike the training data: {doubts}")
        inputs = map(listing.relative, study.files) if study.kind == RASTER else (name,)
        counted = Counter(chain.from_iterable(noted.get(each, ()) for each in inputs))
        notes += [note if n == 1 else f"{note} ({n} slices)" for note, n in counted.items()]
        yield _section(number, study, slices, patient, notes)


def _section(
    number: int,
    study: Study,
    slices: Sequence[SummaryRow],
    patient: SummaryRow,
    notes: Sequence[str],
) -> str:
    """One patient: a chart of all slices, the slice to look at first, all whose tumour was missed,
    and the others that are marked.
    """
    figures = [_figure(row, _overlay(study, row, n)) for n, row in enumerate(slices, 1)]
    # Without tumour, where it came nearest to a finding.
    first = max(range(len(slices)), key=lambda n: (slices[n].area_px, slices[n].max_probability))
    marked = [figures[n] for n, row in enumerate(slices) if row.tumour_present and n != first]
    missed = [figures[n] for n, row in enumerate(slices) if row.reference_px and not row.area_px]
    chart, top = draw_areas(slices)
    lines = [
        f'<section id="p{number}"><h2>{_text(study.name)}: {_finding(patient)}</h2>',
        f"<p>{_numbers(slices, patient)}</p>",
        f"<ul>{''.join(f'<li>{_text(note)}</li>' for note in notes)}</ul>" if notes else "",
        f'<div class="first">{figures[first]}<figure class="chart">{chart}<figcaption>Area by '
        f"slice, first to last; the height is {count(top, 'pixel')}</figcaption></figure></div>",
        *_folded(f"{count(len(missed), 'slice')} unmarked, with tumour in the reference", missed),
        *_folded(f"{count(len(marked), 'further slice')} marked", marked),
    ]
    return "\n".join(lines) + "</section>\n"


def _folded(summary: str, figures: Sequence[str]) -> list[str]:
    """What opens at a click; nothing where there are none."""
    if not figures:
        return []
    return [f"<details><summary>{summary}</summary>", *figures, "</details>"]


def _overlay(study: Study, row: SummaryRow, number: int) -> Path:
    """Where a slice's overlay lies below the output folder; number: of the slice in its volume."""
    end, _ = OUTPUTS["overlay"]
    if study.kind == RASTER:
        return study.folder / (row.name + end)
    return study.scan_output(numbered(number, end))


def _numbers(slices: Sequence[SummaryRow], patient: SummaryRow) -> str:
    marked = sum(row.tumour_present for row in slices)
    parts = [
        f"{marked} of {count(len(slices), 'slice')} marked",
        f"{count(patient.area_px, 'pixel')}, the largest component {patient.largest_component_px}",
        f"volume {patient.volume_ml:.2f} mL" if patient.volume_ml is not None else "",
        f"highest probability {patient.max_probability:.2f}",
    ]
    if patient.drops_much:
        dropped = describe_drop(patient.dropped_fraction or 0.0, patient.tumour_present)
        parts.append(f"dropped by the clean-up: {dropped}")
    if (counts := patient.counts) is not None:
        parts.append(
            f"Dice {counts.dice:.4f}, recall {counts.recall:.4f}, precision {counts.precision:.4f}"
        )
    return "; ".join(filter(None, parts))


def _figure(row: SummaryRow, picture: Path) -> str:
    name = _text(row.name)
    dice = f", Dice {row.counts.dice:.4f}" if row.counts is not None else ""
    # Pixels of a picture need not be square: a scan's are as they are stored.
    shape = f' style="aspect-ratio: {row.aspect:.4g}"' if row.aspect is not None else ""
    return (
        f'<figure><a href="{_link(picture)}"><img src="{_link(picture)}" loading="lazy" '
        f'alt="Overlay of {name}"{shape}></a>'
        f"<figcaption>{name}: {count(row.area_px, 'pixel')}{dice}</figcaption></figure>"
    )


def _failures(journal: Journal) -> Iterator[str]:
    if not journal.failures:
        return
    yield '<section id="failed"><h2>Could not be used</h2><ul>\n'
    for record in journal.failures:
        yield f"<li>{_text(describe_failure(record))}</li>\n"
    yield "</ul></section>\n"


def _details(journal: Journal) -> str:
    told = ("name", "precision", "sha256", "threshold", "first_look")
    model = {name: journal.model[name] for name in told}
    shown = {
        "model": model,
        "provider": journal.provider,
        "settings": journal.settings,
        "versions": tool_versions() | journal.versions,
        "seconds": {name: round(value, 2) for name, value in journal.seconds.items()},
    }
    items = (f"<dt>{name}</dt><dd>{_text(_listed(value))}</dd>" for name, value in shown.items())
    return f"<section><h2>How it was made</h2><dl>{''.join(items)}</dl></section>\n"


def _listed(values: dict[str, Any]) -> str:
    known = {name: value for name, value in values.items() if value not in (None, "")}
    return ", ".join(f"{name} {in_words(value)}" for name, value in known.items())


def _finding(row: SummaryRow) -> str:
    return "tumour" if row.tumour_present else "none"


def _text(text: str) -> str:
    return escape(printable(text))


def _link(path: Path) -> str:
    """Relative to the page; a name need not be text."""
    return quote(os.fsencode(path.as_posix()))
