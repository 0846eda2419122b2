"""Every single bit of a ledger flipped: at most the record that holds it is lost, and nothing else, ever."""

import os

import pytest

from pesatlas.storage.ledger import Ledger
from pesatlas.storage.records import encode, records
from pesatlas.storage.store import Store
from stores import early

# of equal and of different sizes, one that looks like a record, one that is empty
PAYLOADS = {
    "aa11": b'{"kind": "Result", "energy_eV": -1.5}',
    "bb22": b'{"kind": "Result", "energy_eV": -2.5}',
    "bb22-mishap": b'{"key": "cc33", "bytes": 5, "crc": 1, "at": 1}\nhello\n',
    "cc33": b"",
    "dd44": b"x" * 90,
}
LAYOUTS = {
    "now": encode,
    "without a checksum of the header": early,
    "without a time": lambda key, payload, at: early(key, payload),
}


def found(folder):
    store = Store(folder)
    store.refresh()
    return {key: store.get(key) for key in PAYLOADS}


def through_ledger(path):
    with Ledger(path) as ledger:
        return {key: ledger.get(key) for key in PAYLOADS}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_one_flipped_bit_costs_at_most_its_own_record(tmp_path, layout):
    path = tmp_path / "a.ledger"
    encoded = [LAYOUTS[layout](key, payload, i + 1) for i, (key, payload) in enumerate(PAYLOADS.items())]
    good = b"".join(encoded)
    owners = [key for key, record in zip(PAYLOADS, encoded, strict=True) for _ in record]
    lost = 0
    for position, owner in enumerate(owners):
        for bit in range(8):
            changed = bytearray(good)
            changed[position] ^= 1 << bit
            path.write_bytes(changed)
            for answer in (
                (found(tmp_path), through_ledger(path)) if bit == position % 8 else (found(tmp_path),)
            ):
                differing = {key for key in PAYLOADS if answer[key] != PAYLOADS[key]}
                assert differing <= {owner}, (position, bit)
                assert answer[owner] in (PAYLOADS[owner], None), (position, bit)
            lost += bool(differing)
    assert lost > 7 * len(good), "nearly every bit of a record matters"


@pytest.mark.first
@pytest.mark.parametrize("layout", LAYOUTS)
def test_what_a_flipped_bit_cost_is_made_again_and_stays(tmp_path, layout):
    path = tmp_path / "a.ledger"
    good = b"".join(LAYOUTS[layout](key, payload, i + 1) for i, (key, payload) in enumerate(PAYLOADS.items()))
    for position in range(len(good)):
        changed = bytearray(good)
        changed[position] ^= 1
        path.write_bytes(changed)
        store = Store(tmp_path)
        with store.writer("a") as writer:
            store.refresh()
            for key, payload in PAYLOADS.items():
                if store.get(key) is None:
                    writer.append(key, payload)
        assert found(tmp_path) == PAYLOADS
        assert through_ledger(path) == PAYLOADS
        path.with_name("a.ledger.torn").unlink(missing_ok=True)


@pytest.mark.parametrize("layout", list(LAYOUTS)[:2])
def test_a_damaged_header_takes_one_record_of_four_hundred(tmp_path, layout, caplog):
    path = tmp_path / "a.ledger"
    names = [f"key{n}" for n in range(400)]
    encoded = [LAYOUTS[layout](name, name.encode() * 300, 1) for name in names]
    start = sum(map(len, encoded[:3]))
    for offset in range(encoded[3].index(b"\n") + 1):
        changed = bytearray(b"".join(encoded))
        changed[start + offset] ^= 4
        path.write_bytes(changed)
        store = Store(tmp_path)
        store.refresh()
        assert [n for n in names if store.get(n) != n.encode() * 300] in ([], ["key3"])
        with Ledger(path) as ledger:
            assert [n for n in names if ledger.get(n) != n.encode() * 300] in ([], ["key3"])
    assert not path.with_name("a.ledger.torn").exists()
    assert "is made again" in caplog.text or "are damaged" in caplog.text


@pytest.mark.parametrize("hole", [1, 7, 500, 5_000, 70_000])
@pytest.mark.parametrize("kind", ["zeros", "gone", "doubled"])
def test_a_hole_costs_the_records_that_it_touches(tmp_path, hole, kind):
    """Blocks that a disk lost, or wrote twice."""
    path = tmp_path / "a.ledger"
    names = [f"key{n}" for n in range(400)]
    encoded = [encode(name, name.encode() * 300, 1) for name in names]
    good = b"".join(encoded)
    start = len(good) // 3
    path.write_bytes(
        {
            "zeros": good[:start] + bytes(hole) + good[start + hole :],
            "gone": good[:start] + good[start + hole :],
            "doubled": good[: start + hole] + good[start:],
        }[kind]
    )
    position, touched = 0, set()
    for name, record in zip(names, encoded, strict=True):
        if position < start + hole and position + len(record) > start:
            touched.add(name)
        position += len(record)
    store = Store(tmp_path)
    store.refresh()
    assert {n for n in names if store.get(n) != n.encode() * 300} <= touched
    with Ledger(path) as ledger:
        assert {n for n in names if ledger.get(n) != n.encode() * 300} <= touched


def test_only_what_is_behind_the_last_sound_record_is_cut_off(tmp_path):
    path = tmp_path / "a.ledger"
    encoded = [encode(f"key{n}", b"p" * 200, n + 1) for n in range(9)]
    damaged = [
        bytes([record[0] ^ 1]) + record[1:] if n in (2, 7, 8) else record for n, record in enumerate(encoded)
    ]
    path.write_bytes(b"".join(damaged))
    with Ledger(path) as ledger:
        assert [n for n in range(9) if f"key{n}" not in ledger] == [2, 7, 8]
    assert path.read_bytes() == b"".join(damaged[:7])
    assert path.with_name("a.ledger.torn").read_bytes() == b"".join(damaged[7:])


def test_a_long_damaged_region_is_searched_in_bounded_memory(tmp_path):
    path = tmp_path / "a.ledger"
    with path.open("wb") as handle:
        handle.write(encode("one", b"1", 1))
        for _ in range(40):
            handle.write(os.urandom(1 << 20))
        handle.write(encode("two", b"2", 2))
    with path.open("rb") as handle:
        assert [record.key for record in records(handle)] == ["one", "two"]
