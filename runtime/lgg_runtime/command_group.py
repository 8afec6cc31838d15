"""A command of several commands, whose help says of each what it does."""

from __future__ import annotations

import click

_LONGEST = 1000  # letters of a sentence, far above any


class CommandGroup(click.Group):
    """Lists its commands with their whole first sentences, on as many lines as that takes; click
    cuts them to one.
    """

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        rows = [
            (name, self.commands[name].get_short_help_str(_LONGEST))
            for name in self.list_commands(ctx)
        ]
        with formatter.section("Commands"):
            formatter.write_dl(rows)
