"""On the path of campaigns of tests: Snakemake asks every two seconds what became of its jobs in Slurm.

Its executor asks after the seconds of its setting, and each time without news 10 s later than before, which nothing sets: of a job of 9 s
it hears after 26, and a campaign is a chain of such jobs. Nothing else changes. Python imports a module of this name at its start.
"""

import asyncio
import importlib.abc
import importlib.util
import sys

_EXECUTOR = "snakemake_interface_executor_plugins.executors.remote"
_SECONDS = 2


class _Finder(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name != _EXECUTOR:
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        execute = spec.loader.exec_module

        def exec_module(module):
            execute(module)
            module.RemoteExecutor.sleep = _sleep

        spec.loader.exec_module = exec_module
        return spec


async def _sleep(executor):
    await asyncio.sleep(_SECONDS)


sys.meta_path.insert(0, _Finder())
