"""Getting the dataset: with stand-ins for kagglehub, never with a network."""

import sys
from types import SimpleNamespace

import pytest

from lgg_runtime.errors import MissingExtraError, NoInputError, ResourceError
from lgg_train.fetch import DATASET, fetch_dataset


@pytest.fixture
def stand_in(monkeypatch):
    """Puts a kagglehub in place whose download is the given function."""

    def put(download):
        monkeypatch.setitem(sys.modules, "kagglehub", SimpleNamespace(dataset_download=download))

    return put


def test_kagglehub_that_is_not_installed_is_named_with_both_ways_out(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "kagglehub", None)
    with pytest.raises(MissingExtraError) as refused:
        fetch_dataset(tmp_path / "data")
    assert "pip install 'lgg-edge[data]'" in str(refused.value)
    assert f"download the Kaggle dataset {DATASET} by hand" in str(refused.value)
    assert refused.value.exit_code == 6


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (ConnectionError("Temporary failure in name resolution\nlong trace"), "Temporary failure"),
        (TimeoutError(), "TimeoutError"),
        (ValueError("403 Forbidden"), "403 Forbidden"),
    ],
)
def test_a_failed_download_gives_one_line_with_the_remedy(tmp_path, stand_in, error, reason):
    def fail(_name):
        raise error

    stand_in(fail)
    with pytest.raises(NoInputError) as refused:
        fetch_dataset(tmp_path / "data")
    message = str(refused.value)
    assert message.startswith(f"the dataset cannot be fetched ({reason}")
    assert "DATA=phantom" in message
    assert "\n" not in message
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize("is_linked", [False, True])
def test_what_was_downloaded_is_linked(tmp_path, stand_in, is_linked):
    patient = tmp_path / "cache" / "v2" / "kaggle_3m" / "TCGA_CS_4941_19960909"
    patient.mkdir(parents=True)
    (patient.parents[1] / "lgg-mri-segmentation" / "kaggle_3m").mkdir(parents=True)
    asked = []
    stand_in(lambda name: asked.append(name) or str(tmp_path / "cache" / "v2"))
    out = tmp_path / "new" / "data"
    if is_linked:
        out.mkdir(parents=True)
        (out / "kaggle_3m").symlink_to(tmp_path / "cleared cache")
    assert fetch_dataset(out) == out / "kaggle_3m"
    assert (out / "kaggle_3m" / patient.name).is_dir()
    assert asked == [DATASET]


def test_what_is_there_already_is_not_downloaded_again(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "kagglehub", None)
    (tmp_path / "kaggle_3m").mkdir()
    assert fetch_dataset(tmp_path) == tmp_path / "kaggle_3m"


def test_a_download_of_something_else_is_refused(tmp_path, stand_in):
    (tmp_path / "cache" / "other").mkdir(parents=True)
    stand_in(lambda _name: str(tmp_path / "cache"))
    with pytest.raises(NoInputError, match="the download holds no kaggle_3m; download"):
        fetch_dataset(tmp_path / "data")
    assert not (tmp_path / "data").exists()


def test_a_link_that_cannot_be_made_is_named(tmp_path, stand_in):
    (tmp_path / "cache" / "kaggle_3m").mkdir(parents=True)
    stand_in(lambda _name: str(tmp_path / "cache"))
    (tmp_path / "kaggle_3m").write_bytes(b"a file")
    with pytest.raises(ResourceError, match="kaggle_3m: cannot be written"):
        fetch_dataset(tmp_path)
