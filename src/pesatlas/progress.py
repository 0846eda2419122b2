"""A line in the log now and then during long work."""

import logging
import time

log = logging.getLogger(__name__)

INTERVAL_S = 10.0


class Progress:
    """Count steps and log a line every ten seconds, with the time left where the total is known."""

    def __init__(self, what: str, total: int | None = None) -> None:
        self.what = what
        self.total = total
        self.done = 0
        self._start = self._said = time.monotonic()

    def step(self, count: int = 1) -> None:
        """Count one, or ``count``."""
        self.done += count
        now = time.monotonic()
        if now - self._said < INTERVAL_S:
            return
        self._said = now
        rate = self.done / (now - self._start)
        if self.total is None:
            log.info("%s %d (%.0f/s)", self.what, self.done, rate)
        else:
            log.info(
                "%s %d of %d (%.0f/s, %.0f s left)",
                self.what,
                self.done,
                self.total,
                rate,
                (self.total - self.done) / rate,
            )
