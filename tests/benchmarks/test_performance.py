"""The performance page says what its records say, and is filled from them alone."""

import shutil
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from lgg_bench.performance import BLOCKS, KEPT, write_performance
from lgg_bench.performance_figures import draw_throughput, entitle_throughput
from lgg_bench.record import Record
from lgg_bench.tables import describe_record
from lgg_runtime.errors import InputError

DOCS = Path(__file__).parents[2] / "docs"


def test_the_committed_page_holds_its_records_tables():
    page = (DOCS / "performance.md").read_text(encoding="utf-8")
    for name in (*BLOCKS, *KEPT):
        path = DOCS / "results" / f"{name}.json"
        assert describe_record(Record.read(path), path) in page, name


def test_filling_makes_the_page_again_from_its_blocks(tmp_path):
    page = tmp_path / "performance.md"
    shutil.copyfile(DOCS / "performance.md", page)
    for folder, names in (("results", KEPT), ("measured", BLOCKS)):
        (tmp_path / folder).mkdir()
        for name in names:
            shutil.copy(DOCS / f"results/{name}.json", tmp_path / folder)
    write_performance(tmp_path / "measured", page)
    assert page.read_bytes() == (DOCS / "performance.md").read_bytes()
    assert (tmp_path / "performance" / "throughput.png").read_bytes()[:4] == b"\x89PNG"


@pytest.mark.parametrize(
    ("features", "told"),
    [
        (["avx2", "avx512_bf16"], True),
        (["avx2", "amx_bf16"], True),
        (["avx2", "avx512f"], False),
        ([], False),
    ],
)
def test_bf16_is_told_of_openvino_s_defaults_only_where_the_processor_has_it(features, told):
    record = Record.read(DOCS / "results" / "throughput.json")
    machine = record.machine | {"features": features}
    assert ("bf16" in entitle_throughput(replace(record, machine=machine))) is told


def test_a_missing_record_is_named(tmp_path):
    with pytest.raises(InputError, match=r"throughput\.json: no such file"):
        write_performance(tmp_path, DOCS / "performance.md")


@pytest.mark.parametrize("name", ["throughput", "memory"])
def test_a_record_of_another_benchmark_than_its_name_says_is_refused(tmp_path, name):
    for path in (DOCS / "results").glob("*.json"):
        shutil.copy(path, tmp_path)
    shutil.copy(DOCS / "results" / "latency.json", tmp_path / f"{name}.json")
    page = tmp_path / "performance.md"
    shutil.copyfile(DOCS / "performance.md", page)
    (tmp_path / "results").symlink_to(DOCS / "results")
    with pytest.raises(InputError, match=rf"{name}\.json: expected a record of {name}, found"):
        write_performance(tmp_path, page)
    assert page.read_bytes() == (DOCS / "performance.md").read_bytes()


@pytest.mark.parametrize(
    ("threads", "cores", "told"), [(4, 2, "2 CPU cores"), (1, 2, "1 CPU core (")]
)
def test_the_picture_tells_the_cores_that_were_used(threads, cores, told):
    record = Record.read(DOCS / "results" / "throughput.json")
    settings = record.settings | {"threads": threads}
    used = replace(record, settings=settings, machine=record.machine | {"cores": cores})
    assert told in entitle_throughput(used)


def test_a_bar_is_as_long_as_its_rate_blue_is_lgg_infer_s_and_the_slowest_stands_on_top():
    record = Record.read(DOCS / "results" / "throughput.json")
    rows = [
        {"subject": subject, "engine_busy": busy, "times_notebook": None,
         "slices_per_second": {"low": rate, "median": rate, "high": rate}}
        for subject, busy, rate in (("other", None, 100.0), ("ours", 0.5, 300.0))
    ]  # fmt: skip
    drawn = draw_throughput(replace(record, results=record.results | {"rows": rows}))
    picture = cv2.imdecode(np.frombuffer(drawn, np.uint8), cv2.IMREAD_COLOR_RGB)
    found = {}
    for name, colour in (("blue", (31, 119, 180)), ("grey", (127, 127, 127))):
        lengths = (picture == colour).all(axis=2).sum(axis=1)
        found[name] = (np.flatnonzero(lengths > 20).mean(), lengths.max())
    (below, long), (above, short) = found["blue"], found["grey"]
    assert above < below
    assert long / short == pytest.approx(3, rel=0.05)


def read_rows(name):
    return Record.read(DOCS / "results" / f"{name}.json").results["rows"]


def test_the_readme_s_table_of_models_says_what_the_records_say():
    dice = {
        (row["subject"], row["way"]): f"{row['mean_dice']:.3f}"
        for name in ("quality", "quality-lite")
        for row in read_rows(name)
    }
    speeds = [
        {row["subject"]: f"{row['times_notebook']['median']:.1f}" for row in read_rows(name)
         if row["times_notebook"]}
        for name in ("throughput", "throughput-avx2", "throughput-amx")
    ]  # fmt: skip
    readme = (DOCS.parent / "README.md").read_text(encoding="utf-8").splitlines()
    lines = [line.strip("| ").split(" | ") for line in readme if line.count(" / ") >= 2]
    assert len(lines) == 6
    for command, mean_dice, *cells in lines:
        model, _, look = command.strip("`").partition(" --first-look ")
        measured = f"{model}.onnx (int8)" if "int8" in model else f"{model}-fp32.onnx (fp32)"
        for way in ("cpu", "openvino"):
            found = dice[f"{measured} on {way}", "first look" if look else ""]
            assert found == mean_dice, command
        for cell, speed in zip(cells, speeds, strict=True):
            ways = [f"{model}.onnx on {way}{', first look' if look else ''}"
                    for way in ("cpu", "openvino")]  # fmt: skip
            rows = [speed[way] for way in ways if way in speed]
            assert cell == (" / ".join(rows) or "-"), command
