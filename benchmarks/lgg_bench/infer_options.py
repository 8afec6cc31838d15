"""Options of lgg-infer that a measurement passes on, and those that it gives itself."""

from __future__ import annotations

from collections.abc import Sequence

import click

from lgg_runtime.cli import command
from lgg_runtime.errors import UsageError

# lgg-infer's option by its parameter's name, and what to do in its stead.
_RULED = {
    "output": "each run has a folder of its own; leave it out",
    "model": "name the models as ARTIFACT...",
    "provider": "lgg-bench's own --provider does it",
    "threads": "lgg-bench's own --threads does it",
    "evaluate": "the folder is copied without its reference masks; leave it out",
    "first_look": "--first-look of lgg-bench peers does it",
}


def refuse_ruled(options: Sequence[str]) -> None:
    """Raises UsageError for an option that would make a row another thing than its label says."""
    # What lgg-infer would refuse is left to it.
    context = click.Context(command, resilient_parsing=True)
    given, _, _ = command.make_parser(context).parse_args(list(options))
    for parameter in command.params:
        if parameter.name in _RULED and parameter.name in given:
            names = "/".join(parameter.opts)
            raise UsageError(f"--infer-option {names}: {_RULED[parameter.name]}")
