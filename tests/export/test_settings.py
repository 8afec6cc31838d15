"""Where the settings of an export arrive."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from lgg_export import artifact
from lgg_export.artifact import ExportSettings, export_run
from lgg_runtime.errors import InputError, ParityError
from lgg_runtime.intensity import IntensitySettings
from lgg_train.trained import load_model

FP32 = ExportSettings()


@pytest.mark.parametrize(
    ("settings", "arithmetic", "sub_pixel"),
    [
        (FP32, torch.float32, False),
        (ExportSettings("fp16"), torch.float16, False),
        (ExportSettings("int8"), torch.float32, True),
        (ExportSettings("int8", target="tensorrt"), torch.float32, False),
    ],
)
def test_each_precision_is_built_in_its_own_arithmetic_and_calibrated_on_the_named_data(
    finished_run, monkeypatch, settings, arithmetic, sub_pixel
):
    asked, marked = [], SimpleNamespace(probability=np.ones(1))
    monkeypatch.setattr(artifact, "build_graph", lambda _network, *given: asked.append(given))
    monkeypatch.setattr(
        artifact,
        "open_calibration",
        lambda *given: asked.append(given[2:]) or ("", iter((marked,))),
    )
    monkeypatch.setattr(artifact, "quantise_run", lambda *_: (None, {}))
    named = replace(settings, data=Path("named"))
    artifact._build(finished_run, load_model(finished_run), named, lambda _: None, False)
    calibrated = [(Path("named"),)] if settings.precision == "int8" else []
    assert asked == [(arithmetic, sub_pixel), *calibrated]


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_references_are_of_the_named_data_and_know_of_int8(
    finished_run, tmp_path, monkeypatch, ready_graph, precision
):
    def open_references(_run, _model, data, is_int8):
        raise ParityError(f"asked for {data}, {is_int8}")

    monkeypatch.setattr(artifact, "_build", lambda *_: (ready_graph(), {}))
    monkeypatch.setattr(artifact, "open_references", open_references)
    settings = ExportSettings(precision, data=Path("named"))
    with pytest.raises(ParityError, match=f"asked for named, {precision == 'int8'}$"):
        export_run(finished_run, tmp_path / "m.onnx", settings)


def test_the_contract_says_what_the_run_and_the_settings_do(finished_run):
    model = load_model(finished_run)
    model = replace(model, intensity=IntensitySettings(centre=90))
    settings = ExportSettings(pixel_mm=1.5, licence="mine alone")
    contract = artifact._contract(finished_run, model, "x", settings)
    assert (contract.intensity, contract.pixel_mm) == (model.intensity, 1.5)
    assert contract.licence == "mine alone"


def test_a_run_that_is_the_current_folder_gives_its_own_name(finished_run, tmp_path, monkeypatch):
    def refuse(_run, _model, name, _settings):
        raise InputError(f"named {name}")

    monkeypatch.chdir(finished_run)
    monkeypatch.setattr(artifact, "_contract", refuse)
    with pytest.raises(InputError, match=f"^named {finished_run.name}$"):
        export_run(Path(), tmp_path / "m.onnx", FP32)
