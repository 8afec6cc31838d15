"""What the node has done and has to do, out of its database: as JSON, and as lines for people."""

from __future__ import annotations

import math
import sqlite3
import statistics
import time
from typing import Any

from lgg_runtime.errors import ResourceError
from lgg_runtime.notice import RESEARCH_ONLY_LINE
from lgg_runtime.pacs.config import NodeConfig
from lgg_runtime.pacs.instances import REFUSED_DIGEST
from lgg_runtime.pacs.spool import DATABASE, NAME_DIGITS
from lgg_runtime.pacs.state import (
    BRING_BACK,
    DELIVERY_STATES,
    DONE,
    HELD,
    STATES,
    TROUBLES,
    State,
)
from lgg_runtime.plural import count

_RECENT = 200
_CONFLICTS = (
    "; of what came, {count} had the UID of a known image and other content, and sending that "
    "again does not help"
)


def read_status(state: State, config: NodeConfig) -> dict[str, Any]:
    """Studies by state, those in trouble and those whose result is to be looked at with care,
    deliveries by destination, throughput, times in s.

    Times are medians of the last 200 results and that of the slowest; of `sent` and `after_quiet`,
    of their deliveries. `after_quiet`: from the arrival of a study's last image to the
    acknowledgement by a destination, less the quiet time.
    Raises ResourceError for a database that cannot be read, or whose values somebody edited.
    """
    try:
        return _read(state, config)
    except TypeError as error:  # SQLite keeps whatever it is given
        raise ResourceError(
            f"{DATABASE}: holds a value of another kind than the node writes; {BRING_BACK}"
        ) from error


def _read(state: State, config: NodeConfig) -> dict[str, Any]:
    counts = dict.fromkeys(STATES, 0)
    for row in state.rows("SELECT state, count(*) AS n FROM study GROUP BY state"):
        counts[row["state"]] = row["n"]
    (totals,) = state.rows(
        # In one look: after a year there are millions, and metrics are asked for each minute.
        "SELECT coalesce(sum(digest != ?), 0) AS images, "
        "coalesce(sum(bytes * present), 0) AS bytes, "
        "(SELECT coalesce(sum(conflicts), 0) FROM study) AS conflicts FROM instance",
        (REFUSED_DIGEST,),
    )
    return {
        "studies": counts,
        "images": dict(totals),
        "troubles": _troubles(state),
        "cautions": _cautions(state),
        "destinations": {name: _destination(state, name) for name in _names(state, config)},
        "results": _throughput(state),
        "seconds": _seconds(state, config.study.quiet_seconds),
        "research_use_only": True,
    }


def _names(state: State, config: NodeConfig) -> list[str]:
    """Destinations of the settings, then those that are no longer there and have deliveries."""
    known = [one.name for one in config.destinations]
    rows = state.rows("SELECT DISTINCT destination FROM delivery ORDER BY destination")
    return [*known, *(row[0] for row in rows if row[0] not in known)]


def _troubles(state: State) -> list[dict[str, Any]]:
    rows = state.rows(
        "SELECT id, state, reason, conflicts FROM study WHERE state IN (?, ?, ?) "
        "ORDER BY last_at DESC",
        TROUBLES,
    )
    return [
        {"study": row["id"][:NAME_DIGITS], "state": row["state"], "reason": _reason(row)}
        for row in rows
    ]


def _cautions(state: State) -> list[dict[str, Any]]:
    """Of each result that is to be looked at with care, the study and why; the last one first."""
    rows = state.rows(
        "SELECT id, reason FROM study WHERE state = ? AND reason != '' ORDER BY ended_at DESC",
        (DONE,),
    )
    return [{"study": row["id"][:NAME_DIGITS], "reason": row["reason"]} for row in rows]


def _reason(study: sqlite3.Row) -> str:
    """Why a study is in trouble; of a held one also what sending again does not mend."""
    reason = str(study["reason"])
    if study["state"] == HELD and study["conflicts"]:
        reason += _CONFLICTS.format(count=study["conflicts"])
    return reason


def _destination(state: State, name: str) -> dict[str, Any]:
    found: dict[str, Any] = dict.fromkeys(DELIVERY_STATES, 0)
    query = "SELECT state, count(*) AS n FROM delivery WHERE destination = ? GROUP BY state"
    for row in state.rows(query, (name,)):
        found[row["state"]] = row["n"]
    reasons = state.rows(
        "SELECT reason FROM delivery WHERE destination = ? AND reason != '' "
        "ORDER BY next_at DESC LIMIT 1",
        (name,),
    )
    return found | {"last_failure": reasons[0]["reason"] if reasons else ""}


def _throughput(state: State) -> dict[str, int]:
    now = time.time()
    found = {}
    # What the clock has still to reach, it was ahead at: when that was, nobody can tell.
    spans = {
        "total": (0.0, math.inf),
        "last_hour": (now - 3600, now),
        "last_day": (now - 86400, now),
    }
    for name, span in spans.items():
        rows = state.rows("SELECT count(*) AS n FROM result WHERE made_at BETWEEN ? AND ?", span)
        found[name] = int(rows[0]["n"])
    return found


def _seconds(state: State, quiet: float) -> dict[str, dict[str, float]]:
    made = "SELECT * FROM result ORDER BY rowid DESC LIMIT ?"
    results = state.rows(made, (_RECENT,))
    sent = state.rows(
        f"SELECT last_at, made_at, sent_at FROM ({made}) AS made JOIN delivery "
        "ON delivery.result = made.id WHERE sent_at IS NOT NULL",
        (_RECENT,),
    )
    spans = {
        "queued": [r["started_at"] - r["ready_at"] for r in results],
        "made": [r["made_at"] - r["started_at"] for r in results],
        "sent": [r["sent_at"] - r["made_at"] for r in sent],
        "after_quiet": [r["sent_at"] - r["last_at"] - quiet for r in sent],
    }
    return {
        name: {"median": round(statistics.median(values), 3), "slowest": round(max(values), 3)}
        for name, values in spans.items()
        if values
    }


def describe_status(status: dict[str, Any]) -> str:
    """The lines of `lgg-node status`."""
    lines = ["studies     " + ", ".join(f"{n} {name}" for name, n in status["studies"].items())]
    images, results = status["images"], status["results"]
    lines.append(
        f"images      {images['images']}, {images['bytes'] / 2**20:.1f} MiB on the disk, "
        f"{images['conflicts']} conflicts"
    )
    lines.append(
        f"results     {results['total']}, {results['last_hour']} in the last hour, "
        f"{results['last_day']} in the last day"
    )
    for name, found in status["destinations"].items():
        counts = ", ".join(f"{found[state]} {state}" for state in DELIVERY_STATES)
        failure = f"; last failure: {found['last_failure']}" if found["last_failure"] else ""
        lines.append(f"to {name:<9}{counts}{failure}")
    for name, span in status["seconds"].items():
        lines.append(
            f"{name.replace('_', ' '):<12}{span['median']:.2f} s, slowest {span['slowest']:.2f} s"
        )
    if cautions := status["cautions"]:
        last = cautions[0]
        told = count(len(cautions), "study", "studies")
        lines.append(f"cautions    {told}, the last {last['study']}: {last['reason']}")
    for one in status["troubles"]:
        lines.append(f"{one['state']:<12}{one['study']}  {one['reason']}")
    lines.append(RESEARCH_ONLY_LINE)
    return "\n".join(lines)
