"""Checkpoints: whole or not at all, and nothing in them is ever run."""

import errno
import os
import pickle
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import torch

from lgg_runtime.errors import InputError, ResourceError
from lgg_train.checkpoint import SCHEMA, load_checkpoint, save_checkpoint

STATE = {
    "weights": {"a": torch.arange(6.0).reshape(2, 3), "steps": torch.tensor(3)},
    "counters": {"step": 7, "seconds": 1.5},
    "history": [{"loss": 0.25}],
}


class Intruder:
    """Unpickling it would make a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def test_what_is_saved_is_loaded(tmp_path):
    save_checkpoint(tmp_path / "last.pt", STATE)
    held = load_checkpoint(tmp_path / "last.pt")
    assert held["schema"] == SCHEMA
    assert held["counters"] == STATE["counters"]
    assert held["history"] == STATE["history"]
    for name, tensor in STATE["weights"].items():
        assert torch.equal(held["weights"][name], tensor)
        assert held["weights"][name].dtype == tensor.dtype
    assert [path.name for path in tmp_path.iterdir()] == ["last.pt"]


STOPPED = """if True:
    import contextlib, sys, torch
    from pathlib import Path
    from lgg_runtime.terminal import Terminated
    from lgg_train.checkpoint import save_checkpoint

    def stop(frame, event, _):
        of = (event, frame.f_code.co_name, frame.f_code.co_filename)
        if of == ("call", "__exit__", torch.serialization.__file__):
            sys.setprofile(None)
            raise Terminated

    sys.setprofile(stop)
    with contextlib.suppress(Terminated):
        save_checkpoint(Path(sys.argv[1]), {"counters": {"step": 8}})
        sys.exit("went on")
"""


def test_a_signal_as_pytorch_ends_its_writing_is_no_abort_and_keeps_the_old_checkpoint(tmp_path):
    path = tmp_path / "last.pt"
    save_checkpoint(path, STATE)
    before = path.read_bytes()
    subprocess.run([sys.executable, "-c", STOPPED, path], check=True, timeout=120)
    assert path.read_bytes() == before
    assert [found.name for found in tmp_path.iterdir()] == ["last.pt"]


def test_a_disk_that_is_full_in_the_midst_of_a_checkpoint_is_told_as_full(small_disk):
    path = small_disk(256 * 1024) / "last.pt"
    save_checkpoint(path, STATE)
    before = path.read_bytes()
    with pytest.raises(ResourceError, match=r"^last\.pt: the disk is full; free some space$"):
        save_checkpoint(path, {f"layer {n}": torch.zeros(20_000) for n in range(8)})
    assert path.read_bytes() == before
    assert [found.name for found in path.parent.iterdir()] == ["last.pt"]


def test_a_folder_that_is_not_there_is_a_resource_error(tmp_path):
    with pytest.raises(ResourceError, match=r"last\.pt: cannot be written"):
        save_checkpoint(tmp_path / "nowhere" / "last.pt", STATE)


@pytest.mark.parametrize("zipped", [True, False])
def test_pickled_code_is_refused_and_not_run(tmp_path, zipped):
    made = tmp_path / "made"
    path = tmp_path / "evil.pt"
    torch.save(
        {"schema": SCHEMA, "weights": Intruder(made)}, path, _use_new_zipfile_serialization=zipped
    )
    torch.load(path, weights_only=False)
    assert made.exists(), "the trap works where code is run"
    made.unlink()
    with pytest.raises(InputError, match=r"evil\.pt: not a checkpoint of tensors"):
        load_checkpoint(path)
    assert not made.exists()


def test_plain_pickle_is_refused_and_not_run(tmp_path):
    made = tmp_path / "made"
    path = tmp_path / "evil.pt"
    path.write_bytes(pickle.dumps({"schema": SCHEMA, "weights": Intruder(made)}))
    with pytest.raises(InputError, match=r"evil\.pt: not a checkpoint of tensors"):
        load_checkpoint(path)
    assert not made.exists()


@pytest.mark.parametrize(
    "held",
    [{"schema": SCHEMA + 1}, {"schema": torch.ones(2)}, {"weights": {}}, [1, 2], torch.zeros(3)],
)
def test_another_schema_is_refused(tmp_path, held):
    torch.save(held, tmp_path / "other.pt")
    with pytest.raises(InputError, match=rf"other\.pt: expected checkpoint schema {SCHEMA}, found"):
        load_checkpoint(tmp_path / "other.pt")


@pytest.mark.parametrize(
    ("place", "told"),
    [
        ("schema", "expected checkpoint schema 1, found list"),
        ("history", "more than 1000000 values"),
    ],
)
def test_lists_that_hold_one_list_again_and_again_are_not_written_out(tmp_path, place, told):
    """A file of a kilobyte, whose JSON would have a million million values."""
    doubled = []
    for _ in range(40):
        doubled = [doubled, doubled]
    torch.save({"schema": SCHEMA, **STATE, place: doubled}, tmp_path / "last.pt")
    with pytest.raises(InputError, match=rf"last\.pt: .*{told}"):
        load_checkpoint(tmp_path / "last.pt")


@pytest.mark.parametrize(
    "other",
    [
        {"counters": {"step": torch.tensor(7), "seconds": 1.5}},
        {"history": [{"loss": torch.zeros(2)}]},
        {"history": torch.zeros(2)},
        {"counters": {torch.tensor(7): 7}},
    ],
)
def test_what_stands_in_the_place_of_a_plain_value_is_refused(tmp_path, other):
    path = tmp_path / "last.pt"
    save_checkpoint(path, STATE | other)
    with pytest.raises(InputError, match=r"last\.pt: not a checkpoint of this version \("):
        load_checkpoint(path)


def test_a_truncated_file_is_refused_wherever_it_ends(tmp_path):
    path = tmp_path / "last.pt"
    save_checkpoint(path, STATE)
    whole = path.read_bytes()
    for length in range(0, len(whole), 97):
        path.write_bytes(whole[:length])
        with pytest.raises(InputError, match=r"last\.pt: not a checkpoint of tensors"):
            load_checkpoint(path)


def test_damaged_bytes_give_tensors_or_one_error(tmp_path):
    path = tmp_path / "last.pt"
    save_checkpoint(path, STATE)
    whole = path.read_bytes()
    refused = 0
    for position in range(0, len(whole), 13):
        path.write_bytes(whole[:position] + bytes([whole[position] ^ 0x55]) + whole[position + 1 :])
        try:
            assert load_checkpoint(path)["schema"] == SCHEMA
        except InputError:
            refused += 1
    assert refused > 10


def test_files_of_other_kinds_are_refused(tmp_path):
    path = tmp_path / "other.pt"
    kinds = [
        b"",
        b"hello, this is text\n",
        b"\x80\x02",
        bytes(range(256)) * 4,
        b"\x89PNG\r\n\x1a\n",
    ]
    for content in kinds:
        path.write_bytes(content)
        with pytest.raises(InputError, match=r"other\.pt: not a checkpoint of tensors"):
            load_checkpoint(path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.txt", "no tensors")
    with pytest.raises(InputError, match=r"other\.pt: not a checkpoint of tensors"):
        load_checkpoint(path)


def test_a_missing_file_or_a_folder_is_refused_by_name(tmp_path):
    with pytest.raises(InputError, match=r"nowhere\.pt: no such checkpoint"):
        load_checkpoint(tmp_path / "nowhere.pt")
    with pytest.raises(InputError, match=r"cannot be read \(Is a directory\)$"):
        load_checkpoint(tmp_path)


def test_a_file_that_cannot_be_read_is_told_as_that(tmp_path):
    path = tmp_path / "last.pt"
    path.symlink_to(path)
    with pytest.raises(InputError, match=r"last\.pt: cannot be read \(Too many levels of symb"):
        load_checkpoint(path)


def test_a_disk_that_fails_while_a_checkpoint_is_read_is_no_damage(tmp_path, monkeypatch):
    def refuse(*_, **__):
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    save_checkpoint(tmp_path / "last.pt", {})
    monkeypatch.setattr(torch, "load", refuse)
    with pytest.raises(InputError, match=r"last\.pt: cannot be read: Input/output error$"):
        load_checkpoint(tmp_path / "last.pt")


def test_memory_that_does_not_suffice_is_no_damage(tmp_path):
    path = tmp_path / "last.pt"
    save_checkpoint(path, {"weights": torch.zeros(1 << 26)})
    code = (
        "import resource, sys\nfrom pathlib import Path\n"
        "from lgg_runtime.errors import OutOfMemoryError\n"
        "from lgg_train.checkpoint import load_checkpoint\n"
        "pages = int(Path('/proc/self/statm').read_text().split()[0])\n"
        "most = pages * resource.getpagesize() + (1 << 27)\n"
        "resource.setrlimit(resource.RLIMIT_AS, (most, most))\n"
        "try:\n    load_checkpoint(Path(sys.argv[1]))\n"
        "except OutOfMemoryError as error:\n    print(error)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, path], capture_output=True, text=True, check=True
    )
    assert done.stdout == "the memory does not suffice; free some\n", done.stderr


def test_the_reason_is_one_line(tmp_path):
    (tmp_path / "last.pt").write_bytes(b"no")
    with pytest.raises(InputError) as refused:
        load_checkpoint(tmp_path / "last.pt")
    assert "\n" not in str(refused.value)
