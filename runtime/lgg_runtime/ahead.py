"""A model that is loaded while its caller does what does not need it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

from lgg_runtime.backends.within_memory import is_memory_limited
from lgg_runtime.loading import LoadSettings
from lgg_runtime.providers import ON_CPU
from lgg_runtime.segmenter import Segmenter
from lgg_runtime.workers import Workers


@contextmanager
def load_ahead(model: str, settings: LoadSettings) -> Iterator[Callable[[], Segmenter]]:
    """What gives the model, or raises why there is none, as `Segmenter.load` does; on a GPU it is
    loaded only then, and under a limit of memory: side by side, an import and a load that find none
    left end in any way. Raises ResourceError where no thread can begin.
    """
    load = partial(Segmenter.load, model, settings)
    # For a CPU a caller that asks for no model after all waits a moment; a GPU's may take minutes.
    if settings.provider not in ON_CPU or is_memory_limited():
        yield load
        return
    with Workers(1, "load") as beside:
        loading = beside.submit(load)
        yield lambda: beside.wait_for(loading)
