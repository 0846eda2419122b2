"""A terminal that a test looks at: what a program writes to it, with the codes that move the cursor."""

import fcntl
import os
import pty
import re
import struct
import termios
import threading

from rich.console import Console

CODE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


class Terminal:
    """A pseudo-terminal of so many columns, with a console of rich on it; a thread reads what is written."""

    def __init__(self, columns=80, lines=30):
        self._master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
        self.file = os.fdopen(slave, "w", encoding="utf-8")
        self.console = Console(file=self.file, width=columns, height=lines, _environ={"TERM": "xterm"})
        self._parts = []
        self._thread = threading.Thread(target=self._read)
        self._thread.start()

    def _read(self):
        while True:
            try:
                part = os.read(self._master, 65536)
            except OSError:  # the other end is closed
                return
            self._parts.append(part)

    def close(self):
        """Return everything that was written, as lines without codes."""
        self.file.close()
        self._thread.join()
        os.close(self._master)
        self.raw = b"".join(self._parts).decode()
        return CODE.sub("", self.raw).replace("\r", "\n").splitlines()
