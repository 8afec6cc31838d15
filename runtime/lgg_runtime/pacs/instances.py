"""The records of images: a new one, one whose file was written again, one that comes again, and
one that was refused.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from typing import Any

from lgg_runtime.pacs.state import FAILED, RECEIVING, REFUSED, WORKING, State

REFUSED_DIGEST = ""  # in place of an image's: it was refused, and has not come since
_ADD_STUDY = "INSERT INTO study (id, state, last_at) VALUES (?, ?, ?) ON CONFLICT DO NOTHING"
# Three values: now, the state that stays as it is, and the one that any other becomes.
_GROWS = "generation = generation + 1, last_at = ?, state = CASE state WHEN ? THEN state ELSE ? END"


def _refusal_of(study: str, instance: str) -> str:
    """The id of a refusal's own record: another study may hold the image, or come to."""
    return f"{study} {instance}"


def record(state: State, study: str, instance: str, digest: str, file: bytes) -> None:
    """A new image: its study is received again, or once more after the work at hand. Another study
    to which it was refused goes on lacking it.

    digest: of its data set; file: what is on the disk.
    """
    now, written = time.time(), hashlib.sha256(file).hexdigest()
    with state.change() as run:
        run(_ADD_STUDY, (study, RECEIVING, now))
        run(
            "INSERT OR REPLACE INTO instance (id, study, digest, file, bytes) "
            "VALUES (?, ?, ?, ?, ?)",
            (instance, study, digest, written, len(file)),
        )
        run("DELETE FROM instance WHERE id = ?", (_refusal_of(study, instance),))
        run(
            f"UPDATE study SET {_GROWS}, purged = 0, reason = '' WHERE id = ?",
            (now, WORKING, RECEIVING, study),
        )


def record_refusal(state: State, study: str, instance: str) -> None:
    """An image that the node did not take: its study lacks it until it comes again.

    Changes nothing where the study has the image.
    """
    now = time.time()
    with state.change() as run:
        run(_ADD_STUDY, (study, RECEIVING, now))
        is_new = run(
            "INSERT INTO instance (id, study, digest, file, bytes, present) "
            "SELECT ?, ?, ?, '', 0, 0 WHERE NOT EXISTS "
            "(SELECT 1 FROM instance WHERE id = ? AND study = ?) ON CONFLICT DO NOTHING",
            (_refusal_of(study, instance), study, REFUSED_DIGEST, instance, study),
        ).rowcount
        if is_new:
            run(f"UPDATE study SET {_GROWS} WHERE id = ?", (now, WORKING, RECEIVING, study))


def record_anew(state: State, study: str, instance: str, file: bytes) -> None:
    """The file of a known image was written again: what was done without it is done again."""
    written = hashlib.sha256(file).hexdigest()
    with state.change() as run:
        run(
            "UPDATE instance SET present = 1, file = ?, bytes = ? WHERE id = ?",
            (written, len(file), instance),
        )
        run(
            "UPDATE study SET purged = 0, generation = generation + (state = ?) WHERE id = ?",
            (WORKING, study),
        )
        run(
            "UPDATE study SET state = ?, reason = '' WHERE id = ? AND state IN (?, ?)",
            (RECEIVING, study, REFUSED, FAILED),
        )


def count_lost(run: Callable[..., Any], study: str) -> int:
    """How many images of a study have no file any more."""
    query = "SELECT count(*) FROM instance WHERE study = ? AND NOT present AND digest != ?"
    return int(run(query, (study, REFUSED_DIGEST)).fetchone()[0])


def renew(state: State, study: str) -> bool:
    """Keep retention from a study that comes again; returns whether it is still on record."""
    return state.execute("UPDATE study SET last_at = ? WHERE id = ?", (time.time(), study)) == 1
