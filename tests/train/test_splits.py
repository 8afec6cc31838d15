"""Splits: nothing in two parts, institutions in proportion, folds that partition, JSON."""

import json
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lgg_runtime.errors import InputError, UsageError
from lgg_train.cases import CaseFiles
from lgg_train.splits import PARTS, SPLIT_BY, Split, SplitSettings, make_split

# Patients of the public dataset by institution.
PUBLIC = {"CS": 16, "DU": 45, "EZ": 1, "FG": 14, "HT": 34}


def make_cases(institutions, slices=3):
    """Patients without files; the n-th of an institution has `slices` + n % 4 slices."""
    cases = []
    for institution, count in institutions.items():
        for n in range(count):
            paths = tuple(Path(f"{i}.tif") for i in range(slices + n % 4))
            cases.append(CaseFiles(f"TCGA_{institution}_{n:04d}", paths, paths))
    return cases


def count_by_institution(names):
    return Counter(name.split("_")[1] for name in names)


def every_slice(split):
    return [(p, i) for part in PARTS for p, used in split.parts[part].items() for i in used]


institutions = st.dictionaries(
    st.sampled_from("ABCDEF"), st.integers(1, 30), min_size=1, max_size=6
).filter(lambda groups: sum(groups.values()) >= 10)


@settings(deadline=None)
@given(groups=institutions, by=st.sampled_from(SPLIT_BY), seed=st.integers(0, 99))
def test_every_slice_is_used_exactly_once(groups, by, seed):
    cases = make_cases(groups)
    split = make_split(cases, SplitSettings(by, seed=seed))
    expected = {(case.patient, i) for case in cases for i in range(len(case.slices))}
    used = every_slice(split)
    assert len(used) == len(expected)
    assert set(used) == expected


@settings(deadline=None)
@given(groups=institutions, seed=st.integers(0, 99))
def test_no_patient_is_in_two_parts_of_a_split_by_patient(groups, seed):
    split = make_split(make_cases(groups), SplitSettings(seed=seed))
    names = [name for part in PARTS for name in split.patients(part)]
    assert len(names) == len(set(names)) == sum(groups.values())


@settings(deadline=None)
@given(groups=institutions, seed=st.integers(0, 99))
def test_each_institution_has_its_share_of_test_and_validation_within_a_seat(groups, seed):
    split = make_split(make_cases(groups), SplitSettings(seed=seed))
    total = sum(groups.values())
    test = count_by_institution(split.patients("test"))
    validation = count_by_institution(split.patients("validation"))
    assert test.total() == round(0.16 * total)
    assert abs(validation.total() - 0.10 * total) <= 0.5 + 1e-9
    share = 0.10 * total / (total - test.total())
    for name, count in groups.items():
        assert abs(test[name] - 0.16 * count) < 1
        assert abs(validation[name] - share * (count - test[name])) < 1


def test_the_public_dataset_is_divided_in_proportion_within_a_seat():
    split = make_split(make_cases(PUBLIC), SplitSettings())
    assert {part: len(split.patients(part)) for part in PARTS} == {
        "train": 81,
        "validation": 11,
        "test": 18,
    }
    for part, fraction in (("train", 0.74), ("validation", 0.10), ("test", 0.16)):
        held = count_by_institution(split.patients(part))
        for name, count in PUBLIC.items():
            assert abs(held[name] - fraction * count) <= 1, (part, name)


def test_a_split_by_slice_divides_the_slices_by_the_fractions():
    cases = make_cases({"A": 10}, slices=10)
    split = make_split(cases, SplitSettings("slice"))
    total = sum(len(case.slices) for case in cases)
    sizes = {part: sum(map(len, split.parts[part].values())) for part in PARTS}
    assert sizes["test"] == round(0.10 * total), "the notebook's tenth"
    assert sizes["validation"] == round(0.10 * total)
    shared = set(split.patients("train")) & set(split.patients("test"))
    assert shared, "slices of one patient are expected on both sides of a split by slice"


def test_folds_without_a_fold_test_the_first():
    cases = make_cases(PUBLIC)
    first = make_split(cases, SplitSettings(folds=5, fold=0))
    assert make_split(cases, SplitSettings(folds=5)) == first


@pytest.mark.parametrize("folds", [2, 5])
def test_folds_test_each_patient_exactly_once(folds):
    cases = make_cases(PUBLIC)
    splits = [make_split(cases, SplitSettings(folds=folds, fold=f)) for f in range(folds)]
    tested = Counter(name for split in splits for name in split.patients("test"))
    assert tested == Counter(case.patient for case in cases)
    for split in splits:
        names = [name for part in PARTS for name in split.patients(part)]
        assert sorted(names) == sorted(case.patient for case in cases)
        held = count_by_institution(split.patients("test"))
        assert all(abs(held[name] - count / folds) < 1 for name, count in PUBLIC.items())


@pytest.mark.parametrize("by", ["patient", "slice"])
def test_the_seed_decides_and_the_order_of_the_cases_does_not(by):
    cases = make_cases(PUBLIC)
    one = make_split(cases, SplitSettings(by, seed=1))
    assert make_split(cases, SplitSettings(by, seed=1)) == one
    assert make_split(cases[::-1], SplitSettings(by, seed=1)) == one
    other = make_split(cases, SplitSettings(by, seed=2))
    assert other.parts != one.parts
    assert (one.seed, other.seed) == (1, 2), "and is written beside the parts"


@pytest.mark.parametrize("folds", [None, 5])
def test_patients_who_each_have_an_institution_of_their_own_are_drawn_by_the_seed(folds):
    cases = make_cases({f"{n:03d}": 1 for n in range(20)})
    tested = {
        tuple(make_split(cases, SplitSettings(seed=seed, folds=folds)).patients("test"))
        for seed in range(5)
    }
    assert len(tested) == 5


@pytest.mark.parametrize(
    "wanted", [SplitSettings(), SplitSettings("slice", seed=4), SplitSettings("all")]
)
def test_what_is_written_is_read_back(tmp_path, wanted):
    split = make_split(make_cases(PUBLIC), wanted)
    split.write(tmp_path / "split.json")
    assert Split.read(tmp_path / "split.json") == split


def write_split(path, **changed):
    """A split of three patients, whose parts or what else it says are changed."""
    parts = {"train": {"A": [0]}, "validation": {"B": [0]}, "test": {"C": [0]}}
    record = {"schema": 1, "by": "patient", "seed": 0, "parts": parts}
    for name, value in changed.items():
        (parts if name in parts else record)[name] = value
    path.write_text(json.dumps(record))
    return path


@pytest.mark.parametrize("index", [0.9, 1.0, "1", True, None, [1]])
def test_a_slice_that_is_no_whole_number_is_refused_and_never_corrected(tmp_path, index):
    path = write_split(tmp_path / "mine.json", train={"A": [0, index]})
    with pytest.raises(InputError, match=r"mine\.json: not a split file \(.*: expected a whole"):
        Split.read(path)


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "[]",
        '{"schema": 1, "by": "patient", "seed": 0}',
        '{"schema": 1, "by": "patient", "seed": 0, "parts": {"train": {}, "test": {}}}',
        '{"schema": 1, "by": "patient", "seed": 0, "parts": {"train": 3}}',
    ],
)
def test_a_file_that_is_no_split_is_refused_by_name(tmp_path, text):
    path = tmp_path / "mine.json"
    path.write_text(text)
    with pytest.raises(InputError, match=r"mine\.json: not a split file"):
        Split.read(path)


@pytest.mark.parametrize(
    "train", ['{"A": [0], "A": [1]}', '{"A": [0]}, "train": {"D": [0]}', "[" * 100_000]
)
def test_a_file_that_says_a_thing_twice_or_without_end_is_refused(tmp_path, train):
    """Of two entries of one name the last alone would count, and slices of the first be lost."""
    path = tmp_path / "mine.json"
    parts = f'{{"train": {train}, "validation": {{"B": [0]}}, "test": {{"C": [0]}}}}'
    path.write_text(f'{{"schema": 1, "by": "patient", "seed": 0, "parts": {parts}}}')
    with pytest.raises(InputError, match=r"/mine\.json: not a split file \(not JSON \("):
        Split.read(path)


def test_a_missing_file_is_refused_by_name(tmp_path):
    with pytest.raises(InputError, match=r"nowhere\.json: no such split file"):
        Split.read(tmp_path / "nowhere.json")


def test_a_file_that_the_disk_does_not_give_is_not_told_as_missing(tmp_path):
    path = tmp_path / "split.json"
    path.symlink_to("/proc/self/mem")
    with pytest.raises(InputError, match=r"split\.json: cannot be read \(Input/output error\)$"):
        Split.read(path)


def test_all_patients_train_where_the_split_is_by_all():
    split = make_split(make_cases({"A": 2}), SplitSettings("all"))
    assert [len(split.patients(part)) for part in PARTS] == [2, 0, 0]


@pytest.mark.parametrize(
    ("patients", "settings", "reason"),
    [
        (5, SplitSettings(), "5 patients leave nothing for validation; expected 6 or more"),
        (7, SplitSettings(folds=9, fold=8), "7 patients leave nothing for test; expected 9 or"),
        (1, SplitSettings("slice"), "5 slices leave nothing for validation and test; expected 6"),
    ],
)
def test_parts_that_would_be_empty_are_named_with_what_it_takes(patients, settings, reason):
    with pytest.raises(InputError, match=reason):
        make_split(make_cases({"A": patients}, slices=5), settings)


@pytest.mark.parametrize("by", ["patient", "slice"])
def test_six_patients_or_slices_can_be_split(by):
    cases = make_cases({"A": 6} if by == "patient" else {"A": 1}, slices=6)
    split = make_split(cases, SplitSettings(by))
    assert all(split.parts[part] for part in PARTS)


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"by": "slice", "folds": 5}, "--split-by slice"),
        ({"by": "all", "folds": 5}, "--split-by all"),
        ({"by": "scanner"}, "'scanner': expected patient, slice, all"),
        ({"folds": 1}, "fold 0 of 1"),
        ({"folds": 3, "fold": 3}, "fold 3 of 3"),
        ({"folds": 3, "fold": -1}, "fold -1 of 3"),
        ({"fold": 2}, "fold 2 without folds"),
        ({"fold": 0}, "fold 0 without folds"),
    ],
)
def test_impossible_settings_are_usage_errors(options, named):
    with pytest.raises(UsageError, match=named):
        SplitSettings(**options)


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"train": {"A": [0, 0]}}, "a slice of A stands twice in train"),
        ({"train": {"A": [0, -1]}}, r"not a split file \(slice below 0: A -1\)"),
        ({"test": {"C": [1], "D": []}}, "no slice of D is used"),
        ({"by": "all", "test": {}}, "by all, and not all slices train"),
        ({"by": "all", "validation": {}}, "by all, and not all slices train"),
        ({"schema": 2}, "expected split schema 1, found 2"),
        ({"schema": None}, "expected split schema 1, found None"),
        ({"seed": -1}, r"not a split file \(seed -1, expected 0 or more\)"),
        ({"by": "scanner"}, "split by 'scanner': expected patient, slice, all"),
    ],
)
def test_a_file_that_says_one_thing_and_holds_another_is_refused(tmp_path, changed, reason):
    path = write_split(tmp_path / "mine.json", **changed)
    with pytest.raises(InputError, match=rf"/mine\.json: {reason}$"):
        Split.read(path)


def test_by_slice_a_patient_may_stand_in_two_parts(tmp_path):
    parts = {"train": {"A": (0,)}, "validation": {"A": (1,)}, "test": {"A": (2,)}}
    split = Split("slice", 0, parts)
    split.write(tmp_path / "mine.json")
    assert Split.read(tmp_path / "mine.json") == split
