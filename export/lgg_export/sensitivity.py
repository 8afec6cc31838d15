"""Which layers of a network lose too much in int8, found on patients of the training part."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Protocol

import onnx

from lgg_export.parity import Limits, Parity
from lgg_runtime.errors import ParityError

# Patients that were not looked at get room: the gate compares on others.
ROOM = 0.5

Judge = Callable[[onnx.ModelProto], Parity]


class Builder(Protocol):
    """What makes int8 graphs, see Quantiser."""

    @property
    def layers(self) -> tuple[str, ...]: ...
    def build(self, kept: tuple[str, ...]) -> onnx.ModelProto: ...


def keep_sensitive(
    builder: Builder, judge: Judge, quick_judge: Judge, limits: Limits
) -> onnx.ModelProto:
    """The graph with the fewest layers in float that leaves room within `limits`.

    Layers go back to float one by one, those first which alone flip most pixels, until ROOM of the
    limits suffices, or half of the layers have gone back. judge: compares on whole patients;
    quick_judge: on a few slices, called once for each layer where all layers in int8 lose more.
    Raises ParityError where the limits themselves do not hold then.
    """
    kept: tuple[str, ...] = ()
    order: Iterator[str] | None = None
    while True:
        graph = builder.build(kept)
        parity = judge(graph)
        if not parity.failures(limits.share(ROOM)):
            return graph
        if len(kept) >= len(builder.layers) // 2:
            failures = parity.failures(limits)
            if not failures:
                return graph
            raise ParityError(
                f"int8: with {len(kept)} of {len(builder.layers)} layers in float, still "
                f"{'; '.join(failures)}; train longer, or export plain fp32"
            )
        order = order or iter(rank_layers(builder, quick_judge))
        kept = (*kept, next(order))


def rank_layers(builder: Builder, judge: Judge) -> list[str]:
    """The layers by how many pixels each alone in int8 flips, most first."""
    layers = builder.layers
    flipped = {
        name: judge(builder.build(tuple(n for n in layers if n != name))).flipped_pixels
        for name in layers
    }
    return sorted(layers, key=lambda name: -flipped[name])
