"""One target under Atheris: `python -m fuzz.run TARGET CORPUS [libFuzzer options]`."""

from __future__ import annotations

import logging
import sys
import warnings
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["lgg_runtime", "pydicom", "nibabel"]):
    from fuzz.targets import TARGETS, write_seeds


def main() -> None:
    name, corpus = sys.argv[1], Path(sys.argv[2])
    target = TARGETS[name]
    for _ in write_seeds(target, corpus):
        pass
    warnings.simplefilter("ignore")
    logging.disable()
    arguments = [sys.argv[0], str(corpus), f"-max_len={target.longest}", *sys.argv[3:]]
    atheris.Setup(arguments, target.call)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
