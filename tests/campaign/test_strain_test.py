"""Strain tests are of one level with one fingerprint, and nothing else counts for it."""

import json

import pytest

from pesatlas.campaign.strain_test import (
    read_strain_test,
    strain_sentence,
    strain_state,
    strain_tests,
)
from pesatlas.config.section import digest
from pesatlas.errors import UserError
from strain_files import store

LEVEL = {"name": "pbe", "code": {"dft": "1.2"}, "settings": {"cutoff_eV": 400.0}}
FINER = LEVEL | {"settings": {"cutoff_eV": 500.0}}


def manifest(*definitions):
    return {"levels": ["pbe"], "surfaces": {"pbe": {"fingerprints": [digest(each) for each in definitions]}}}


def test_a_test_counts_for_its_own_fingerprint_alone(tmp_path):
    store(tmp_path, LEVEL)
    found = read_strain_test(tmp_path, "pbe", digest(LEVEL))
    assert found.passed
    assert strain_sentence(found) == (
        "stress against strain: 0.03 GPa off at strains of 0.5 %, tested 2026-11-29 with dft 1.2 on Si"
    )
    assert read_strain_test(tmp_path, "pbe", digest(FINER)) is None
    assert read_strain_test(tmp_path, "r2scan", digest(LEVEL)) is None
    assert strain_sentence(None) == "stress against strain: not tested"


def test_a_file_that_was_changed_or_renamed_is_refused(tmp_path):
    path = store(tmp_path, LEVEL)
    text = path.read_text()
    path.rename(path.with_name(f"pbe-{digest(FINER)}.json"))
    with pytest.raises(UserError, match="the test of another level"):
        read_strain_test(tmp_path, "pbe", digest(FINER))
    raw = json.loads(text)
    raw["definition"]["settings"]["cutoff_eV"] = 600.0
    path.write_text(json.dumps(raw))
    with pytest.raises(UserError, match="the test of another level"):
        read_strain_test(tmp_path, "pbe", digest(LEVEL))
    path.write_text(text[:100])
    with pytest.raises(UserError, match="Delete it, and test the level again"):
        read_strain_test(tmp_path, "pbe", digest(LEVEL))


@pytest.mark.parametrize("change", [{"verdict": "failed"}, {"difference_GPa": 5.0}])
def test_a_verdict_that_its_numbers_do_not_give_is_refused(tmp_path, change):
    path = store(tmp_path, LEVEL)
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(UserError, match="Delete it, and test the level again"):
        read_strain_test(tmp_path, "pbe", digest(LEVEL))


def test_of_rows_with_several_fingerprints_a_failed_test_counts_first_then_a_missing_one(tmp_path):
    store(tmp_path, LEVEL)
    assert strain_tests(tmp_path, manifest(LEVEL))["pbe"].passed
    assert strain_tests(tmp_path, manifest(LEVEL, FINER)) == {"pbe": None}
    store(tmp_path, LEVEL, off_gpa=7.0)
    assert not strain_tests(tmp_path, manifest(LEVEL, FINER))["pbe"].passed
    assert strain_tests(tmp_path, {"levels": ["pbe"]}) == {"pbe": None}


def test_the_state_tells_results_apart_and_not_how_a_program_was_started(tmp_path):
    store(tmp_path, LEVEL)
    before = strain_state(strain_tests(tmp_path, manifest(LEVEL)).values())
    store(tmp_path, LEVEL, command=None)
    assert strain_state(strain_tests(tmp_path, manifest(LEVEL)).values()) == before
    store(tmp_path, LEVEL, off_gpa=0.04)
    assert strain_state(strain_tests(tmp_path, manifest(LEVEL)).values()) != before
    assert strain_state([None]) is None
