"""The order of the tests, which is random: files with long tests come first, so that all workers end at about the same time."""


def pytest_collection_modifyitems(items):
    long = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in long)
