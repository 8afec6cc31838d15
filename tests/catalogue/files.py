"""Rows about files, folders and names."""

from __future__ import annotations

import builtins
import os
import shutil
import socket
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from catalogue.dicom_study import put_study
from catalogue.keepings import (
    DONE,
    NOTHING_MADE,
    OTHERS_DONE,
    RECORDED,
    require_good,
    untouched,
)
from catalogue.raster_bytes import png, tiff
from catalogue.row import Keeping, Outcome, Row, Scene, Section

Make = Callable[[Scene], object]
EXPECTED = "expected .jpeg, .jpg, .png, .tif, .tiff, DICOM or NIfTI (.nii, .nii.gz)"
DENIED = PermissionError(13, "Permission denied")
IRREGULAR = "expected a regular file, found a folder, pipe, socket or device"
CHANGED = "changed while it was read; try again once it is written"


def nothing(name: str, what: str, make: Make, says: str, source: str = "in") -> Row:
    """An input that holds nothing to segment; the scene's good slice is taken away first."""

    def make_alone(scene: Scene) -> None:
        shutil.rmtree(scene.source)
        scene.source.mkdir()
        make(scene)

    command = ("lgg-infer", source, "-o", "out")
    return Row(name, what, make_alone, 4, f"lgg-infer: {says}", NOTHING_MADE, command=command)


def refused(name: str, what: str, make: Make, says: str) -> Row:
    return Row(name, what, make, 3, says, OTHERS_DONE)


def conflict(name: str, what: str, make: Make, code: int, says: str, out: str = "out") -> Row:
    """An output that cannot be, told before the model is loaded: there is none."""
    command = ("lgg-infer", "in", "-o", out, "-m", "missing.onnx")
    return Row(name, what, make, code, f"lgg-infer: {says}", UNTOUCHED, command=command)


def _forbid(scene: Scene, name: str, error: OSError = DENIED) -> None:
    """Opening and listing what has that name is refused; tests may run as root, whom no permission
    keeps out.
    """

    def guard(real: Callable[..., Any]) -> Callable[..., Any]:
        def check(path: Any, *more: Any, **options: Any) -> Any:
            if isinstance(path, (str, os.PathLike)) and Path(path).name == name:
                raise error
            return real(path, *more, **options)

        return check

    for module, function in ((os, "open"), (os, "scandir"), (builtins, "open")):
        scene.patch.setattr(module, function, guard(getattr(module, function)))


def _change_while_read(scene: Scene) -> None:
    """The file is as if written again between its first and its last byte."""
    status = scene.put("bad.png", png()).stat()
    real, looks = os.fstat, list[int]()

    def look(handle: int) -> Any:
        found = real(handle)
        if found.st_ino != status.st_ino:
            return found
        looks.append(handle)
        size, mode = found.st_size, found.st_mode
        return SimpleNamespace(st_size=size, st_mode=mode, st_mtime_ns=len(looks))

    scene.patch.setattr(os, "fstat", look)


def _vanish(scene: Scene) -> None:
    """Taken away once the folder was listed."""
    scene.put("bad.png", png())
    _forbid(scene, "bad.png", FileNotFoundError(2, "No such file or directory"))


def _socket(scene: Scene) -> None:
    scene.patch.chdir(scene.source)  # a socket's path may not be long
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("bad.png")
    scene.patch.chdir(scene.root)


def _link_about(scene: Scene) -> None:
    """A loop of folders, a link to a slice outside, and one to nowhere."""
    outside = scene.root / "outside.png"
    outside.write_bytes(png())
    (scene.source / "loop").symlink_to(scene.source, target_is_directory=True)
    (scene.source / "escape.png").symlink_to(outside)
    (scene.source / "broken.png").symlink_to("nowhere")


def _links_counted(outcome: Outcome, _row: Row) -> None:
    require_good(outcome)
    assert [entry["name"] for entry in outcome.run["inputs"]] == ["good/good_1.png"]
    assert outcome.run["counts"]["skipped_files"] == 3


def _make_deep(scene: Scene) -> None:
    """A path of 1,000 characters and more."""
    deep = "/".join("d" * 100 for _ in range(10))
    scene.put(f"{deep}/odd.png", png())


def _refuse_folder(scene: Scene) -> None:
    """As on a read-only file system."""
    scene.patch.setattr(os, "access", lambda _path, mode, **_options: not mode & os.W_OK)


def _link_into_input(scene: Scene) -> None:
    (scene.root / "elsewhere").symlink_to(scene.source, target_is_directory=True)


def _loop(scene: Scene) -> None:
    (scene.root / "loop").symlink_to(scene.root / "loop")


def _delete_current(scene: Scene) -> None:
    gone = scene.root / "gone"
    gone.mkdir()
    scene.patch.chdir(gone)
    gone.rmdir()


def _mask_beside(scene: Scene) -> None:
    scene.put("good/good_1_mask.png", b"the reference")


UNTOUCHED = Keeping("The input is as it was; nothing is written.", untouched)
LONG = "n" * 247
UNDECODABLE = os.fsdecode(b"caf\xe9.png")

NO_INPUT = (
    nothing("nowhere", "An input that is not there.", lambda scene: None,
            "gone: no such file or folder", "gone"),
    nothing("impossible name", "An input of an impossible name.", lambda scene: None,
            f"{'a' * 300}: cannot be opened: File name too long", "a" * 300),
    nothing("empty folder", "An empty folder.", lambda scene: None,
            f"in: no slice in it; {EXPECTED}"),
    nothing("other files", "A folder of other files.",
            lambda scene: scene.put("deep/notes.txt", b"text"), f"in: no slice in it; {EXPECTED}"),
    nothing("masks alone", "A folder of masks alone.",
            lambda scene: scene.put("a_mask.png", png()),
            f"in: no slice in it; {EXPECTED}; files named *_mask, taken for masks: 1"),
    nothing("other file", "A file that is no slice.",
            lambda scene: scene.put("notes.txt", b"text"), f"notes.txt: not a slice; {EXPECTED}",
            "in/notes.txt"),
    nothing("mask as input", "A mask given as the input.",
            lambda scene: scene.put("a_mask.png", png()),
            "a_mask.png: named *_mask, so taken for a mask; give its slice",
            "in/a_mask.png"),
    nothing("pipe as input", "A pipe given as the input: never waited for.",
            lambda scene: os.mkfifo(scene.source / "pipe"), f"pipe: not a slice; {EXPECTED}",
            "in/pipe"),
    nothing("device as input", "A device given as the input.", lambda scene: None,
            f"zero: not a slice; {EXPECTED}", "/dev/zero"),
    nothing("link loop as input", "A link to itself given as the input.", _loop,
            "loop: cannot be opened: Too many levels of symbolic links", "loop"),
    nothing("unreadable folder", "A folder that may not be listed.",
            lambda scene: _forbid(scene, "in"), "in: cannot be listed: Permission denied"),
    nothing("unreadable file alone", "A file that may not be read, given as the input.",
            lambda scene: (scene.put("IM1", b"text"), _forbid(scene, "IM1")),
            "IM1: cannot be opened: Permission denied", "in/IM1"),
    nothing("all unreadable", "A folder in which nothing may be read.",
            lambda scene: (scene.put("IM1", b"text"), _forbid(scene, "IM1")),
            f"in: no slice in it; {EXPECTED}; IM1: cannot be opened: Permission denied"),
    Row("nothing usable", "Bad files alone.",
        lambda scene: scene.put("good/good_1.png", b"no picture"), 4,
        "good/good_1.png: expected TIFF, PNG or JPEG content, found neither; is it an image, and "
        "whole?", RECORDED),
)  # fmt: skip

UNREADABLE = (
    refused("unreadable file", "A slice that may not be read.",
            lambda scene: (scene.put("bad.png", png()), _forbid(scene, "bad.png")),
            "bad.png: cannot be opened: Permission denied"),
    refused("unreadable subfolder", "A folder inside that may not be listed.",
            lambda scene: (scene.put("closed/a.png", png()), _forbid(scene, "closed")),
            "closed: cannot be listed: Permission denied"),
    refused("unreadable other file", "A file without a known suffix that may not be read: it might "
            "be a DICOM slice.", lambda scene: (scene.put("x/IM1", b"text"), _forbid(scene, "IM1")),
            "x/IM1: cannot be opened: Permission denied"),
    refused("unreadable NIfTI", "A NIfTI file that may not be read.",
            lambda scene: (scene.put("a.nii", b"text"), _forbid(scene, "a.nii")),
            "a: a.nii: cannot be opened: Permission denied"),
    refused("pipe", "A pipe among the slices: never waited for.",
            lambda scene: os.mkfifo(scene.source / "bad.png"), f"bad.png: {IRREGULAR}"),
    refused("socket", "A socket among the slices.", _socket, f"bad.png: {IRREGULAR}"),
    refused("changes", "A file that changes while it is read.", _change_while_read,
            f"bad.png: {CHANGED}"),
    refused("vanishes", "A file that is taken away in mid-run.", _vanish,
            "bad.png: cannot be opened: No such file or directory"),
    Row("links", "A loop of links, a link that leads outside, a broken link.", _link_about, 0, "",
        Keeping("None is followed; they are counted in `run.json`; the others are done.",
                _links_counted)),
)  # fmt: skip

NAMES = (
    Row("unicode", "A name in other letters.",
        lambda scene: scene.put("hélène 脳.png", png()), 0, "", DONE),
    Row("no text", "A name whose bytes are no text.",
        lambda scene: scene.put(UNDECODABLE, png()), 0, "", DONE),
    refused("line break", "A name with a line break and an escape sequence: shown escaped.",
            lambda scene: scene.put("a\n\x1b[31m.png", b""),
            "a\\n\\x1b[31m.png: expected TIFF, PNG or JPEG, found an empty file; copy the file "
            "again"),
    refused("long name", "A name whose mask would be longer than 255 bytes.",
            lambda scene: scene.put(f"{LONG}.png", png()),
            f"{LONG}.png: its result would have a name of 261 bytes, at most 255 are possible; "
            "shorten the name"),
    Row("long path", "A path of 1,000 characters.", _make_deep, 0, "", DONE),
    Row("upper case", "A suffix in capitals.", lambda scene: scene.put("odd.TIF", tiff()), 0, "",
        DONE),
    conflict("shared output", "`a.tif` beside `a.png`.",
             lambda scene: (scene.put("a.tif", tiff()), scene.put("a.png", png())), 8,
             "a.png and a.tif would share their outputs; rename one"),
    conflict("two series", "Numbers behind unlike separators: `p-1.png` beside `p_1.png`.",
             lambda scene: (scene.put("p-1.png", png()), scene.put("p_1.png", png())), 8,
             "p-1.png and p_1.png may be of two people; name all slices of one alike, with a "
             "number each, and give each person a folder"),
    conflict("channels", "Channels as nnU-Net numbers them, in the names of all pictures.",
             lambda scene: [scene.put(f"2d/{p}_000{n}.png", png()) for p in "pq" for n in "012"], 8,
             "2d/p_0000.png and 2d/p_0001.png are numbered as nnU-Net's channels, not as slices; "
             "save each slice as one picture, PATIENT_<n>.png, of FLAIR alone or of the three "
             "channels as RGB; number slices from 1"),
    conflict("shared NIfTI", "`a.nii` beside `a.nii.gz`.",
             lambda scene: (scene.put("a.nii", b""), scene.put("a.nii.gz", b"")), 8,
             "a.nii and a.nii.gz would share their outputs; rename one"),
    conflict("slices and NIfTI", "Slices beside a NIfTI file of their name.",
             lambda scene: (scene.put("p/p_001.png", png()), scene.put("p/p.nii", b"")), 8,
             "p/p_001.png and p/p.nii would share the name p in the results; rename one, or move "
             "it to a folder of its own"),
    conflict("DICOM and NIfTI", "A DICOM study beside a NIfTI file of its folder's name.",
             lambda scene: (put_study(scene, lambda _study: None),
                            scene.put("study/study_flair.nii", b"")), 8,
             "study/flair_1 and study/study_flair.nii would share the name study in the results; "
             "rename one, or move it to a folder of its own"),
    conflict("letters' case", "`a.JPG` beside `a.jpg`.",
             lambda scene: (scene.put("a.jpg", png()), scene.put("a.JPG", png())), 8,
             "a.JPG and a.jpg would share their outputs; rename one"),
)  # fmt: skip

OUTPUTS = (
    conflict("inside", "An output inside the input.", lambda scene: None, 2,
             "output in/out lies inside the input; choose a folder outside it", "in/out"),
    conflict("inside by a link", "An output inside the input by way of a link.",
             _link_into_input, 2,
             "output elsewhere/out lies inside the input; choose a folder outside it",
             "elsewhere/out"),
    conflict("below a file", "An output below a file.",
             lambda scene: (scene.root / "file").write_bytes(b""), 7,
             "out: cannot be written: Not a directory", "file/out"),
    conflict("read-only", "A read-only output, told before the model is loaded.", _refuse_folder,
             7, "out: cannot be written: Permission denied"),
    conflict("name too long", "An output of an impossible name.", lambda scene: None, 7,
             f"{'o' * 256}: cannot be written: File name too long", "o" * 256),
    Row("current folder gone", "A current folder that was deleted.", _delete_current, 2,
        "lgg-infer: the current folder is gone; give absolute paths", UNTOUCHED,
        command=("lgg-infer", ".", "-o", "out")),
    Row("link loop", "An output that is a link to itself.", _loop, 7,
        "lgg-infer: loop: cannot be written: File exists", UNTOUCHED,
        command=("lgg-infer", "in", "-o", "loop")),
    Row("beside the slice", "The folder of a single slice as its output.", _mask_beside, 2,
        "lgg-infer: output in/good lies inside the input; choose a folder outside it",
        Keeping("The reference mask beside the slice is not replaced.", untouched),
        command=("lgg-infer", "in/good/good_1.png", "-o", "in/good")),
    Row("no output", "No output given.", lambda scene: None, 2,
        "Usage: lgg-infer [OPTIONS] [INPUT]\nTry 'lgg-infer --help' for help.\n\n"
        "Error: Missing option '-o' / '--output'.", UNTOUCHED, command=("lgg-infer", "in")),
)  # fmt: skip

SECTION = Section(
    "Files, folders and names",
    "Nothing is followed out of the input, nothing is waited for, and no result can be taken for "
    "another's. What cannot be done at all is told before the model is loaded.",
    (*NO_INPUT, *UNREADABLE, *NAMES, *OUTPUTS),
)
