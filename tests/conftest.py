"""Plugins of pytest that all tests share: tiers by measured durations, and the stopwatch that measures
them."""

import time

import tiers


def pytest_addoption(parser):
    """Add the options that `make durations` and `.ci/run` use."""
    parser.addoption(
        "--write-durations", action="store_true", help="write how long tests took to tests/durations.json"
    )
    parser.addoption(
        "--minutes", type=float, help="begin tests for so long; what has not begun then is skipped, and named"
    )


def pytest_configure(config):
    """Register the plugins; the process that hears of all workers writes what was measured."""
    config.pluginmanager.register(tiers.Tiers(tiers.read_durations()))
    worker = getattr(config, "workerinput", None)
    if config.getoption("minutes") is not None:
        began = time.time() if worker is None else worker["began"]
        config.pluginmanager.register(tiers.Minutes(config.getoption("minutes"), began))
    if config.getoption("--write-durations"):
        config.pluginmanager.register(tiers.FixtureStopwatch())
        if worker is None:
            config.pluginmanager.register(tiers.Stopwatch())
