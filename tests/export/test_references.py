"""Which patients an artifact is compared on, and on which ones int8's ranges are found."""

import shutil
from dataclasses import replace

import numpy as np
import pytest

from lgg_export import references
from lgg_export.references import choose_slices, open_calibration, open_references
from lgg_runtime.errors import InputError, NoInputError
from lgg_train.cases import find_cases, load_cases
from lgg_train.phantom import PhantomSettings
from lgg_train.prediction import Prediction
from lgg_train.run import CONFIG_FILE, SPLIT_FILE, read_json, write_json
from lgg_train.splits import SplitSettings, make_split
from lgg_train.trained import describe_training, load_model


@pytest.fixture
def run_on_all(finished_run, phantoms, tmp_path):
    """A run's folder and model whose split lets all patients train."""
    split = make_split(find_cases(phantoms), SplitSettings("all"))
    split.write(tmp_path / SPLIT_FILE)
    digests = {case.patient: case.digest for case in load_cases(find_cases(phantoms))}
    write_json(tmp_path / CONFIG_FILE, {"data": str(phantoms), "digests": digests})
    return tmp_path, replace(load_model(finished_run), training=describe_training(split, "0" * 64))


def patients_of(opened):
    subject, found = opened
    return subject, [reference.patient for reference in found]


def test_where_all_patients_trained_int8_is_judged_on_others_than_those_of_its_ranges(
    run_on_all, monkeypatch
):
    monkeypatch.setattr(references, "CALIBRATED_ON", 5)
    monkeypatch.setattr(references, "COMPARED_ON", 4)
    said, judged = patients_of(open_references(*run_on_all, None, is_int8=True))
    asked, ranged = patients_of(open_calibration(*run_on_all, None))
    assert (said, asked) == ("4 train patients", "5 train patients")
    assert not set(judged) & set(ranged)
    assert len(set(judged)) == 4 and len(set(ranged)) == 5


def test_the_patients_of_the_ranges_are_spread_over_all_that_trained(
    run_on_all, phantoms, monkeypatch
):
    names = sorted(case.patient for case in find_cases(phantoms))
    monkeypatch.setattr(references, "CALIBRATED_ON", 3)
    _, ranged = patients_of(open_calibration(*run_on_all, None))
    assert ranged == [names[0], names[len(names) // 3], names[2 * len(names) // 3]]


def test_without_data_int8_is_judged_on_other_phantoms_than_those_of_its_ranges(
    run_on_all, monkeypatch
):
    run, model = run_on_all
    write_json(run / CONFIG_FILE, read_json(run / CONFIG_FILE) | {"data": str(run / "gone")})
    monkeypatch.setattr(references, "PHANTOMS", PhantomSettings(patients=1, slices=3, size=64))
    (said, judged), (asked, ranged) = (
        open_it(run, model, None) for open_it in (open_references, open_calibration)
    )
    assert said == asked == "1 phantom patients, the dataset is not there"
    assert not np.array_equal(next(judged).slices, next(ranged).slices)


def test_phantoms_to_compare_on_are_others_than_those_that_one_trains_on():
    seeds = {references.PHANTOMS.seed, references.PHANTOMS.seed + 1}
    assert PhantomSettings().seed not in seeds


def test_data_that_may_not_be_looked_for_are_no_reason_to_take_phantoms(run_on_all):
    run, model = run_on_all
    config = read_json(run / CONFIG_FILE)
    write_json(run / CONFIG_FILE, config | {"data": str(run / ("n" * 300))})
    for open_it in (open_references, open_calibration):
        with pytest.raises(NoInputError, match=r"n: cannot be read \(File name too long\)$"):
            open_it(run, model, None)


def test_data_that_are_named_and_not_there_are_no_reason_to_take_phantoms(run_on_all, tmp_path):
    for open_it in (open_references, open_calibration):
        with pytest.raises(NoInputError, match="gone: no such folder"):
            open_it(*run_on_all, tmp_path / "gone")


def test_too_few_patients_to_tell_both_apart_are_told(run_on_all, phantoms):
    assert (references.CALIBRATED_ON, references.COMPARED_ON) == (12, 10)
    total = len(find_cases(phantoms))
    assert total <= references.CALIBRATED_ON
    said, judged = patients_of(open_references(*run_on_all, None, is_int8=True))
    assert said == f"{len(judged)} train patients, int8's ranges are of them too"
    said, judged = patients_of(open_references(*run_on_all, None))
    assert said == f"{len(judged)} train patients"
    assert len(judged) == min(total, references.COMPARED_ON)


def test_other_data_under_the_same_names_are_refused(run_on_all, phantoms):
    run, model = run_on_all
    config = read_json(run / CONFIG_FILE)
    name = min(config["digests"])
    config["digests"][name] = "0" * 64
    write_json(run / CONFIG_FILE, config)
    with pytest.raises(InputError, match=f"trained on other data: {name} differ"):
        patients_of(open_references(run, model, phantoms))


def test_a_patient_who_is_gone_from_the_data_is_named(run_on_all, phantoms, tmp_path):
    fewer = shutil.copytree(phantoms, tmp_path / "fewer")
    gone = find_cases(fewer)[0]
    shutil.rmtree(gone.slices[0].parent)
    for open_it in (open_references, open_calibration):
        with pytest.raises(InputError, match=f"slices that the split names of {gone.patient}$"):
            open_it(*run_on_all, fewer)


@pytest.mark.parametrize("config", [{}, {"digests": None}])
def test_a_run_that_recorded_no_digests_is_told(run_on_all, phantoms, config):
    run, model = run_on_all
    write_json(run / CONFIG_FILE, config)
    with pytest.raises(InputError, match=r"config\.json: holds no digests of a run; train it"):
        patients_of(open_references(run, model, phantoms))


@pytest.mark.parametrize(
    ("config", "reason"), [({}, "holds no data"), ([], "not what"), ({"data": 5}, "holds no data")]
)
def test_a_run_that_did_not_record_where_its_data_are_is_told(run_on_all, config, reason):
    run, model = run_on_all
    write_json(run / CONFIG_FILE, config)
    with pytest.raises(InputError, match=rf"config\.json: {reason}.*train it again"):
        open_references(run, model, None)


def test_slices_of_another_part_do_not_count(finished_run, phantoms, tmp_path):
    split = make_split(find_cases(phantoms), SplitSettings("slice"))
    split.write(tmp_path / SPLIT_FILE)
    write_json(tmp_path / CONFIG_FILE, read_json(finished_run / CONFIG_FILE))
    model = replace(load_model(finished_run), training=describe_training(split, "0" * 64))
    _, found = open_references(tmp_path, model, phantoms, "test")
    counted = {reference.patient: reference.used for reference in found}
    assert counted == split.parts["test"]
    _, ranged = open_calibration(tmp_path, model, phantoms)
    for reference in ranged:
        chosen = choose_slices(reference, 99)
        assert len(chosen.slices) == len(split.parts["train"][reference.patient])


def test_a_chosen_slice_comes_with_its_own_probability_and_head():
    number = np.arange(5)[:, None, None] * np.ones((5, 4, 16), np.float32)
    slices = np.repeat(number[..., None], 3, axis=-1).astype(np.uint8)
    truth = number == 2
    patient = Prediction("A", slices, number, truth, (1, 2, 4), number > 2)
    chosen = choose_slices(patient, 2)
    assert chosen.slices[:, 0, 0, 0].tolist() == chosen.probability[:, 0, 0].tolist() == [2, 4]
    assert chosen.head[:, 0, 0].tolist() == [False, True]
    assert (chosen.truth[:, 0, 0].tolist(), chosen.used) == ([True, False], (0, 1))


@pytest.mark.parametrize("slices", [16, 17, 24, 31, 47, 60])
def test_the_chosen_slices_go_from_the_largest_tumour_to_none(slices):
    truth = np.zeros((slices, 4, 16), bool)
    for index in range(slices):
        truth[index].flat[: index + 1 - slices // 3] = index >= slices // 3
    pixels = np.arange(slices, dtype=np.uint8)[:, None, None, None] * np.ones((1, 4, 16, 3), "u1")
    patient = Prediction("A", pixels, truth * 1.0, truth, tuple(range(slices)), truth)
    chosen = choose_slices(patient, 16)
    areas = chosen.truth.sum(axis=(1, 2))
    assert len(areas) == len(np.unique(chosen.slices[:, 0, 0, 0])) == 16
    assert areas[0] == truth.sum(axis=(1, 2)).max() and areas[-1] == 0
    assert (np.diff(areas) <= 0).all()
    assert (areas == 0).mean() == pytest.approx(1 / 3, abs=0.1)
