"""The artifacts of a measurement: what to call them, what they are and of which run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lgg_runtime.backends import BackendSettings, load_backend
from lgg_runtime.backends.model_file import require_model_file
from lgg_runtime.contract import Contract
from lgg_runtime.digests import digest_file
from lgg_runtime.errors import InputError, UsageError

if TYPE_CHECKING:
    from lgg_train.trained import TrainedModel

_POOLED = ("iou", "recall", "precision", "f1")
_HELD_OUT = ("validation", "test")
_OTHER_MACHINE = 1e-3  # what scores of one network may differ by
_WEIGHTS = "model.pt"  # of a run's folder, whose module loads PyTorch


def label_artifacts(paths: Sequence[Path]) -> dict[str, Path]:
    """Files by a label for tables: the file's name, or the path where names collide.

    Raises UsageError for a file given twice, ModelError for one that is not there.
    """
    names = Counter(path.name for path in paths)
    labels = {path.name if names[path.name] == 1 else str(path): path for path in paths}
    if len(labels) < len(paths):
        raise UsageError("an artifact is given twice")
    for path in paths:
        require_model_file(path)
    return labels


def is_onnx(path: Path) -> bool:
    """Whether an artifact is an ONNX file, which runs on the CPU and can be looked into."""
    return path.suffix.lower() == ".onnx"


def describe_artifact(path: Path, backend: BackendSettings) -> dict[str, str]:
    """Its name and precision, of its contract, and its digest; backend: what loads it.

    Raises ModelError for a file that is refused, ProviderError where the provider cannot run.
    """
    contract = load_backend(path, backend).contract
    return {"name": contract.name, "precision": contract.precision, "sha256": digest_file(path)}


def contract_differences(contract: Contract, model: TrainedModel) -> list[str]:
    """What the contract says otherwise than the run; hosts decide by the contract alone."""
    pairs = {
        "threshold": (contract.threshold, model.decision.threshold),
        "clean-up": (contract.cleanup, model.decision.cleanup),
        "intensity": (contract.intensity, model.intensity),
        "training data or split": (contract.training, model.training),
    }
    return [f"its contract's {name} is not the run's" for name, (a, b) in pairs.items() if a != b]


def score_differences(contract: Contract, run: Path) -> list[str]:
    """The parts for which the contract tells other scores of its network than the run has of its
    own: two runs on one split may decide alike, and nothing else in a contract tells them apart.

    Raises InputError as `read_own_scores` does.
    """
    from lgg_train.scores import read_own_scores

    paths = {part: run / f"metrics_{part}.json" for part in _HELD_OUT if part in contract.metrics}
    own = {part: read_own_scores(path) for part, path in paths.items() if path.is_file()}
    return [
        f"its contract's scores of the network on {part} patients are not the run's"
        for part, scores in own.items()
        if not _is_like(contract.metrics[part], scores)
    ]


def _is_like(told: Any, scores: dict[str, Any]) -> bool:
    """Whether pooled scores are of one network; told: of a contract, and so of any kind."""
    try:
        found = [abs(told["pooled"][name] - scores["pooled"][name]) for name in _POOLED]
    except (LookupError, TypeError):
        return False
    return bool(max(found) <= _OTHER_MACHINE)


def label_precision(subject: str, results: dict[str, Any]) -> str:
    """The subject of a record with its artifact's precision; as it is where it is no artifact."""
    known = results["artifacts"].get(subject)
    return f"{subject} ({known['precision']})" if known else subject


def describe_provider(settings: dict[str, Any]) -> str:
    """Where a record's artifacts ran, and in what where --cpu-precision rounds them."""
    provider, precision = settings["provider"], settings["cpu_precision"]
    return str(provider) if precision == "fp32" else f"{provider} in {precision}"


def digest_run(run: Path | None) -> str | None:
    """SHA-256 of a run's weights, None without a run. Raises InputError where it has none, or they
    cannot be read.
    """
    if run is None:
        return None
    try:
        return digest_file(run / _WEIGHTS)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise InputError(f"{run}: no {_WEIGHTS} in it") from error
    except OSError as error:
        raise InputError(f"{run}: cannot be read ({error.strerror})") from error
