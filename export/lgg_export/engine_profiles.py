"""The optimisation profiles of an engine: the shapes that it is compiled for."""

from __future__ import annotations

from lgg_runtime.contract import Contract
from lgg_runtime.sidecar import Profile, Shape

# The runtime gives a GPU boxes in steps of this side, so engines are tuned for it.
ORDINARY_SIDE = 256


def make_profiles(contract: Contract, batch: int, size: int) -> tuple[Profile, ...]:
    """One slice at a time; batches of ordinary slices; fewer of larger ones for the same memory.

    batch: most slices a run; size: largest height and width in pixels, at least ORDINARY_SIDE.
    Shapes are (slices, height, width, channels).
    """
    step = contract.size_multiple

    def shape(count: int, height: int, width: int) -> Shape:
        return (count, height, width, len(contract.channels))

    smallest = shape(1, step, step)
    ordinary = shape(batch, ORDINARY_SIDE, ORDINARY_SIDE)
    profiles = [
        Profile(smallest, shape(1, ORDINARY_SIDE, ORDINARY_SIDE), shape(1, size, size)),
        Profile(smallest, ordinary, ordinary),
    ]
    if size > ORDINARY_SIDE:
        fewer = max(1, batch * ORDINARY_SIDE**2 // size**2)
        largest = shape(fewer, size, size)
        profiles.append(Profile(smallest, largest, largest))
    return tuple(profiles)
