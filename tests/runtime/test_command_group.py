"""What the help of a command says of the commands in it."""

import click
from click.testing import CliRunner

from lgg_runtime.command_group import CommandGroup


def test_the_list_of_commands_has_their_first_sentences_whole() -> None:
    sentence = "Choose one of many things, and say in the words of a long sentence which one it is."
    work = click.Command("work", help=f"{sentence} And more of it.")
    shown = CliRunner().invoke(CommandGroup("tool", commands=[work]), ["--help"])
    assert f"Commands: work {sentence}" in " ".join(shown.output.split())
    assert max(map(len, shown.output.splitlines())) <= 80
