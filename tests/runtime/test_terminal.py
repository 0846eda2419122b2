"""Long work before a person is a bar on a terminal, and lines without codes anywhere else."""

import io
import logging
import time

import pytest
from rich.console import Console

from pesatlas.runtime import progress, terminal
from pesatlas.runtime.progress import Progress
from pesatlas.runtime.terminal import console_progress, is_watched
from terminals import Terminal


def work(total, steps):
    steps_of = Progress("rows", total)
    for _ in range(steps):
        time.sleep(0.03)
        steps_of.step()


@pytest.fixture
def screen():
    return Terminal()


def test_on_a_terminal_a_bar_moves_and_goes_away(screen, monkeypatch):
    monkeypatch.setattr(terminal, "_EVERY_S", 0.0)
    with console_progress(screen.console):
        work(6, 4)
        time.sleep(0.3)
        work(6, 6)
    lines = screen.close()
    moved = [line for line in lines if "rows" in line and "━" in line]
    assert any("4/6" in line for line in moved)
    assert all(len(line) <= 80 for line in lines)
    assert screen.raw.rstrip().endswith("\x1b[2K")  # the last thing is that its line is cleared


def test_what_is_said_meanwhile_stands_above_the_bar(screen):
    with console_progress(screen.console):
        bar = Progress("rows")
        bar.step()
        logging.getLogger("pesatlas.dataset").warning("a row is odd")
        screen.console.print("half of it")
        time.sleep(0.2)
    lines = screen.close()
    assert any(line.endswith("a row is odd") for line in lines)
    assert "half of it" in lines


def test_in_a_pipe_there_are_lines_and_neither_bars_nor_codes(monkeypatch, capfd):
    monkeypatch.setattr(progress, "INTERVAL_S", 0.05)
    monkeypatch.setenv("FORCE_COLOR", "1")  # as some CI sets it: colours, but no terminal
    out = io.StringIO()
    with console_progress(Console(file=out)):
        work(6, 4)
    said = capfd.readouterr().err
    assert "rows 2 of 6 (" in said
    assert "\x1b" not in said
    assert "━" not in said + out.getvalue()
    assert len(said.splitlines()) < 4  # now and then, not at each step


def test_a_job_has_no_bar_even_on_a_terminal(screen):
    assert is_watched(screen.console)
    work(2, 2)
    assert screen.close() == []


def test_a_terminal_that_cannot_draw_gets_lines(screen, monkeypatch, capfd):
    monkeypatch.setattr(progress, "INTERVAL_S", 0.0)
    with console_progress(Console(file=screen.file, _environ={"TERM": "dumb"})):
        work(2, 1)
    assert screen.close() == []
    assert "rows 1 of 2" in capfd.readouterr().err


@pytest.mark.parametrize(("rate", "said"), [(2.4, "2/s"), (0.06, "4/min"), (0.001, "3.6/h")])
def test_slow_work_has_a_rate_that_is_not_zero(rate, said):
    assert progress._rate(rate) == said
