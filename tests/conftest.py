"""The order of the tests, which is random, but for what takes long: it comes first, so that all workers end at about the same time."""


def pytest_collection_modifyitems(items):
    """Files that wait for Slurm, then files with long tests, then all others: each in the random order of pytest-randomly."""
    waiting = {item.path for item in items if "slurm" in getattr(item, "fixturenames", ())}
    long = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: (item.path not in waiting, item.path not in long))
