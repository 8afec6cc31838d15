"""Rows about training and export."""

from __future__ import annotations

import sys

import numpy as np

from catalogue.hostile_models import no_contract, spoil
from catalogue.keepings import untouched
from catalogue.row import Keeping, Outcome, Row, Section
from catalogue.training_scenes import (
    FIRST,
    SECOND,
    TRAINING_LOCK,
    Intruder,
    Make,
    another_graph,
    checkpoint,
    cut_checkpoint,
    data,
    exhaust_memory,
    fill_disk,
    holding,
    lacking,
    leave_one,
    lock_run,
    lose_a_patient,
    lose_a_worker,
    lose_the_number,
    mix,
    no_compiler,
    no_gpu,
    patient,
    run,
    stop_at_a_step,
    write_first,
    write_split,
)

BRIEF = (
    *("--epochs", "0.2", "--features", "4", "--depth", "2", "--crop", "32", "--batch", "4"),
    *("--tumour", "3", "--precision", "fp32", "--device", "cpu", "--validations", "1"),
    "--no-progress",
)
TRAIN = ("lgg-train", "train", "--data", "in", "-o", "trained", *BRIEF)
RESUME = (*TRAIN, "--resume")
EXPORT = ("lgg-export", "trained", "-o", "new.onnx")
USAGE = "Usage: lgg-train train [OPTIONS]\nTry 'lgg-train train --help' for help.\n\nError: "


def _run_stays(outcome: Outcome, _row: Row) -> None:
    assert not [name for name in outcome.changed if name.startswith("trained/")]
    assert not (outcome.scene.root / "intruded").exists()


def _no_checkpoint(outcome: Outcome, _row: Row) -> None:
    names = ("config.json", "split.json", "history.csv", TRAINING_LOCK)
    assert outcome.changed <= {f"trained/{name}" for name in names}


UNTOUCHED = Keeping("Nothing is written.", untouched)
RUN_STAYS = Keeping("The run's folder stays as it was.", _run_stays)
NO_CHECKPOINT = Keeping("No checkpoint of it is written.", _no_checkpoint)


def bad_data(name: str, what: str, make: Make, says: str) -> Row:
    return Row(name, what, data(make), 3, f"lgg-train: {says}", NO_CHECKPOINT, command=TRAIN)


def bad_run(name: str, what: str, make: Make, says: str) -> Row:
    return Row(name, what, run(make), 3, f"lgg-train: {says}", RUN_STAYS, command=RESUME)


def usage(name: str, what: str, says: str, *options: str) -> Row:
    return Row(name, what, data(), 2, says, UNTOUCHED, command=(*TRAIN, *options))


def export(name: str, what: str, make: Make, code: int, says: str, *command: str) -> Row:
    words = command or EXPORT
    return Row(name, what, make, code, f"lgg-export: {says}", UNTOUCHED, command=words)


DATA = (
    bad_data("mask alone", "A mask without its image.", lacking("_3.tif"),
             f"in/kaggle_3m: unfit files: {FIRST}_3_mask.tif has no image"),
    bad_data("image alone", "An image without its mask.", lacking("_2_mask.tif"),
             f"in/kaggle_3m: unfit files: {FIRST}_2.tif has no mask"),
    bad_data("other name", "A slice whose name has no number.",
             lambda scene: patient(scene)[0].joinpath("scan.tif").write_bytes(b""),
             "in/kaggle_3m: unfit files: scan.tif is not PATIENT_<n>.tif"),
    bad_data("another patient", "Slices of another patient in a patient's folder.", mix,
             f"in/kaggle_3m: unfit files: {FIRST}_1.tif and {SECOND}_1.tif are of different "
             "patients, {the slices of one number}"),
    bad_data("no slices", "A patient's folder without slices.",
             lambda scene: patient(scene)[0].with_name("EMPTY").mkdir(),
             "in/kaggle_3m: no PATIENT_<n>.tif in EMPTY; take these folders away"),
    bad_data("mask of another size", "A mask of another size.",
             holding("_2_mask.tif", lambda: np.zeros((64, 63), np.uint8)),
             f"{FIRST}_2_mask.tif: mask is (64, 63), its slice (64, 64)"),
    bad_data("grey mask", "A mask with values other than 0 and 255.",
             holding("_2_mask.tif", lambda: np.full((64, 64), 128, np.uint8)),
             f"{FIRST}_2_mask.tif: mask holds 128; expected 0, and 255 where there is tumour"),
    bad_data("damaged slice", "A damaged slice.",
             lambda scene: write_first(scene, b"II*\0"),
             f"{FIRST}_1.tif: TIFF is cut short or damaged: its directory lies outside the file; "
             "copy the file again"),
    bad_data("sizes", "Slices of one patient that differ in size.",
             lambda scene: (holding("_2.tif", lambda: np.zeros((32, 64, 3), np.uint8))(scene),
                            holding("_2_mask.tif", lambda: np.zeros((32, 64), np.uint8))(scene)),
             f"{FIRST}: slices differ in size: [(32, 64, 3), (64, 64, 3)]"),
    bad_data("one patient", "One patient alone: nothing to validate or test on.", leave_one,
             "1 patient leaves nothing for validation and test; expected 6 or more"),
    Row("empty part", "A split file with an empty part.",
        data(write_split(train={FIRST: [0]}, validation={}, test={SECOND: [1]})), 3,
        "lgg-train: split.json: nothing in validation", UNTOUCHED,
        command=(*TRAIN, "--split", "split.json")),
    Row("shared slice", "A split file that trains on what it tests on.",
        data(write_split(train={FIRST: [0]}, validation={FIRST: [1]}, test={FIRST: [0]})), 3,
        "lgg-train: split.json: a slice stands in two parts", UNTOUCHED,
        command=(*TRAIN, "--split", "split.json")),
    Row("shared patient", "A split file by patient that trains and tests on one patient.",
        data(write_split(train={FIRST: [0]}, validation={SECOND: [1]}, test={FIRST: [1]})), 3,
        "lgg-train: split.json: a patient stands in two parts of a split by patient", UNTOUCHED,
        command=(*TRAIN, "--split", "split.json")),
    Row("unknown patient", "A split file that names patients who are not there.",
        data(write_split(train={"X": [0]}, validation={FIRST: [1]}, test={SECOND: [0]})), 3,
        "lgg-train: split.json: the data do not hold all slices that the split names of X",
        UNTOUCHED,
        command=(*TRAIN, "--split", "split.json")),
    Row("no data", "A folder that is not there.", lambda scene: None, 4,
        "lgg-train: gone: no such folder; `make data` says how to get the dataset", UNTOUCHED,
        command=("lgg-train", "train", "--data", "gone", "-o", "trained", *BRIEF)),
    Row("no patients", "A folder without patients.", lambda scene: None, 4,
        "lgg-train: in: no PATIENT/PATIENT_<n>.tif with PATIENT_<n>_mask.tif in it; give a "
        "folder that holds one folder a patient, with slices and masks as TIFF", UNTOUCHED,
        command=TRAIN),
)  # fmt: skip


RUNS = (
    Row("NaN loss", "A loss that is no number any more.", data(lose_the_number), 1,
        "lgg-train: the loss is nan at step 1; lower the peak rate", NO_CHECKPOINT, command=TRAIN),
    Row("stopped", "SIGTERM in mid-training.", data(stop_at_a_step), 143, "lgg-train: terminated",
        NO_CHECKPOINT, command=TRAIN),
    bad_run("schema", "A checkpoint of another schema.", checkpoint(lambda: {"schema": 99}),
            "trained/last.pt: expected checkpoint schema 1, found 99"),
    bad_run("pickled code", "A checkpoint with pickled code: never run.",
            checkpoint(lambda: {"schema": 1, "model": Intruder()}),
            "trained/last.pt: not a checkpoint of tensors ({the reason})"),
    bad_run("cut checkpoint", "A checkpoint cut short.", cut_checkpoint,
            "trained/last.pt: not a checkpoint of tensors (cut short, or another format)"),
    bad_run("no checkpoint", "A run without a checkpoint.",
            lambda scene: (scene.root / "trained" / "last.pt").unlink(),
            "trained: no last.pt to go on from; it is finished, choose another folder"),
    bad_run("other data", "Other data than the run was begun on.",
            holding("_2_mask.tif", lambda: np.pad(np.full((8, 8), 255, np.uint8), 28)),
            "trained: the run was begun on other data or another split"),
    Row("other settings", "--resume with other settings.", run(), 3,
        "lgg-train: trained/last.pt: made with other settings: seed; leave them out",
        RUN_STAYS,
        command=(*RESUME, "--seed", "7")),
    Row("resume nothing", "--resume without a run.", data(), 3,
        "lgg-train: trained: no run to go on with; leave --resume out to begin one", UNTOUCHED,
        command=RESUME),
    Row("resume another split", "--resume beside options of a split.", run(), 2,
        f"{USAGE}--resume goes on with the run's own split; leave --split-by out", RUN_STAYS,
        command=(*RESUME, "--split-by", "slice")),
    Row("second run", "A second run in one folder.", run(), 2,
        "lgg-train: trained holds a run already; --resume goes on with it, another folder "
        "begins anew", RUN_STAYS,
        command=TRAIN),
    Row("two runs", "A second run beside one that is at work in the folder.", data(lock_run), 8,
        "lgg-train: trained: another run is writing there; wait for its end or take another folder",
        UNTOUCHED, command=TRAIN),
    Row("disk full", "A disk that is full at a checkpoint.", data(fill_disk), 7,
        "lgg-train: last.pt: the disk is full; free some space",
        NO_CHECKPOINT, command=TRAIN),
    Row("memory", "Memory that is exhausted in training.", data(exhaust_memory), 7,
        "lgg-train: the memory does not suffice; a smaller --batch or --crop, or fewer --features, "
        "may fit", NO_CHECKPOINT, command=TRAIN),
    Row("lost worker", "A process of --workers that is killed, as for want of memory.",
        data(lose_a_worker), 7,
        "lgg-train: --workers: a process that augments was killed; the memory may not suffice for "
        "1, give fewer", NO_CHECKPOINT, command=(*TRAIN, "--workers", "1", "--validations", "1",
                                                 "--epochs", "20")),
    Row("no compiler", "--compile without a C++ compiler.", data(no_compiler), 6,
        "lgg-train: --compile: No working C++ compiler found; give --no-compile, or install g++",
        NO_CHECKPOINT, command=(*TRAIN, "--compile")),
    Row("file as folder", "A file in the place of the run's folder.",
        data(lambda scene: (scene.root / "trained").write_bytes(b"")), 7,
        "lgg-train: trained: cannot be written: Not a directory", UNTOUCHED, command=TRAIN),
    Row("no CUDA", "CUDA asked for where PyTorch finds none.", data(no_gpu), 6,
        "lgg-train: --device cuda: this PyTorch finds no CUDA device",
        UNTOUCHED, command=(*TRAIN, "--device", "cuda")),
    usage("two budgets", "Epochs and minutes.",
          "lgg-train: expected one budget above zero: either epochs or minutes", "--minutes", "1"),
    usage("crop", "A crop that the depth cannot halve.",
          "lgg-train: crop 33: a depth of 2 expects a multiple of 4", "--crop", "33"),
    usage("folds of slices", "Folds of a split by slice.",
          "lgg-train: folds are by patient; --split-by slice has none",
          "--folds", "3", "--split-by", "slice"),
    Row("phantoms", "Phantoms where other slices lie.", data(), 8,
        f"lgg-train: in/kaggle_3m/{FIRST}: holds {FIRST}_3.tif, which is not of these phantoms; "
        "choose another folder", UNTOUCHED,
        command=("lgg-train", "phantom", "-o", "in", "--slices", "2")),
    Row("fewer phantoms", "Phantoms where other patients lie.", data(), 8,
        "lgg-train: in/kaggle_3m: holds PHANTOM_A_0005, which is not of these phantoms; choose "
        "another folder", UNTOUCHED,
        command=("lgg-train", "phantom", "-o", "in", "--patients", "1", "--slices", "6")),
    Row("evaluate nothing", "An evaluation of a run that is not there.", data(), 3,
        "lgg-train: trained: no such folder", UNTOUCHED,
        command=("lgg-train", "evaluate", "trained", "--data", "in")),
)  # fmt: skip


EXPORTS = (
    export("unfinished", "An export of a run that is not finished.",
           run(lambda scene: (scene.root / "trained" / "model.pt").unlink()), 3,
           "trained: no model.pt in it; finish the training with --resume"),
    export("no artifact name", "An artifact of another suffix.", run(), 2,
           "new.bin: expected a name that ends in .onnx", "lgg-export", "trained", "-o", "new.bin"),
    export("fp16 twice", "fp16 asked for twice.", run(), 2,
           "fp16 stores its own kind of weights; leave --weights out", *EXPORT,
           "--precision", "fp16", "--weights", "fp16"),
    export("gate", "An artifact that differs from PyTorch; an older one stays.",
           run(another_graph), 9, "new.onnx is not written: {every exceeded limit}"),
    export("gate without data", "A gate whose patients are not there.", run(lose_a_patient), 3,
           "{the run}/split.json: the data do not hold all slices that the split names of {their "
           "names}", *EXPORT,
           "--data", "in"),
    export("inspect text", "A look into what is no ONNX file.",
           lambda scene: scene.model.write_bytes(b"text"), 5,
           "model.onnx: not an ONNX model, or cut short; export it again", "lgg-export", "inspect",
           "model.onnx"),
    export("inspect no contract", "A look into a model without a contract.", spoil(no_contract), 5,
           "model.onnx: no contract in its metadata", "lgg-export", "inspect", "model.onnx"),
    export("inspect nothing", "A look into a file that is not there.", lambda scene: None, 5,
           "gone.onnx: no such model; expected a file or {a shipped name}", "lgg-export",
           "inspect", "gone.onnx"),
    export("sign nothing", "A signature of a file that is not there.", lambda scene: None, 5,
           "gone.onnx: no such model", "lgg-export", "sign", "gone.onnx", "--key", "our.pem"),
    export("sign without key", "A signature with what is no key.", lambda scene: None, 2,
           "model.onnx: expected an Ed25519 private key in PEM without a password; openssl genpkey "
           "-algorithm ed25519 makes one", "lgg-export", "sign", "model.onnx", "--key",
           "model.onnx"),
    export("no TensorRT", "An engine without TensorRT.",
           lambda scene: scene.patch.setitem(sys.modules, "tensorrt", None), 6,
           "tensorrt is not installed; pip install 'lgg-edge[tensorrt]'", "lgg-export",
           "model.onnx", "-o", "new.engine", "--format", "tensorrt"),
)  # fmt: skip

SECTION = Section(
    "Training and export",
    "A run's folder and an older artifact stay as they are until what replaces them is whole. "
    "Nothing that is loaded may hold code.",
    (*DATA, *RUNS, *EXPORTS),
)
