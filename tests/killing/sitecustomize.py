"""On the path of processes that tests kill: at a chosen moment of its own work a process kills itself and
its process group,
or waits to be killed.

``KILL_AT`` is JSON: an audit event of Python (``os.rename``, ``open``, ...), which is raised before the thing
is done; a regular expression for its path; which time of those it is (1 if not given); a file that says that
it happened; and whether it ``waits``. Without ``KILL_AT`` nothing changes. ``STORE_INDEX_AFTER``: records
after which the index of a store is written. Python imports a module of this name at its start.
"""

import importlib.abc
import importlib.util
import json
import os
import re
import signal
import sys
from pathlib import Path

# the renamed path is the second argument, all others are the first
_ARGUMENT = {"os.rename": 1}


def _watch(plan):
    event_wanted, pattern, left = plan["event"], re.compile(plan["path"]), plan.get("count", 1)
    argument = _ARGUMENT.get(event_wanted, 0)

    def look(event, arguments):
        nonlocal left
        if event != event_wanted or not isinstance(arguments[argument], str | os.PathLike):
            return
        if pattern.search(str(Path.cwd() / arguments[argument])):
            left -= 1
            if left == 0:
                Path(plan["happened"]).touch()
                if not plan.get("waits"):
                    os.killpg(os.getpgrp(), signal.SIGKILL)
                signal.pause()

    sys.addaudithook(look)


class _SmallIndex(importlib.abc.MetaPathFinder):
    """Let the index of a store be written after few records."""

    def find_spec(self, name, path=None, target=None):
        if name != "pesatlas.storage.store":
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        execute = spec.loader.exec_module

        def exec_module(module):
            execute(module)
            module._INDEX_AFTER = int(os.environ["STORE_INDEX_AFTER"])

        spec.loader.exec_module = exec_module
        return spec


if "KILL_AT" in os.environ:
    _watch(json.loads(os.environ["KILL_AT"]))
if "STORE_INDEX_AFTER" in os.environ:
    sys.meta_path.insert(0, _SmallIndex())
