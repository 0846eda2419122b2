"""Memory does not grow with a file."""

import gzip
import json
import tracemalloc

import pytest

from pesatlas.frames import documents, xyz

ENTRY = """4
Lattice="5 0 0 0 5 0 0 0 5" Properties=species:S:1:pos:R:3:forces:R:3 energy=-1
Ca 0 0 0 0 0 0
Ca 0 2.5 2.5 0 0 0
Ca 2.5 0 2.5 0 0 0
Ca 2.5 2.5 0 0 0 0
"""
SITES = [{"species": [{"element": "Ca", "occu": 1}], "abc": [0.25 * i] * 3} for i in range(4)]
RECORD = {"structure": {"lattice": {"matrix": [[5, 0, 0], [0, 5, 0], [0, 0, 5]]}, "sites": SITES}}


@pytest.mark.parametrize(
    ("items", "name", "text"),
    [
        (xyz.items, "x.extxyz.gz", lambda n: ENTRY * n),
        (xyz.items, "x.xyz", lambda n: ENTRY * n + "4 \nno entry\n" + "Ca 0 0 0\n" * 5 * n),
        (documents.items, "x.json.gz", lambda n: f"[{', '.join([json.dumps(RECORD)] * n)}]"),
    ],
)
def test_memory_does_not_grow_with_the_file(tmp_path, items, name, text):
    def peak(n):
        path = tmp_path / name
        data = text(n).encode()
        path.write_bytes(gzip.compress(data, 1) if name.endswith(".gz") else data)
        tracemalloc.start()
        try:
            count = 0
            for item in items(path):
                count += 1
                if not name.endswith(".xyz"):
                    item.frame()
            return tracemalloc.get_traced_memory()[1], count
        finally:
            tracemalloc.stop()

    peak(10)
    small, large = peak(1_500), peak(6_000)
    assert large[1] >= 6_000
    assert large[0] < 1.5 * small[0] + 1_000_000
