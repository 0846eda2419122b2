"""The help of every command: what it is for, and examples that can be typed."""

import shlex

import pytest
import typer
from typer.testing import CliRunner

from pesatlas.cli.examples import EXAMPLES
from pesatlas.cli.main import app

GROUP = typer.main.get_command(app)


def commands(group=GROUP, before=()):
    """Return every command by the words that call it."""
    found = {}
    for name, command in group.commands.items():
        words = (*before, name)
        found |= commands(command, words) if hasattr(command, "commands") else {" ".join(words): command}
    return found


def test_every_command_has_examples():
    assert commands().keys() == EXAMPLES.keys()


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_examples_of_a_command_are_in_its_help_and_can_be_typed(name, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    page = CliRunner().invoke(app, [*name.split(), "--help"]).stdout
    for typed, purpose in EXAMPLES[name]:
        assert typed in page
        assert purpose in page
        program, *words = shlex.split(typed.split(" > ")[0])
        assert program == "pesatlas"
        assert words[: len(name.split())] == name.split()
        # raises for an option or an argument that there is not
        commands()[name].make_context(name, words[len(name.split()) :])


def test_help_fits_into_a_narrow_terminal_with_lines_as_wide_as_it(monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("TERMINAL_WIDTH", "80")
    lines = CliRunner().invoke(app, ["retry", "--help"]).stdout.splitlines()
    assert max(map(len, lines)) <= 80
    prose = [line.strip() for line in lines if line.startswith(" Without a reason")]
    assert len(prose[0]) > 60  # not broken where the source is
