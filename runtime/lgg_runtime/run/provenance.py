"""What a run records of its model, provider and settings, and what a resumed one must share."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from lgg_runtime.first_look import LEAST_SIGN
from lgg_runtime.readers.dicom_series import SeriesChoice
from lgg_runtime.redact import without_uids
from lgg_runtime.run.journal import Journal, tool_versions
from lgg_runtime.run.request import Request
from lgg_runtime.segmenter import Segmenter


def settings_of(request: Request, batch: int) -> dict[str, Any]:
    """The input, the model, and what else of a request decides its results; batch: that really
    runs.
    """
    load = request.load
    return {
        "input": request.recorded,
        "model": request.model,
        "batch": batch,
        "provider": load.provider,
        "threads": load.threads,
        "threshold": load.threshold,
        "flair_only": load.flair_only,
        "crop": load.crop,
        "evaluate": request.evaluate,
        "cpu_precision": load.cpu_precision,
    }


def decisive(journal: Journal, outputs: tuple[str, ...], choice: SeriesChoice) -> dict[str, Any]:
    """What a resumed run must share with the one that it goes on with, besides the inputs."""
    settings = {k: v for k, v in journal.settings.items() if k not in ("input", "model")}
    return settings | {
        "model": journal.model["sha256"],
        "first_look": journal.model["first_look"],
        "threshold": journal.model["threshold"],
        "provider": journal.provider["ran"],
        "outputs": sorted(outputs),
        "series": _chosen(choice),
        "versions": tool_versions() | journal.versions,
    }


def _chosen(choice: SeriesChoice) -> dict[str, list[str]] | None:
    """The series that were chosen by hand, by the option; None where the rules choose."""
    given = {
        "series_uid": choice.series_uids,
        "flair": (choice.flair,),
        "t1": (choice.t1,),
        "t1c": (choice.t1c,),
    }
    chosen = {name: [without_uids(one) for one in ones if one] for name, ones in given.items()}
    return {name: ones for name, ones in chosen.items() if ones} or None


def describe(journal: Journal, segmenter: Segmenter, requested: str) -> None:
    """Fill in what runs: the model, the first look, the provider and its versions."""
    contract = segmenter.contract
    journal.model = {
        "name": contract.name,
        "precision": contract.precision,
        "sha256": segmenter.digest,
        "threshold": segmenter.threshold,
        "cleanup": asdict(contract.cleanup),
        "intensity": asdict(contract.intensity),
        "crop": asdict(segmenter.crop),
        "trained_on": contract.training.data,
        "first_look": _describe_first_look(segmenter),
    }
    journal.provider = {
        "requested": requested,
        "ran": segmenter.provider,
        "device": segmenter.device,
        "why": segmenter.why,
    }
    journal.versions = dict(segmenter.versions)


def _describe_first_look(segmenter: Segmenter) -> dict[str, Any] | None:
    if segmenter.first_look is None:
        return None
    quick = segmenter.first_look
    return {
        "name": quick.contract.name,
        "precision": quick.contract.precision,
        "sha256": quick.digest,
        "least_sign": LEAST_SIGN,
    }
