"""Processes that write to a store and its index, killed at any moment."""

import random
import signal
import subprocess
import sys
import time

from stores import Reading, assert_holds, fill, look, size_of

APPENDING = """
import sys
from pathlib import Path
from pesatlas.storage.store import Store
with Store(Path(sys.argv[1])).writer(sys.argv[2]) as writer:
    for i in range(10**9):
        writer.append(f"{sys.argv[2]}-{i}", f"{sys.argv[2]}-{i} ".encode() * 40)
        print(i, flush=True)
"""

REFRESHING = """
import sys
from pathlib import Path
from pesatlas.storage import store
store._INDEX_AFTER = 0
while True:
    fresh = store.Store(Path(sys.argv[1]))
    fresh.refresh()
    wrong = [n for n in range(0, 8000, 250) if fresh.get(f"key{n}") != f"payload of key{n} ".encode() * 3]
    print("wrong" if wrong else "right", flush=True)
"""


def start(program, *arguments):
    command = [sys.executable, "-c", program, *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def test_writers_and_those_who_write_the_index_may_be_killed_at_any_moment(tmp_path):
    folder = tmp_path / "store"
    for i in range(4):
        fill(folder, f"batch-{i}", range(i * 2_000, (i + 1) * 2_000))
    dice = random.Random(5)
    said = {"one": -1, "two": -1}
    for _ in range(4):
        writers = {name: start(APPENDING, folder, name) for name in said}
        readers = [start(REFRESHING, folder) for _ in range(2)]
        everyone = [*writers.values(), *readers]
        for process in everyone:
            assert process.stdout.readline()
        time.sleep(dice.uniform(0, 0.7))
        for process in dice.sample(everyone, len(everyone)):
            process.send_signal(signal.SIGKILL)
        for name, process in writers.items():
            lines = process.communicate()[0].split()
            said[name] = max([said[name], *map(int, lines[:-1])])
        for process in readers:
            assert "wrong" not in process.communicate()[0]
        store = look(folder)
        assert_holds(store, range(0, 8_000, 50))
        for name, last in said.items():
            for i in range(last + 1):
                assert store.get(f"{name}-{i}") == f"{name}-{i} ".encode() * 40
    assert max(said.values()) > 10
    # what the killed left behind is in nobody's way
    (folder / "places.index").unlink()
    look(folder)
    assert (folder / "places.index").exists()
    reading = Reading()
    look(folder)
    assert reading.bytes() < (folder / "places.index").stat().st_size + 60_000 < size_of(folder)
