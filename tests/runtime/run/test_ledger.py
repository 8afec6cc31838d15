"""The journal of finished studies: what it proves, and what a damaged one still does."""

from __future__ import annotations

import errno
import hashlib
import os
from dataclasses import asdict, replace
from pathlib import Path
from typing import NoReturn

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lgg_runtime.errors import OutputConflictError, ResourceError
from lgg_runtime.metrics import Counts
from lgg_runtime.run import ledger as ledger_module
from lgg_runtime.run.journal import DONE, InputRecord
from lgg_runtime.run.ledger import (
    JOURNAL_FILE,
    digest_inputs,
    open_ledger,
    stamp_inputs,
)
from lgg_runtime.run.ledger_lines import SCHEMA, Finished, ParsedLines, encode_line, parse_lines
from lgg_runtime.run.summary import summarise_volume
from lgg_runtime.volume import Segmentation

RUN = {"model": "a" * 64, "outputs": ("mask",), "threshold": 0.5}
MASK = b"the mask"


def finished(name: str = "a", inputs: dict[str, str] | None = None) -> Finished:
    mask = np.ones((1, 2, 3), bool)
    result = Segmentation(mask, np.full(mask.shape, 1 / 3, np.float32), 0.3, (1.1, 1.2, 1.3))
    return Finished(
        name,
        inputs or {f"{name}_1.png": "1" * 64},
        {f"{name}_1_mask.png": hashlib.sha256(MASK).hexdigest()},
        (InputRecord(f"{name}_1.png", DONE, "", ("a note",), (f"{name}_1_mask.png",)),),
        tuple(summarise_volume(name, [f"{name}_1"], result, [Counts(1, 2, 3, 4)])),
    )


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """An output folder whose journal holds studies a and b."""
    with open_ledger(tmp_path, RUN, resume=False) as ledger:
        for name in "ab":
            (tmp_path / f"{name}_1_mask.png").write_bytes(MASK)
            ledger.append(finished(name))
    return tmp_path


def held(folder: Path) -> list[str]:
    """Names of the studies that a resumed run finds proven."""
    with open_ledger(folder, RUN, resume=True) as ledger:
        return [n for n in "abc" if ledger.find(n, finished(n).inputs) == finished(n)]


def test_a_finished_study_is_found_again_with_the_same_numbers(out: Path) -> None:
    assert held(out) == ["a", "b"]


def test_a_resumed_run_adds_its_lines(out: Path) -> None:
    with open_ledger(out, RUN, resume=True) as ledger:
        (out / "c_1_mask.png").write_bytes(MASK)
        ledger.append(finished("c"))
    assert held(out) == ["a", "b", "c"]


def test_a_new_run_begins_the_journal_anew(out: Path) -> None:
    with open_ledger(out, RUN, resume=False) as ledger:
        assert ledger.find("a", finished("a").inputs) is None
    assert held(out) == []


@pytest.mark.parametrize("damage", ["gone", "changed", "a folder"])
def test_an_output_that_is_not_the_one_written_proves_nothing(out: Path, damage: str) -> None:
    mask = out / "a_1_mask.png"
    mask.unlink()
    if damage == "changed":
        mask.write_bytes(b"The mask")
    elif damage == "a folder":
        mask.mkdir()
    assert held(out) == ["b"]


@pytest.mark.parametrize(
    "inputs", [{}, {"a_1.png": "2" * 64}, {"a_1.png": "1" * 64, "a_2.png": "1" * 64}]
)
def test_other_inputs_are_not_those_of_the_journal(out: Path, inputs: dict[str, str]) -> None:
    with open_ledger(out, RUN, resume=True) as ledger:
        assert ledger.find("a", inputs) is None


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"model": "b" * 64}, f"model was {'a' * 64}, now it is {'b' * 64}"),
        ({"threshold": 0.25}, "threshold was 0.5, now it is 0.25"),
        ({"batch": 4}, "batch was none, now it is 4"),
        (
            {"first_look": {"name": "tiny", "least_sign": 0.02}},
            "first_look was none, now it is name tiny least_sign 0.02;",
        ),
    ],
)
def test_another_run_is_refused_and_its_journal_kept(
    out: Path, change: dict[str, object], named: str
) -> None:
    before = (out / JOURNAL_FILE).read_bytes()
    with (
        pytest.raises(OutputConflictError, match=named),
        open_ledger(out, RUN | change, resume=True),
    ):
        pytest.fail("went on with another run")
    assert (out / JOURNAL_FILE).read_bytes() == before


def test_a_run_without_an_option_of_then_is_refused(out: Path) -> None:
    now = {name: value for name, value in RUN.items() if name != "threshold"}
    with (
        pytest.raises(OutputConflictError, match=r"threshold was 0\.5, now it is none"),
        open_ledger(out, now, resume=True),
    ):
        pytest.fail("went on with another run")


def test_a_study_that_is_not_proven_is_not_taken_over(out: Path) -> None:
    """Its inputs cannot be read again, so that nothing is known of them now either."""
    with open_ledger(out, RUN, resume=True) as ledger:
        ledger.append(replace(finished("c"), inputs={}, outputs={}))
    with open_ledger(out, RUN, resume=True) as ledger:
        assert ledger.find("c", {}) is None


def test_a_journal_of_another_schema_is_refused(out: Path) -> None:
    (out / JOURNAL_FILE).write_bytes(encode_line({"schema": 2, "run": RUN}))
    with (
        pytest.raises(OutputConflictError, match="expected schema 4, found 2"),
        open_ledger(out, RUN, resume=True),
    ):
        pytest.fail("read another schema")


def test_what_a_run_of_another_schema_left_is_told(out: Path) -> None:
    """Its lines lack what was added since, which a line of this one may not."""
    value = asdict(finished())
    for row in value["rows"]:
        del row["aspect"]
    lines = {n: encode_line({"schema": n, "run": RUN}) + encode_line(value) for n in (3, SCHEMA)}
    assert parse_lines(lines[SCHEMA]).finished == ()
    (out / JOURNAL_FILE).write_bytes(lines[3])
    with open_ledger(out, RUN, resume=False) as ledger:
        assert ledger.find_stale(()) == tuple(finished().outputs)


def test_a_journal_cut_anywhere_proves_its_whole_lines(out: Path) -> None:
    whole = (out / JOURNAL_FILE).read_bytes()
    ends = [index + 1 for index, byte in enumerate(whole) if byte == ord("\n")]
    for length in range(len(whole) + 1):
        parsed = parse_lines(whole[:length])
        lines = sum(end <= length for end in ends)
        assert parsed.whole_bytes == max([0, *(end for end in ends if end <= length)])
        assert (parsed.header is not None) == (lines > 0)
        assert parsed.finished == tuple(map(finished, "ab"))[: max(lines - 1, 0)]


def test_what_follows_a_torn_line_is_cut_off_and_the_next_lines_count(out: Path) -> None:
    path = out / JOURNAL_FILE
    whole = path.read_bytes()
    path.write_bytes(whole[:-7])
    with open_ledger(out, RUN, resume=True) as ledger:
        assert ledger.find("b", finished("b").inputs) is None
        ledger.append(finished("b"))
    assert path.read_bytes() == whole


def test_a_changed_byte_is_noticed_wherever_it_is(out: Path) -> None:
    whole = (out / JOURNAL_FILE).read_bytes()
    expected = parse_lines(whole)
    for index in range(0, len(whole), 3):
        changed = bytearray(whole)
        changed[index] ^= 1
        parsed = parse_lines(bytes(changed))
        assert parsed.whole_bytes <= index
        assert parsed.finished == expected.finished[: len(parsed.finished)]


@given(st.binary(max_size=200))
def test_any_bytes_prove_nothing(data: bytes) -> None:
    assert parse_lines(data) == ParsedLines(None, (), 0)


VALUE = asdict(finished())


@pytest.mark.parametrize(
    "value",
    [
        {},
        VALUE | {"more": 1},
        VALUE | {"study": 1},
        VALUE | {"inputs": {"a": 1}},
        VALUE | {"inputs": []},
        VALUE | {"outputs": {"../a": "1"}},
        VALUE | {"outputs": {"/etc/passwd": "1"}},
        VALUE | {"records": None},
        VALUE | {"records": [{"name": "a"}]},
        VALUE | {"rows": [VALUE["rows"][0] | {"area_px": True}]},
        VALUE | {"rows": [VALUE["rows"][0] | {"volume_ml": "1"}]},
        VALUE | {"rows": [VALUE["rows"][0] | {"counts": {"tp": 1}}]},
    ],
)
def test_a_line_of_another_form_proves_nothing(value: dict[str, object]) -> None:
    header = encode_line({"schema": SCHEMA, "run": {}})
    good = encode_line(VALUE)
    assert parse_lines(header + good).finished == (finished(),)
    assert parse_lines(header + encode_line(value) + good).finished == ()


@given(st.text(), st.floats(allow_nan=False))
def test_any_name_and_number_come_back(name: str, number: float) -> None:
    value = VALUE | {"study": name, "rows": [VALUE["rows"][0] | {"max_probability": number}]}
    header = encode_line({"schema": SCHEMA, "run": {}})
    (entry,) = parse_lines(header + encode_line(value)).finished
    assert (entry.study, entry.rows[0].max_probability) == (name, number)


def test_digests_are_those_of_the_bytes(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "a.png"
    path.parent.mkdir()
    path.write_bytes(b"abc")
    known = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"  # FIPS 180-2, B.1
    assert digest_inputs([path], tmp_path) == {"deep/a.png": known}
    assert digest_inputs([path, tmp_path / "gone.png"], tmp_path) == {}
    assert digest_inputs([], tmp_path) == {}
    uid = tmp_path / "MR.2.25.1001435798133328161.dcm"
    uid.write_bytes(path.read_bytes())
    (name,) = digest_inputs([uid], tmp_path)
    assert name.startswith("MR.uid-") and "1001435798133328161" not in name


@pytest.mark.parametrize("earlier", [["/etc/passwd"], ["a/../../b"], 5, [1], None, "a"])
def test_a_header_that_names_what_is_not_below_the_folder_is_none(earlier: object) -> None:
    header = encode_line({"schema": SCHEMA, "run": {}, "earlier": earlier})
    line = encode_line(asdict(finished()))
    assert parse_lines(header + line) == ParsedLines(None, (), 0)


@pytest.mark.parametrize("header", [{"schema": SCHEMA}, {"schema": SCHEMA, "run": {}, "more": 1}])
def test_a_header_of_another_form_is_none(header: dict[str, object]) -> None:
    line = encode_line(asdict(finished()))
    assert parse_lines(encode_line(header) + line) == ParsedLines(None, (), 0)


def test_two_files_whose_names_differ_in_uids_of_one_short_digest_prove_nothing(
    tmp_path: Path,
) -> None:
    files = [tmp_path / f"1.2.840.1.{number}.dcm" for number in (9819, 35674)]
    for path in files:
        path.write_bytes(b"image")
    assert digest_inputs(files[:1], tmp_path).keys() == {"uid-9fcec01b.dcm"}
    assert digest_inputs(files, tmp_path) == {}


def test_lines_are_on_the_disk_after_a_second_and_at_the_end(
    out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[int] = []
    now = [0.0]
    monkeypatch.setattr(ledger_module.time, "monotonic", lambda: now[0])
    with open_ledger(out, RUN, resume=False) as ledger:
        monkeypatch.setattr(ledger_module.os, "fsync", synced.append)
        ledger.append(finished("a"))
        assert not synced
        now[0] = ledger_module.SYNC_EVERY_S
        ledger.append(finished("b"))
        assert len(synced) == 1
        ledger.append(finished("c"))
        assert len(synced) == 1
    assert len(synced) == 2


def test_a_share_that_is_gone_is_told_as_such_and_not_as_another_run(
    out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As of sshfs whose server is gone: even to close a file is refused."""
    close = os.close

    def refuse(*_given: object) -> NoReturn:
        raise OSError(errno.ENOTCONN, os.strerror(errno.ENOTCONN))

    def close_and_refuse(handle: int) -> None:
        close(handle)
        refuse()

    told = f"journal.jsonl: cannot be written: {os.strerror(errno.ENOTCONN)}"
    with (
        monkeypatch.context() as patch,
        pytest.raises(ResourceError, match=told),
        open_ledger(out, RUN, resume=False) as ledger,
    ):
        for name in ("fsync", "fstat"):
            patch.setattr(ledger_module.os, name, refuse)
        patch.setattr(ledger_module.os, "close", close_and_refuse)
        with pytest.raises(ResourceError, match=told):
            ledger.require_held()


def test_a_file_that_is_written_again_has_another_stamp(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"abc")
    before = stamp_inputs([path])
    assert stamp_inputs([path]) == before
    os.utime(path, ns=(0, 12345))
    assert stamp_inputs([path]) != before
    path.unlink()
    assert stamp_inputs([path]) == ()


def test_another_file_of_the_same_size_and_time_has_another_stamp(tmp_path: Path) -> None:
    path, other = tmp_path / "a", tmp_path / "b"
    path.write_bytes(b"abc")
    other.write_bytes(b"ABC")
    before = stamp_inputs([path])
    os.utime(other, ns=(path.stat().st_atime_ns, path.stat().st_mtime_ns))
    other.replace(path)
    assert stamp_inputs([path]) != before


def test_a_file_that_has_grown_has_another_stamp_whatever_its_time(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"abc")
    before = stamp_inputs([path])
    status = path.stat()
    path.write_bytes(b"abcd")
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert stamp_inputs([path]) != before
