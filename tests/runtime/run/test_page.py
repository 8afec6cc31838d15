"""The page of a run: what a browser finds in it, after real runs."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote_to_bytes

import numpy as np
import pytest

from lgg_runtime.cleanup import CleanupSettings
from lgg_runtime.readers.folder import list_studies
from lgg_runtime.run.journal import Journal
from lgg_runtime.run.page import _STYLE, encode_page, write_page
from lgg_runtime.run.summary import summarise_volume
from lgg_runtime.volume import FLAIR, Segmentation
from stand_ins.eyes import EYES, differ
from stand_ins.runs import LESION, Draw, Infer, Write, files, read_rows, read_run

_VOID = {"meta", "img", "br"}


class Page(HTMLParser):
    """A page as a browser takes it; an element that is not closed, or closed twice, fails, as do
    words beside the main part.
    """

    def __init__(self, text: str):
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == [], "an element is not closed"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in _VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open[-1:] != ["style"]:
            assert not data.strip() or {"main", "title"} & {*self.open}
            self.texts.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.texts).split())

    def all(self, tag: str, attribute: str) -> list[str]:
        return [attrs[attribute] or "" for name, attrs in self.tags if name == tag]

    @property
    def pictures(self) -> list[bytes]:
        return [unquote_to_bytes(source) for source in self.all("img", "src")]


def read_page(folder: Path) -> Page:
    return Page((folder / "report.html").read_text(encoding="utf-8"))


def read_table(folder: Path) -> list[list[str]]:
    """The cells of the table of patients, its header first."""
    lines = re.findall("<tr>(.*?)</tr>", (folder / "report.html").read_text("utf-8"), re.DOTALL)
    cells = [re.findall("<t[hd]>(.*?)</t[hd]>", line) for line in lines]
    return [[re.sub("<.*?>", "", cell) for cell in line] for line in cells]


HEADER = ["patient", "finding", "area px", "largest px", "max p"]


def test_its_pictures_are_files_and_its_links_lead_somewhere(
    source: Path, out: Path, infer: Infer
) -> None:
    assert infer(source, "--report").code == 0
    page = read_page(out)
    assert page.pictures == [b"a/a_2_overlay.png", b"deep/b/b_1_overlay.png"]
    places = {attrs["id"] for _, attrs in page.tags if "id" in attrs}
    links = page.all("a", "href")
    assert {link[1:] for link in links if link.startswith("#")} == places == {"p1", "p2"}
    assert [unquote_to_bytes(link) for link in links if not link.startswith("#")] == page.pictures
    assert all((out / os.fsdecode(picture)).is_file() for picture in page.pictures)
    assert not {name for name, _ in page.tags} & {"script", "link", "iframe"}


def test_it_tells_each_patients_numbers_and_what_it_is_not_for(
    source: Path, out: Path, infer: Infer
) -> None:
    done = infer(source, "--report")
    text = read_page(out).text
    assert "Research use only, not for diagnosis." in text
    assert "2 patients, 1 with a finding" in text
    marked = "1 of 3 slices marked; 48 pixels, the largest component 48; highest probability 1.00"
    assert f"a: tumour {marked}" in text
    assert "deep/b: none 0 of 1 slice marked; 0 pixels" in text
    assert read_run(out)["model"]["sha256"] in text and "onnxruntime" in text
    assert "not complete" not in text and "blue" not in text
    assert "details" not in {tag for tag, _ in read_page(out).tags}, "nothing is behind a fold"
    assert read_table(out) == [
        [*HEADER, "doubts"],
        ["a", "tumour", "48", "48", "1.00", "yes"],
        ["deep/b", "none", "0", "0", "0.00", "yes"],
    ]
    assert f"Results: {out}  (summary.csv, run.json; look at report.html first)" in done.out


def test_a_name_of_any_length_leaves_its_numbers_on_the_screen() -> None:
    wrapped = {"h2", "p", "li", "dd", "figcaption", "td:first-child"}  # where names and paths stand
    (told,) = re.findall(r"^(.*) \{ overflow-wrap: anywhere \}", _STYLE, re.MULTILINE)
    assert set(told.split(", ")) == wrapped


def test_on_paper_no_patient_is_torn_and_each_sheet_has_the_tables_head(
    source: Path, out: Path, infer: Infer
) -> None:
    infer(source, "--report")
    assert "section, figure, tr { break-inside: avoid }" in _STYLE
    tags = [tag for tag, _ in read_page(out).tags]
    first = tags.index("thead")
    assert tags[first : tags.index("td")].count("th") == tags.count("th") == len(HEADER) + 1


def test_on_paper_nothing_is_behind_a_fold() -> None:
    (printed,) = re.findall(r"^@media print \{ (.*) \}$", _STYLE, re.MULTILINE)
    assert printed == "details::details-content { content-visibility: visible; block-size: auto }"
    assert re.search("^summary .*break-after: avoid", _STYLE, re.MULTILINE), "from its pictures"


@pytest.mark.parametrize("eyes", EYES)
def test_bars_and_lines_are_told_apart_without_red_or_green(eyes: str) -> None:
    bars, lines = re.findall(r"(?:rect { fill|reference { stroke): #(\w{6})", _STYLE)
    one, other = (tuple(level / 255 for level in bytes.fromhex(each)) for each in (bars, lines))
    assert differ(one, other, eyes) > 20


def test_it_tells_of_a_first_look_and_what_that_left_out(
    source: Path, out: Path, infer: Infer, artifact: Path
) -> None:
    infer(source, "--report", "--first-look", str(artifact))
    look = read_run(out)["model"]["first_look"]
    assert look["left_out"] > 0
    told = ", first_look " + " ".join(f"{name} {value}" for name, value in look.items())
    assert told in read_page(out).text
    infer(source, "--report")
    assert ", first_look" not in read_page(out).text


def test_other_slices_with_tumour_are_behind_a_fold(
    source: Path, out: Path, infer: Infer, draw_slice: Draw, write_picture: Write
) -> None:
    write_picture(source / "a" / "a_3.png", draw_slice((slice(10, 14), slice(20, 28))))
    infer(source, "--report")
    page = read_page(out)
    assert "1 further slice marked a_3: 32 pixels" in page.text
    assert page.pictures[:2] == [b"a/a_2_overlay.png", b"a/a_3_overlay.png"]


def test_a_missed_slice_is_shown_as_one(
    source: Path, out: Path, infer: Infer, write_picture: Write
) -> None:
    for name, area in (("a/a_1", (slice(0, 2), slice(0, 5))), ("a/a_2", LESION)):
        truth = np.zeros((40, 48), np.uint8)
        truth[area] = 255
        write_picture(source / f"{name}_mask.png", truth)
    infer(source, "--report", "--evaluate")
    page = read_page(out)
    assert "1 slice unmarked, with tumour in the reference a_1: 0 pixels, Dice 0.0000" in page.text
    assert "Dice 0.9057, recall 0.8276, precision 1.0000" in page.text
    assert "Dice of 1 patient: mean 0.9057" in page.text
    assert "b_1: 0 pixels" in page.text and "b_1: 0 pixels, Dice" not in page.text
    assert "; blue: the reference." in page.text
    assert [(line[0], *line[5:]) for line in read_table(out)] == [
        ("patient", "Dice", "doubts"), ("a", "0.9057", "yes"), ("deep/b", "", "yes"),
    ]  # fmt: skip
    assert "Only slices with a mask are scored: a 2 of 3" in page.text
    assert b"a/a_1_overlay.png" in page.pictures
    references = [attrs for tag, attrs in page.tags if attrs.get("class") == "reference"]
    assert len(references) == 2, "of the slices with a mask alone"


def test_a_patient_whose_tumour_was_missed_in_every_slice_has_each_of_them_counted(
    source: Path, out: Path, infer: Infer, write_picture: Write
) -> None:
    """Also the one that is shown first: with nothing marked, it is where a finding was nearest."""
    truth = np.zeros((40, 48), np.uint8)
    truth[LESION] = 255
    write_picture(source / "deep" / "b" / "b_1_mask.png", truth)
    infer(source, "--report", "--evaluate")
    missed = read_page(out).text.partition("deep/b: none")[2]
    assert "1 slice unmarked, with tumour in the reference b_1: 0 pixels, Dice 0.0000" in missed


def test_a_slice_that_is_marked_is_not_missed(
    source: Path, out: Path, infer: Infer, draw_slice: Draw, write_picture: Write
) -> None:
    write_picture(source / "a" / "a_3.png", draw_slice((slice(10, 14), slice(20, 28))))
    write_picture(source / "a" / "a_3_mask.png", np.full((40, 48), 255, np.uint8))
    infer(source, "--report", "--evaluate")
    text = read_page(out).text
    assert "1 further slice marked a_3: 32 pixels" in text and "unmarked" not in text


def test_without_a_finding_the_slice_that_came_nearest_stands_first(
    source: Path, out: Path, infer: Infer
) -> None:
    infer(source, "--report", "--threshold", "0.99999999")
    page = read_page(out)
    assert "a: none 0 of 3 slices marked" in page.text
    assert page.pictures[0] == b"a/a_2_overlay.png"


@pytest.mark.parametrize("name", ["<b>&amp;\"'", "%41 #?", "\udcff", "javascript:x"])
def test_no_name_is_taken_for_html_or_for_another_address(
    tmp_path: Path, out: Path, infer: Infer, draw_slice: Draw, write_picture: Write, name: str
) -> None:
    whole = write_picture(tmp_path / "whole.png", draw_slice(LESION)).read_bytes()
    folder = tmp_path / "in" / name
    folder.mkdir(parents=True)
    (folder / f"{name}_1.png").write_bytes(whole)
    (folder / f"{name}_2.png").write_bytes(b"")
    assert infer(tmp_path / "in", "--report").code == 3
    page = read_page(out)
    overlay = f"{name}/{name}_1_overlay.png"
    assert page.pictures == [os.fsencode(overlay)] and (out / overlay).is_file()
    assert not page.all("img", "src")[0].startswith("javascript:")
    assert "b" not in {tag for tag, _ in page.tags}
    shown = name.encode("unicode_escape").decode() if name == "\udcff" else name
    assert f"{shown}: tumour" in page.text
    assert f"{shown}_2.png: " in page.text.rpartition("Could not be used")[2]


def test_what_could_not_be_used_is_named(with_bad_files: Path, out: Path, infer: Infer) -> None:
    assert infer(with_bad_files, "--report").code == 3
    page = read_page(out)
    assert "3 inputs could not be used" in page.text and "#failed" in page.all("a", "href")
    reasons = [record["reason"] for record in read_run(out)["inputs"] if record["reason"]]
    assert len(reasons) == 3
    assert all(f"a/{reason}" in page.text for reason in reasons)


def test_a_run_without_any_result_has_a_page_too(tmp_path: Path, out: Path, infer: Infer) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "empty.png").write_bytes(b"")
    assert infer(tmp_path / "in", "--report").code == 4
    assert "0 patients, 0 with a finding" in read_page(out).text
    assert read_table(out) == []


def test_a_region_that_the_clean_up_dropped_is_told_by_a_resumed_run_too(
    source: Path,
    out: Path,
    infer: Infer,
    write_artifact: Callable[..., Path],
    draw_slice: Draw,
    write_picture: Write,
) -> None:
    pixels = draw_slice(LESION)
    pixels[26:31, 10:16, FLAIR] = 200  # beside a lesion of 48 pixels one of 30
    write_picture(source / "a" / "a_2.png", pixels)
    settings = CleanupSettings(smallest_fraction=1.0)
    model = write_artifact(out.parent / "cleaning.onnx", cleanup=settings)
    for more in ((), ("--resume",)):
        told = infer(source, "-m", model, "--report", *more).out
        assert "Warning: a: the clean-up dropped all, or a region of 0.25 times" in told
        rows = {row["patient"]: row for row in read_rows(out) if row["level"] == "patient"}
        assert [rows[name]["dropped_fraction"] for name in rows] == ["0.625", "0"]
        assert [p["dropped_fraction"] for p in read_run(out)["patients"]] == [0.625, 0]
        assert [rows[name]["area_px"] for name in rows] == ["48", "0"]
        before, _, after = read_page(out).text.partition("deep/b: none 0 of 1")
        line = "dropped by the clean-up: a region of 0.62 times the largest one's size"
        assert line in before and "clean-up" not in after


def test_a_clean_up_that_dropped_all_is_told(
    source: Path, out: Path, infer: Infer, write_artifact: Callable[..., Path]
) -> None:
    settings = CleanupSettings(smallest_voxels=10**9)
    model = write_artifact(out.parent / "none.onnx", cleanup=settings)
    told = infer(source, "-m", model, "--report").out
    assert "Warning: a: the clean-up dropped all, or a region" in told
    assert "dropped by the clean-up: all that was found" in read_page(out).text


def test_doubts_and_notes_stand_with_their_patient(
    source: Path, out: Path, infer: Infer, write_picture: Write
) -> None:
    for number in (1, 2):  # one channel, no head
        write_picture(source / "noise" / f"noise_{number}.png", np.full((40, 48), 90, np.uint8))
    infer(source, "--report")
    text = read_page(out).text
    doubts = read_run(out)["doubts"]["noise"]
    assert f"unlike the training data: {doubts}" in text.partition("noise: none")[2]
    (note,) = next(r["notes"] for r in read_run(out)["inputs"] if "noise" in r["name"])
    assert f"{note} (2 slices)" in text
    assert "noise: unlike the training data; see doubts in summary.csv" in text


def test_a_doubt_is_told_of_its_patient_alone_and_the_name_of_a_model_is_no_markup(
    source: Path, out: Path, infer: Infer
) -> None:
    infer(source)
    journal = Journal({}, model=read_run(out)["model"] | {"name": "<i>"})
    found = Segmentation(np.ones((1, 2, 3), bool), np.ones((1, 2, 3), np.float32), 0.5)
    for name in ("a", "deep/b"):
        journal.rows += summarise_volume(name, ["1"], found, [None])
    journal.doubts = {"deep/b": "<u>"}
    write_page(out, journal, list_studies(source), "complete")
    assert [line[-1] for line in read_table(out)] == ["doubts", "", "yes"]
    text = read_page(out).text
    assert "model <i> in fp32" in text and "unlike the training data: <u>" in text


def test_a_scans_pictures_are_found(phantom: Path, out: Path, infer: Infer) -> None:
    assert infer(phantom, "--report").code == 0
    page = read_page(out)
    assert page.pictures and all((out / os.fsdecode(p)).is_file() for p in page.pictures)
    assert " mL" in page.text and "FLAIR is series" in page.text
    assert "(1 slices)" not in page.text
    assert read_table(out) == [[*HEADER, "mL"], ["study", "tumour", "184", "37", "1.00", "268.99"]]
    assert "largest component 37; volume 268.99 mL; highest probability 1.00" in page.text


def test_a_slice_is_as_wide_and_high_as_in_the_patient(
    tmp_path: Path, out: Path, infer: Infer, draw_slice: Draw, write_picture: Write
) -> None:
    """Whatever the number of its pixels: 40 columns of 3 mm by 48 rows of 1 mm."""
    nibabel = pytest.importorskip("nibabel")
    slices = np.repeat(draw_slice(LESION)[None], 4, axis=0)  # 40 x 48 pixels each
    image = nibabel.Nifti1Image(slices.transpose(1, 2, 0, 3), np.diag([3, 1, 1, 1]))
    folder = tmp_path / "in"
    write_picture(folder / "a_1.png", draw_slice(LESION))
    nibabel.save(image, folder / "scan.nii.gz")
    for more in ((), ("--resume",)):
        assert infer(folder, "--report", *more).code == 0
        pictures = {attrs["src"]: attrs for tag, attrs in read_page(out).tags if tag == "img"}
        assert "style" not in pictures.pop("a_1_overlay.png")
        assert {attrs["style"] for attrs in pictures.values()} == {"aspect-ratio: 2.5"}


def test_a_run_that_was_cut_off_says_so(source: Path, out: Path, infer: Infer) -> None:
    """Its last patient may have been recorded in part."""
    infer(source)
    journal = Journal({}, model=read_run(out)["model"])
    mask = np.ones((1, 2, 3), bool)
    found = Segmentation(mask, mask.astype(np.float32), 0.5)
    whole = summarise_volume("a", ["a_1"], found, [None])
    journal.rows += [*whole, *summarise_volume("deep/b", ["b_1"], found, [None])[:1]]
    page = Page("".join(encode_page(journal, list_studies(source), "stopped: the <disk> is full")))
    assert "This run is not complete: stopped: the <disk> is full." in page.text
    assert page.pictures == [b"a/a_1_overlay.png"]


def test_the_page_of_an_earlier_run_is_told_by_one_without(
    source: Path, out: Path, infer: Infer
) -> None:
    infer(source, "--report")
    assert "report.html" in files(out)
    infer(source, "-p")
    assert read_run(out)["stale"] == ["report.html"]
    infer(source, "--report", "--resume")
    assert read_run(out)["stale"] == []


def test_a_resumed_run_shows_what_the_earlier_one_did(
    source: Path, out: Path, infer: Infer
) -> None:
    infer(source, "-p")
    infer(source, "--report", "--resume")
    assert read_page(out).pictures == [b"a/a_2_overlay.png", b"deep/b/b_1_overlay.png"]
