"""A contract, and an engine's key, as lines for a person."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from lgg_runtime.contract import INPUT, OUTPUT, Contract, Training
from lgg_runtime.errors import ModelError
from lgg_runtime.metrics import describe_pooled
from lgg_runtime.plural import count
from lgg_runtime.sidecar import Sidecar


def describe_contract(contract: Contract) -> str:
    """What the artifact takes, gives, was trained on and measured at."""
    c = contract
    multiple = f"multiples of {c.size_multiple}"
    rows = [
        ("model", f"{c.name}, {c.precision}, made by lgg-edge {c.tool_version}"),
        ("input", f"{INPUT}: uint8 [N, H, W, {len(c.channels)}], H and W {multiple}"),
        ("channels", ", ".join(c.channels)),
        ("scale", f"pixels of {c.pixel_mm:g} mm, where the spacing is known"),
        ("output", f"{OUTPUT}: float32 [N, H, W] in 0..1"),
        ("threshold", str(c.threshold)),
        ("clean-up", c.cleanup.describe()),
        ("decided by", c.how_decided),
        ("intensity", f"over the head, each channel: {c.intensity.centre:g} + "
                      f"{c.intensity.scale:g} z, cut to 8 bits"),
        ("crop", f"the head's box with {c.crop.margin} pixels around it, sides in steps of "
                 f"{c.crop.step}"),
        ("trained on", _training(c.training)),
    ]  # fmt: skip
    with _refusing_foreign("its metrics or parity"):
        rows += [(f"PyTorch, {part}", _scores(scores)) for part, scores in c.metrics.items()]
        if c.parity:
            rows.append(("parity", _parity(c.parity)))
    rows += [("licence", c.licence), ("intended use", c.intended_use)]
    return _lines(rows)


def describe_engine(sidecar: Sidecar) -> str:
    """What the engine runs on and was compiled from, then its contract."""
    with _refusing_foreign("its engine's key or tensors"):
        engine = _lines(_engine_rows(sidecar))
    return engine + "\n" + describe_contract(sidecar.contract)


def _engine_rows(sidecar: Sidecar) -> list[tuple[str, str]]:
    key = sidecar.key
    workspace = "the library's limit"
    if key.workspace_bytes is not None:
        workspace = f"{key.workspace_bytes / 2**20:g} MiB"
    proof = "not run: no GPU that it fits was at hand"
    if sidecar.golden_difference is not None:
        proof = f"answered, largest difference {sidecar.golden_difference:.2g}"
    rows = [
        ("engine", f"{key.library} {key.library_version}, {key.engine_sha256[:16]}"),
        ("runs on", ", ".join(key.compute_capabilities) or "SM80 (Ampere) and later"),
        ("built with driver", key.driver or "none"),
        ("compiled from", f"{key.precision} model {key.model_sha256[:16]}"),
        ("workspace", workspace),
        ("golden input", proof),
    ]
    rows += [(t.mode.lower(), f"{t.name}: {t.dtype} {list(t.shape)}") for t in sidecar.tensors]
    rows += [
        (f"profile {i}", " .. ".join("x".join(map(str, s)) for s in (p.smallest, p.largest))
                         + ", tuned for " + "x".join(map(str, p.typical)))
        for i, p in enumerate(key.profiles)
    ]  # fmt: skip
    return rows


@contextmanager
def _refusing_foreign(what: str) -> Iterator[None]:
    """Raises ModelError where another program wrote values of another kind."""
    try:
        yield
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        raise ModelError(f"{what} are not an export's; --json prints them") from error


def _lines(rows: list[tuple[str, str]]) -> str:
    return "\n".join(f"{name:20} {text}" for name, text in rows)


def _training(training: Training) -> str:
    trained, validated, tested = (
        training.patients.get(part, 0) for part in ("train", "validation", "test")
    )
    data = f"data {training.data[:16]}"
    if not validated and not tested:
        return f"{count(trained, 'patient')}, none left for validation or test; {data}"
    return (
        f"{count(trained, 'patient')}, {validated} validated, {tested} tested; "
        f"split by {training.split_by}; {data}"
    )


def _scores(scores: dict[str, Any]) -> str:
    dice = scores["per_patient_dice"]
    return (
        f"Dice by patient mean {dice['mean']:.4f}, median {dice['median']:.4f} "
        f"({count(dice['patients'], 'patient')}). {describe_pooled(scores['pooled'])}"
    )


def _parity(parity: dict[str, Any]) -> str:
    return (
        f"{parity['subject']}: largest probability difference "
        f"{parity['largest_probability_difference']:.2g}, flipped pixels "
        f"{parity['flipped_pixels']:.2g}, largest Dice difference "
        f"{parity['largest_dice_difference']:.2g}"
    )
