"""docs/failures.md from the catalogue: `python -m catalogue.document` prints it."""

from __future__ import annotations

import re
import sys
from collections import Counter

from catalogue import SECTIONS
from catalogue.row import INFER, Row, Section
from catalogue.training import BRIEF

HEAD = """# What goes wrong, and what you get

Every row below is a test: its input is made by code, the real command is run on it, and exit code,
message and what is preserved are compared. `make failures` writes this page from those tests, and
a test fails when the two differ. {rows} rows.

**The rule.** One bad input never spoils the others. It gets one line on standard error, `NAME:
reason`, and a row with the same words in `run.json`; nothing is written for it; the others go on;
the command ends with 3, or with 4 where nothing at all was usable. An input is read whole or not at
all: there is no mask of half a picture, and no scan with a slice less. Where one of a patient's
pictures fails or is missing, the others are done, and those beside it are taken as neighbours,
which is told. Inputs are never changed. No message repeats a header's name, number, date or UID;
files and folders are called by their own names, so name them by no patient.

**What is refused before any work.** An output that cannot be written (7), that another run writes
to, or in which two inputs would share a name (8); a model that is not what it is said to be (5); a
provider that cannot run here (6): it is never replaced by another in silence.

**What stays whatever happens.** A file appears whole or not at all: it is written under a temporary
name, flushed to disk and renamed. A kill or a loss of power may leave such a file, `NAME.part`: it
is no result, a resumed run replaces it, and else it may be deleted. `run.json` says `complete` at
the end alone; a run that was killed leaves `running`, one that was stopped leaves the reason. Masks
that are listed as done are on the disk.

| exit code | meaning |
| --- | --- |
| 0 | all done |
| 2 | an option, or a combination of options, is impossible |
| 3 | some inputs failed, the others are done; of training and export: data or a run are refused |
| 4 | no usable input; of `lgg-node status`, `retry`, `forget`: no node has run there yet |
| 5 | the model is refused |
| 6 | the provider, or a package that it needs, is not available |
| 7 | disk or memory is exhausted, or the output cannot be written |
| 8 | the output is in use or of another run, or two inputs would share one |
| 9 | an artifact differs from its PyTorch model and is not written |
| 130, 143 | ended by Ctrl-C, by SIGTERM or SIGHUP; a second one does not cut off what is recorded |
| 1 | anything else: a loss that is no number any more |

In the tables, `in` is the input and `out` the output of `lgg-infer in -o out`; where another
command is meant, it is named. Where the code is 0 the words are those that `run.json` notes. Words
in braces stand for what varies. What the DICOM node answers to a peer is in
[conformance.md](conformance.md). Research use only, not for diagnosis.
"""

COLUMNS = "| input | exit | message | preserved |\n| --- | --- | --- | --- |"
_LONG_RUN = re.compile(r"(.)\1{30,}")


def write_document() -> str:
    total = sum(len(section.rows) for section in SECTIONS)
    parts = [HEAD.format(rows=total)]
    parts += [_describe_section(section) for section in SECTIONS]
    return "\n".join(parts)


def _describe_section(section: Section) -> str:
    """The promise that most rows share is stated once above the table."""
    usual = Counter(row.keeps.words for row in section.rows).most_common(1)[0][0]
    lines = [f"## {section.title}", "", section.intro, "", f"Preserved, where a row says nothing "
             f"else: {usual[0].lower()}{usual[1:]}", "", COLUMNS]  # fmt: skip
    lines += [_describe_row(row, usual) for row in section.rows]
    return "\n".join(lines) + "\n"


def _describe_row(row: Row, usual: str) -> str:
    what = row.what if row.command == INFER else f"{row.what} {_code(_shown(row.command))}"
    said = "; ".join(row.notes) if row.code == 0 else row.says.split("\n\n")[-1]
    kept = "" if row.keeps.words == usual else row.keeps.words
    return f"| {what} | {row.code} | {_code(said)} | {kept} |"


def _shown(command: tuple[str, ...]) -> str:
    text = " ".join(command)
    return text.replace(" ".join(BRIEF), "...")


def _code(text: str) -> str:
    """As code in a table's cell; long runs of one letter are shortened."""
    if not text:
        return ""
    short = _LONG_RUN.sub(lambda found: f"{found[1] * 3}...", " ".join(text.split()))
    return f"`{short.replace('|', chr(92) + '|')}`"


if __name__ == "__main__":
    sys.stdout.write(write_document())
