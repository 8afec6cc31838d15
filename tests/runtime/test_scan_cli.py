"""lgg-infer on scans from end to end, on a tiny real artifact."""

from __future__ import annotations

import csv
import gzip
import json
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from lgg_runtime.cleanup import CleanupSettings
from lgg_train.phantom import PhantomSettings, write_phantoms
from lgg_train.phantom_files import write_scans
from lgg_train.phantom_scan import ScanSettings

pytest.importorskip("highdicom")
pytest.importorskip("nibabel")
pytest.importorskip("SimpleITK")

import nibabel
import pydicom

Call = Callable[..., SimpleNamespace]
PATIENT = ("Drawn", "By Code", "LGGPH", "ACC0000", "19010203", "20010203", "2.25.", "uid-")


def draw(root: Path, form: str, patients: int = 1, **scan: Any) -> Path:
    phantoms = PhantomSettings(patients=patients, slices=8, size=64, seed=4)
    write_scans(root, form, phantoms, ScanSettings(**scan))
    return root / form


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory, write_artifact: Callable[..., Path]) -> Path:
    """Bright in FLAIR is tumour; the largest component stays."""
    path = tmp_path_factory.mktemp("model") / "tiny.onnx"
    return write_artifact(path, cleanup=CleanupSettings(smallest_fraction=1.0))


def run_of(output: Path) -> dict[str, Any]:
    value: dict[str, Any] = json.loads((output / "run.json").read_text())
    return value


def mask_of(path: Path) -> np.ndarray:
    image = nibabel.Nifti1Image.from_bytes(gzip.decompress(path.read_bytes()))
    return np.asarray(image.dataobj).transpose(2, 1, 0)


def test_every_output_of_a_dicom_study_is_written(
    tmp_path: Path, model: Path, call_infer: Call
) -> None:
    source, out = draw(tmp_path, "dicom"), tmp_path / "out"
    kinds = ("mask", "dicom-seg", "nifti", "dicom-sc", "dicom-sr")
    wanted = [word for kind in kinds for word in ("-ot", kind)]
    done = call_infer(source, "-o", out, "-m", model, *wanted)
    assert (done.code, done.err) == (0, "")
    names = {path.name for path in (out / "study_0001").iterdir()}
    numbers = range(1, 9)
    assert names == {
        "study_0001_seg.dcm", "study_0001_sr.dcm", "study_0001_mask.nii.gz",
        *(f"study_0001_sc_{n:03d}.dcm" for n in numbers),
        *(f"study_0001_{n:03d}_mask.png" for n in numbers),
    }  # fmt: skip
    run = run_of(out)
    (record,) = run["inputs"]
    assert (record["name"], record["fate"]) == ("study_0001", "done")
    assert len(record["outputs"]) == len(names)
    mask = mask_of(out / "study_0001/study_0001_mask.nii.gz")
    millilitres = mask.sum() * np.prod([188 / 8 * 0.9, 3.6, 3.6]) / 1000
    assert millilitres > 0
    rows = list(csv.DictReader((out / "summary.csv").read_text().splitlines()))
    dropped = pytest.approx(float(rows[-1]["dropped_fraction"]), rel=1e-5)
    measured = {"volume_ml": pytest.approx(millilitres), "dropped_fraction": dropped}
    assert run["patients"] == [{"name": "study_0001", "tumour": True} | measured]
    assert float(rows[-1]["volume_ml"]) == pytest.approx(millilitres, rel=1e-5)
    report = pydicom.dcmread(out / "study_0001/study_0001_sr.dcm")
    assert f"{millilitres:.3f}".rstrip("0") in str(report)


def test_long_names_of_a_model_and_its_first_look_fit_into_every_dicom_object(
    tmp_path: Path, write_artifact: Callable[..., Path], call_infer: Call
) -> None:
    model, quick = (write_artifact(tmp_path / f"{x}.onnx", name=x * 55) for x in "mq")
    wanted = [word for kind in ("dicom-seg", "dicom-sc", "dicom-sr") for word in ("-ot", kind)]
    source, out = draw(tmp_path, "dicom"), tmp_path / "out"
    done = call_infer(source, "-o", out, "-m", model, "--first-look", quick, *wanted)
    assert (done.code, done.err) == (0, "")
    seg = pydicom.dcmread(out / "study_0001/study_0001_seg.dcm")
    assert seg.ManufacturerModelName.startswith("mmm")
    assert run_of(out)["model"]["name"] == "m" * 55, "whole"


def test_masks_of_tiff_dicom_and_nifti_agree_pixel_for_pixel(
    tmp_path: Path, model: Path, call_infer: Call
) -> None:
    write_phantoms(tmp_path / "tiff", PhantomSettings(patients=1, slices=8, size=256, seed=4))
    phantoms = PhantomSettings(patients=1, slices=8, size=256, seed=4)
    for form in ("dicom", "nifti"):
        write_scans(tmp_path, form, phantoms, ScanSettings())
        call_infer(tmp_path / form, "-o", tmp_path / f"out-{form}", "-m", model, "-ot", "nifti")
    call_infer(tmp_path / "tiff", "-o", tmp_path / "out-tiff", "-m", model)
    import cv2

    pictures = sorted(
        (tmp_path / "out-tiff").rglob("*_mask.png"), key=lambda p: int(p.stem.split("_")[-2])
    )
    expected = np.stack([cv2.imread(str(path), cv2.IMREAD_UNCHANGED) > 0 for path in pictures])
    assert expected.any()
    for form in ("dicom", "nifti"):
        (found,) = (tmp_path / f"out-{form}").rglob("*_mask.nii.gz")
        np.testing.assert_array_equal(mask_of(found), expected)


def test_the_plane_of_the_scan_does_not_change_what_is_found(
    tmp_path: Path, model: Path, call_infer: Call
) -> None:
    volumes = []
    for plane in ("axial", "mirrored", "coronal", "sagittal"):
        source = draw(tmp_path / plane, "dicom", plane=plane)
        call_infer(source, "-o", tmp_path / "out" / plane, "-m", model)
        volumes.append(run_of(tmp_path / "out" / plane)["patients"][0]["volume_ml"])
    assert volumes == pytest.approx([volumes[0]] * 4)


def test_a_bad_study_is_reported_and_the_others_go_on(
    tmp_path: Path, model: Path, call_infer: Call
) -> None:
    source = draw(tmp_path, "dicom", patients=3)
    for path in sorted((source / "study_0002").iterdir()):
        header = pydicom.dcmread(path, stop_before_pixels=True)
        if header.SeriesNumber == 3 and header.InstanceNumber == 4:
            path.unlink()
    done = call_infer(source, "-o", tmp_path / "out", "-m", model, "-ot", "dicom-seg", "-q")
    assert done.code == 3
    assert done.err == (
        "study_0002: series 3: a gap: between slices 3 and 4 of 7 lie 42.30 mm, elsewhere "
        "21.15 mm; 1 missing\n"
    )
    folders = {path.name for path in (tmp_path / "out").iterdir() if path.is_dir()}
    assert folders == {"study_0001", "study_0003"}


def test_a_study_below_a_folder_whose_name_grows_too_long_is_reported_and_the_others_go_on(
    tmp_path: Path, model: Path, call_infer: Call
) -> None:
    """Each byte that is no text becomes six characters of the results' folder."""
    drawn = draw(tmp_path, "dicom", patients=2)
    foreign = tmp_path / "in" / os.fsdecode(b"\xc8" * 43)
    try:
        shutil.copytree(drawn / "study_0001", foreign / "study")
    except OSError:
        pytest.skip("this disk takes no such names")
    shutil.copytree(drawn / "study_0002", tmp_path / "in" / "whole")
    result = call_infer(tmp_path / "in", "-o", tmp_path / "out", "-m", model)
    assert result.code == 3
    assert "would have a name of 258 bytes" in result.err
    assert [r["fate"] for r in run_of(tmp_path / "out")["inputs"]] == ["failed", "done"]


def test_a_study_without_a_finding_has_valid_objects_that_say_so(
    tmp_path: Path, write_artifact: Callable[..., Path], call_infer: Call
) -> None:
    settings = CleanupSettings(smallest_voxels=10**9)
    nothing = write_artifact(tmp_path / "none.onnx", cleanup=settings)
    source, out = draw(tmp_path, "dicom"), tmp_path / "out"
    done = call_infer(source, "-o", out, "-m", nothing, "-ot", "dicom-seg", "-ot", "dicom-sr")
    assert done.code == 0
    run = run_of(out)
    measured = {"volume_ml": 0.0, "dropped_fraction": 1.0}
    assert run["patients"] == [{"name": "study_0001", "tumour": False} | measured]
    assert run["inputs"][0]["notes"][-1] == "no tumour found"
    seg = pydicom.dcmread(out / "study_0001/study_0001_seg.dcm")
    assert seg.SeriesDescription == "FLAIR abnormality: none found? - research use only"
    assert not np.any(seg.pixel_array)
    told = "the clean-up dropped all that was found, which may be tumour"
    assert seg.SegmentSequence[0].SegmentDescription == told
    report = (out / "study_0001/study_0001_sr.dcm").read_bytes()
    assert b"Absent" in report and told.encode() in report


def test_nothing_that_is_printed_or_recorded_holds_the_patient(
    tmp_path: Path, model: Path, call_infer: Call
) -> None:
    source = draw(tmp_path, "dicom", patients=2)
    for path in (source / "study_0002").iterdir():
        data = pydicom.dcmread(path)
        data.PatientBirthDate, data.StudyDate, data.RescaleSlope = "19O1O2O3", "2OO1", 0
        data.save_as(path)
    done = call_infer(source, "-o", tmp_path / "out", "-m", model, "-ot", "dicom-seg")
    assert done.code == 3
    written = (tmp_path / "out/run.json").read_text() + (tmp_path / "out/summary.csv").read_text()
    for text in (done.out, done.err, written):
        for value in (*PATIENT, "19O1", "2OO1"):
            assert value not in text


def test_flair_alone_and_a_t1_by_hand_contradict_each_other(
    tmp_path: Path, model: Path, call_infer: Call
) -> None:
    source, out = draw(tmp_path, "dicom"), tmp_path / "out"
    done = call_infer(source, "-o", out, "-m", model, "--flair-only", "--t1", "2")
    told = "lgg-infer: --flair-only reads no T1; leave --t1 and --t1c out\n"
    assert (done.code, done.err, out.exists()) == (2, told, False)


@pytest.mark.parametrize("form", ["dicom", "nifti"])
def test_with_flair_only_no_t1_has_to_be_readable(
    tmp_path: Path, model: Path, call_infer: Call, form: str
) -> None:
    source, out = draw(tmp_path, form), tmp_path / "out"
    if form == "nifti":
        damaged = [*source.rglob("*_t1.nii.gz")]
    else:
        damaged = [path for path in source.rglob("IM*") if pydicom.dcmread(path).SeriesNumber == 2]
    assert damaged
    for path in damaged:
        path.write_bytes(path.read_bytes()[:-9])
    assert call_infer(source, "-o", tmp_path / "all", "-m", model).code == 4
    done = call_infer(source, "-o", out, "-m", model, "--flair-only")
    assert (done.code, done.err) == (0, "")
    (record,) = run_of(out)["inputs"]
    assert "FLAIR in the place of the other sequences, as asked" in record["notes"]
    assert not [note for note in record["notes"] if "T1" in note]


def test_pictures_take_no_scan_outputs(
    tmp_path: Path, model: Path, call_infer: Call, write_picture: Any, draw_slice: Any
) -> None:
    write_picture(tmp_path / "in/a_1.png", draw_slice())
    done = call_infer(tmp_path / "in", "-o", tmp_path / "out", "-m", model, "-ot", "nifti")
    assert (done.code, done.err) == (
        2, "lgg-infer: --output-type nifti: not for pictures\n"
    )  # fmt: skip


def test_a_scan_beside_pictures_with_masks_is_told_as_not_scored(
    tmp_path: Path, model: Path, call_infer: Call, write_picture: Any, draw_slice: Any
) -> None:
    source, out = draw(tmp_path, "nifti"), tmp_path / "out"
    write_picture(source / "p/p_1.png", draw_slice())
    write_picture(source / "p/p_1_mask.png", np.zeros((40, 48), np.uint8))
    assert call_infer(source, "-o", out, "-m", model, "--evaluate").code == 0
    said = "not scored: masks beside pictures of slices are scored, DICOM and NIfTI are not"
    run = run_of(out)
    assert [r["name"] for r in run["inputs"] if said in r["notes"]] == ["study_0001"]
    assert list(run["metrics"]["per_patient_dice"]["by_patient"]) == ["p"]


def test_files_that_are_no_dicom_are_skipped_and_counted(
    tmp_path: Path, model: Path, call_infer: Call
) -> None:
    source = draw(tmp_path, "dicom")
    (source / "study_0001/README").write_text("not DICOM")
    (source / "study_0001/link").symlink_to(source / "study_0001/IM0000")
    assert call_infer(source, "-o", tmp_path / "out", "-m", model).code == 0
    assert run_of(tmp_path / "out")["counts"]["skipped_files"] == 2


@pytest.mark.parametrize(("form", "package"), [("dicom", "pydicom"), ("nifti", "nibabel")])
def test_a_missing_package_is_named_with_its_command(
    tmp_path: Path, model: Path, call_infer: Call, monkeypatch: Any, form: str, package: str
) -> None:
    source = draw(tmp_path, form)
    monkeypatch.setitem(sys.modules, package, None)
    done = call_infer(source, "-o", tmp_path / "out", "-m", model)
    assert done.code == 6
    assert done.err == f"lgg-infer: {package} is not installed; pip install 'lgg-edge[{form}]'\n"
