"""Snakemake's Slurm executor as `pesatlas run` extends it."""

import asyncio

import pytest

pytest.importorskip("snakemake_executor_plugin_slurm")

from pesatlas.cli.slurm_executor import PatientExecutor


def test_the_thread_that_looks_for_jobs_may_start_before_the_executor_is_made():
    """Snakemake starts it in ``__init__``, ahead of ``__post_init__``.

    If it died, the run would wait for ever.
    """

    async def look():
        return [info async for info in PatientExecutor.check_active_jobs(unmade, [])]

    unmade = object.__new__(PatientExecutor)
    assert asyncio.run(look()) == []
