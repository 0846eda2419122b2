"""Plugins of pytest that all tests share: tiers by measured durations, and the stopwatch that measures
them."""

import tiers


def pytest_addoption(parser):
    """Add the option that `make durations` uses."""
    parser.addoption(
        "--write-durations", action="store_true", help="write how long tests took to tests/durations.json"
    )


def pytest_configure(config):
    """Register the plugins; the process that hears of all workers writes what was measured."""
    config.pluginmanager.register(tiers.Tiers(tiers.read_durations()))
    if config.getoption("--write-durations"):
        config.pluginmanager.register(tiers.FixtureStopwatch())
        if not hasattr(config, "workerinput"):
            config.pluginmanager.register(tiers.Stopwatch())
