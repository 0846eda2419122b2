"""Console progress of long commands: a bar on a terminal, occasional lines in a pipe or file."""

import logging
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

_EVERY_S = 0.1
"""A bar is moved this often at most: steps may be microseconds apart."""


class Bar:
    """One bar; it goes away when all of it is done, when the next one comes, or when the command ends."""

    def __init__(self, what: str, total: int | None, console: "Console") -> None:
        from rich import progress as rich  # noqa: PLC0415 - jobs and most commands show none

        # the time that is left, or as long as nobody knows that, the time that has gone
        left = [rich.TextColumn("[dim]left[/dim]"), rich.TimeRemainingColumn()]
        self._bars = rich.Progress(
            rich.SpinnerColumn(),
            rich.TextColumn("{task.description}"),
            rich.BarColumn(bar_width=30),
            rich.MofNCompleteColumn(),
            *([rich.TimeElapsedColumn()] if total is None else left),
            console=console,
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
        )
        self._task = self._bars.add_task(what, total=total)
        self._total = total
        self._moved = time.monotonic()
        self._bars.start()

    def move(self, done: int) -> None:
        """Show so many."""
        now = time.monotonic()
        if done == self._total:
            self.end()
        elif now - self._moved >= _EVERY_S:
            self._moved = now
            self._bars.update(self._task, completed=done)

    def end(self) -> None:
        """Take it away; the same again does nothing."""
        self._bars.stop()


class _Lines(logging.Handler):
    """Log lines above the bar, if there is one."""

    def __init__(self, console: "Console") -> None:
        super().__init__()
        self._console = console

    def emit(self, record: logging.LogRecord) -> None:
        self._console.print(self.format(record), markup=False, emoji=False, highlight=False, soft_wrap=True)


_console: "Console | None" = None
_bar: Bar | None = None


@contextmanager
def console_progress(console: "Console") -> Iterator[None]:
    """Let ``Progress`` show itself while a command works.

    On ``console``, or on stderr if that one goes into a pipe.

    Neither being a terminal, it logs lines to stderr. Log lines of anything else are shown from warnings on.
    """
    global _console  # noqa: PLW0603 - a process is one command; its library functions need not be told
    from rich.console import Console  # noqa: PLC0415 - as above

    _console = next((each for each in (console, Console(stderr=True, emoji=False)) if is_watched(each)), None)
    handler = _Lines(_console) if _console is not None else logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s", "%H:%M:%S"))
    logger = logging.getLogger("pesatlas")
    logger.addHandler(handler)
    logging.getLogger("pesatlas.runtime.progress").setLevel(logging.INFO)
    try:
        yield
    finally:
        end_bar()
        _console = None
        logger.removeHandler(handler)


def is_watched(console: "Console") -> bool:
    """Whether a person looks at it, on a terminal that can draw."""
    return console.is_terminal and console.file.isatty() and not console.is_dumb_terminal


def bar(what: str, total: int | None) -> Bar | None:
    """Return a new bar in place of the one before; None where nobody looks."""
    global _bar  # noqa: PLW0603 - as above
    end_bar()
    _bar = None if _console is None else Bar(what, total, _console)
    return _bar


def end_bar() -> None:
    """Take the bar away, if there is one."""
    if _bar is not None:
        _bar.end()


def show_lines() -> None:
    """Show what the program says of its work too, for commands of many steps."""
    logging.getLogger("pesatlas").setLevel(logging.INFO)
