"""Where results may go: folders and names are what the disk takes them for, not their text."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from itertools import combinations
from pathlib import Path

import pytest

from lgg_runtime.readers.folder import list_studies
from lgg_runtime.run import destination
from lgg_runtime.writers.atomic import make_folder
from stand_ins.runs import Draw, Infer, Write, files


@pytest.fixture
def second_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[Path], Path]:
    """Another name of a folder, as where it is mounted twice: a link that no path can tell."""
    monkeypatch.setattr("os.path.realpath", lambda path, **_: str(Path(path).absolute()))

    def name(folder: Path) -> Path:
        other = tmp_path / "mounted"
        other.symlink_to(folder, target_is_directory=True)
        return other

    return name


@pytest.mark.parametrize("below", [".", "a", "new"])
def test_an_input_that_is_mounted_a_second_time_takes_no_output(
    source: Path, artifact: Path, call_infer: Infer, second_name: Callable[[Path], Path], below: str
) -> None:
    (source / "a" / "a_2_mask.png").write_bytes(b"the reference")
    before = files(source)
    result = call_infer(source, "-o", second_name(source) / below, "-m", artifact)
    assert (result.code, files(source)) == (2, before)
    assert "lies inside the input" in result.err
    assert (source / "a" / "a_2_mask.png").read_bytes() == b"the reference"


def test_nor_does_a_folder_of_it_that_is_mounted_by_itself(
    source: Path, artifact: Path, call_infer: Infer, second_name: Callable[[Path], Path]
) -> None:
    before = files(source)
    result = call_infer(source, "-o", second_name(source / "a"), "-m", artifact)
    assert (result.code, files(source)) == (2, before)
    assert "would lie inside the input" in result.err


def test_nor_does_the_folder_of_a_single_slice(
    source: Path, artifact: Path, call_infer: Infer, second_name: Callable[[Path], Path]
) -> None:
    before = files(source)
    result = call_infer(source / "a" / "a_2.png", "-o", second_name(source / "a"), "-m", artifact)
    assert (result.code, files(source)) == (2, before)


def test_a_folder_above_many_results_is_looked_at_once(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    below = Path(*map(str, range(30)))
    for patient in range(20):
        copy = source / below / f"patient{patient}" / "a_1.png"
        copy.parent.mkdir(parents=True)
        copy.hardlink_to(source / "a" / "a_1.png")
    looked: Counter[Path] = Counter()
    identify = destination._identify

    def count_and_identify(folder: Path) -> tuple[int, int] | None:
        looked[folder] += 1
        return identify(folder)

    monkeypatch.setattr(destination, "_identify", count_and_identify)
    shared = tmp_path / "results" / below
    destination.check_places(tmp_path / "results", source, list_studies(source))
    assert {looked[folder] for folder in (shared, *shared.parents)} == {1}


@pytest.fixture
def takes_for_one(monkeypatch: pytest.MonkeyPatch) -> set[frozenset[str]]:
    """The disk of the output takes A for a, as those of Windows, macOS and USB sticks do, and a
    folder called `a.` for `a`, as FAT does. Of pairs that are put into it, it takes these alone.
    """
    pairs: set[frozenset[str]] = set()

    def find(_output: Path, doubted: Iterable[Sequence[str]]) -> tuple[str, str] | None:
        two = (pair for names in doubted for pair in combinations(names, 2))
        return next((pair for pair in two if not pairs or frozenset(pair) in pairs), None)

    monkeypatch.setattr("lgg_runtime.run.destination._find_taken_for_one", find)
    return pairs


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Q_1", "q_1"),
        ("a/q_1", "A/q_1"),
        ("\u00e9_1", "e\u0301_1"),
        ("\u00c4/q_1", "a\u0308/Q_1"),
        ("Stra\u00dfe_1", "strasse_1"),
        ("a/q_1", "a./q_1"),
        ("b./a/q_1", "b/a. /q_1"),
    ],
)
@pytest.mark.usefixtures("takes_for_one")
def test_results_that_a_disk_takes_for_one_are_refused(
    tmp_path: Path, draw_slice: Draw, write_picture: Write, infer: Infer, one: str, other: str
) -> None:
    given = tmp_path / "both"
    for name in (one, other):
        write_picture(given / f"{name}.png", draw_slice())
    if len(files(given)) == 1:
        pytest.skip("the disk of this machine takes them for one")
    result = infer(given)
    assert (result.code, files(tmp_path / "out")) == (8, [])
    assert "would have one name in the results" in result.err


def test_each_two_of_several_names_that_a_disk_may_take_for_one_are_tried(
    tmp_path: Path,
    draw_slice: Draw,
    write_picture: Write,
    infer: Infer,
    takes_for_one: set[frozenset[str]],
) -> None:
    """FAT mounted with iocharset=utf8 keeps A and a apart, and takes `a.` for `a`."""
    takes_for_one.add(frozenset(("a/q_1", "a./q_1")))
    given = tmp_path / "three"
    for name in ("A/q_1", "a/q_1", "a./q_1"):
        write_picture(given / f"{name}.png", draw_slice())
    if len(files(given)) < 3:
        pytest.skip("the disk of this machine takes them for one")
    assert infer(given).code == 8


@pytest.mark.usefixtures("takes_for_one")
def test_a_scan_and_a_slice_whose_pictures_a_disk_takes_for_one_are_refused(
    tmp_path: Path, draw_slice: Draw, write_picture: Write, infer: Infer
) -> None:
    write_picture(tmp_path / "both" / "p_001.png", draw_slice())
    (tmp_path / "both" / "P.nii").write_bytes(b"")
    assert infer(tmp_path / "both").code == 8


def test_a_disk_that_keeps_cases_apart_holds_both(
    tmp_path: Path, draw_slice: Draw, write_picture: Write, infer: Infer
) -> None:
    """The oracle is the disk itself, of this machine."""
    given = tmp_path / "both"
    for name in ("Q_1", "q_1"):
        write_picture(given / f"{name}.png", draw_slice())
    inputs = files(given)
    assert infer(given).code == 0
    masks = [name for name in files(tmp_path / "out") if name.endswith("_mask.png")]
    assert len(masks) == len(inputs)


@pytest.mark.parametrize(("one", "other"), [("a/Q_1", "A/q_1"), ("a/q_1", "a./q_1")])
def test_whether_a_disk_takes_names_for_one_is_tried_and_leaves_nothing(
    tmp_path: Path, one: str, other: str
) -> None:
    """The oracle is the disk itself, of this machine."""
    tried = tmp_path / "tried" / one
    tried.parent.mkdir(parents=True)
    tried.touch()
    expected = (one, other) if (tmp_path / "tried" / other).exists() else None
    output = tmp_path / "new" / "deep"
    assert destination._find_taken_for_one(output, [[one, other]]) == expected
    assert destination._find_taken_for_one(output, [["b"], [one, one]]) == (one, one)
    assert files(tmp_path) == [f"tried/{one}"]


def test_of_many_names_that_a_disk_may_take_for_one_each_is_made_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two trees of thousands of slices took half a minute, pair by pair."""
    made = list[None]()
    monkeypatch.setattr(destination, "make_folder", lambda path: made.append(make_folder(path)))
    doubted = [[f"{letter}/{number}" for letter in "abc"] for number in range(5)]
    assert destination._find_taken_for_one(tmp_path, doubted) is None
    assert len(made) == 15
    apart = [["q", "p"], ["q_/r", "p_/r"]]  # a file of the name of another group's folder
    assert destination._find_taken_for_one(tmp_path, apart) is None
