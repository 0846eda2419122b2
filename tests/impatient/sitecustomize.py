"""On the path of campaigns of tests: Snakemake asks every two seconds what became of its jobs in Slurm, and
refused jobs wait for seconds.

Its executor asks after the seconds of its setting, and each time without news 10 s later than before, which
nothing sets: of a job of 9 s it hears after 26, and a campaign is a chain of such jobs. What Slurm refuses is
tried again after minutes. Nothing else changes. Python imports a module of this name at its start.
"""

import asyncio
import importlib.abc
import importlib.util
import os
import sys

_SECONDS = 2


async def _sleep(executor):
    await asyncio.sleep(_SECONDS)


def _ask_often(module):
    module.RemoteExecutor.sleep = _sleep


def _wait_for_seconds(module):
    module.WAITS_S = (1.0, 4.0, 8.0)


_CHANGES = {"snakemake_interface_executor_plugins.executors.remote": _ask_often}
if "REFUSALS_AS_EVER" not in os.environ:
    _CHANGES["pesatlas.cli.refusals"] = _wait_for_seconds


class _Finder(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        change = _CHANGES.pop(name, None)
        if change is None:
            return None
        spec = importlib.util.find_spec(name)
        execute = spec.loader.exec_module

        def exec_module(module):
            execute(module)
            change(module)

        spec.loader.exec_module = exec_module
        return spec


sys.meta_path.insert(0, _Finder())
