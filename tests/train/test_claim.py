"""A run's folder belongs to one training at a time, from its first file to its last."""

import pytest

from lgg_runtime.errors import InputError, OutputConflictError, UsageError
from lgg_train.claim import check_unclaimed, claim, require_checkpoint, require_no_run
from stand_ins.run_folder import BRIEF, LEAST, contents, read_config

WAIT = "another run is writing there; wait for its end or take another folder"
FOLDS = ("--folds", "2", "--epochs", "0.3", "--validations", "1", *LEAST)


def test_a_folder_that_is_claimed_is_refused_until_it_is_free(tmp_path):
    folder = tmp_path / "of" / "a_run"
    check_unclaimed(folder)
    with claim(folder):
        with pytest.raises(OutputConflictError, match=WAIT):
            check_unclaimed(folder)
        with pytest.raises(OutputConflictError, match=WAIT), claim(folder):
            pytest.fail("the second training got in")
    check_unclaimed(folder)


def test_asking_whether_a_folder_is_claimed_leaves_nothing_in_it(tmp_path):
    check_unclaimed(tmp_path)
    check_unclaimed(tmp_path / "gone")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("require", [require_checkpoint, require_no_run])
def test_a_checkpoint_that_the_disk_does_not_give_a_look_at_is_neither_there_nor_gone(
    tmp_path, require
):
    (tmp_path / "last.pt").symlink_to("n" * 300)
    with pytest.raises(InputError, match=r"cannot be read \(File name too long\)$"):
        require(tmp_path)


@pytest.mark.parametrize("name", ["last.pt", "model.pt"])
def test_a_folder_in_the_place_of_what_a_training_writes_is_told_before_it(tmp_path, name):
    (tmp_path / name).mkdir()
    with pytest.raises(UsageError, match=r"another folder( begins anew)?$"):
        require_no_run(tmp_path)


@pytest.mark.parametrize("more", [(), ("--resume",)], ids=["anew", "resumed"])
def test_a_second_training_is_refused_while_the_first_has_written_no_checkpoint(
    tmp_path, train_tiny, monkeypatch, more
):
    told = []

    def train_beside(*_):
        """At work in place of the loop; the second call comes now."""
        assert not (out / "last.pt").exists()
        before = contents(out)
        with pytest.raises(OutputConflictError, match=WAIT):
            train_tiny(out, *BRIEF, *more)
        assert contents(out) == before
        told.append(out)
        raise KeyError

    out = tmp_path / "run"
    monkeypatch.setattr("lgg_train.session.train", train_beside)
    with pytest.raises(KeyError):
        train_tiny(out, *BRIEF)
    assert told == [out]


def test_a_training_that_ended_while_the_data_were_read_is_not_written_over(
    tmp_path, phantoms, call_main, train_tiny, monkeypatch
):
    from lgg_train import beginning

    real, out = beginning.load_cases, tmp_path / "run"

    def read_slowly(*given):
        monkeypatch.setattr(beginning, "load_cases", real)
        train_tiny(out, "--epochs", "0.1")
        return real(*given)

    monkeypatch.setattr(beginning, "load_cases", read_slowly)
    done = call_main("train", "--data", str(phantoms), "-o", str(out), *BRIEF, "--seed", "3")
    assert done.code == 2
    assert "holds a run already" in done.err
    assert read_config(out)["options"]["epochs"] == 0.1


@pytest.mark.parametrize("held", ["", "fold_1"])
def test_a_cross_validation_waits_for_no_other_one_nor_for_a_fold_s_run(
    tmp_path, phantoms, call_main, held
):
    with claim(tmp_path / "cv" / held):
        done = call_main("cv", "--data", str(phantoms), "-o", str(tmp_path / "cv"), *FOLDS)
    assert done.code == 8
    assert done.err == f"lgg-train: {tmp_path / 'cv' / held}: {WAIT}\n"
    assert not (tmp_path / "cv" / "fold_0").exists()


def test_a_cross_validation_holds_its_folder(tmp_path, phantoms, call_main, monkeypatch):
    told = []

    def run_training(_data, folder, _request):
        told.append(folder.name)
        with pytest.raises(OutputConflictError, match=WAIT):
            check_unclaimed(tmp_path / "cv")
        raise KeyboardInterrupt

    monkeypatch.setattr("lgg_train.crossval.run_training", run_training)
    done = call_main("cv", "--data", str(phantoms), "-o", str(tmp_path / "cv"), *FOLDS)
    assert (done.code, told) == (130, ["fold_0"])
    check_unclaimed(tmp_path / "cv")


def test_a_run_begun_beside_a_cross_validation_is_not_taken_for_its_fold(
    tmp_path, phantoms, call_main, train_tiny, monkeypatch
):
    def run_beside(_data, folder, _request):
        assert folder.name == "fold_0"
        train_tiny(tmp_path / "cv" / "fold_1", "--epochs", "0.1", "--seed", "3")

    monkeypatch.setattr("lgg_train.crossval.run_training", run_beside)
    monkeypatch.setattr("lgg_train.crossval.run_evaluation", lambda *_: None)
    done = call_main("cv", "--data", str(phantoms), "-o", str(tmp_path / "cv"), *FOLDS)
    assert done.code == 8
    assert "fold_1: another run was begun there meanwhile" in done.err
