"""What the tests of export share: a finished tiny run, its artifact, and a network to export.

Exporting takes seconds, so each graph is built once a session; tests take copies.
"""

from pathlib import Path
from types import SimpleNamespace

import onnx
import pytest
import torch

from lgg_export import artifact
from lgg_export.artifact import ExportSettings, export_run
from lgg_export.graph import build_graph
from lgg_train.cli import command
from lgg_train.report import run_evaluation
from lgg_train.unet import UNet, UNetSettings
from stand_ins.run_folder import TINY


@pytest.fixture(scope="session", autouse=True)
def on_one_thread(one_thread):
    """For every test here."""


@pytest.fixture(scope="session")
def finished_run(phantoms, tmp_path_factory) -> Path:
    """The folder of a trained and evaluated run; tests that write into it take a copy."""
    out = tmp_path_factory.mktemp("runs") / "finished"
    brief = ["--epochs", "10", "--rate", "0.01", "--validations", "1"]
    args = ["train", "--data", str(phantoms), "-o", str(out), *TINY, *brief]
    command.main(args, standalone_mode=False)
    run_evaluation(out, phantoms, "test", "cpu")
    return out


@pytest.fixture(scope="session")
def exported(finished_run, tmp_path_factory) -> SimpleNamespace:
    """The run's fp32 artifact: its path, contract and parity."""
    path = tmp_path_factory.mktemp("artifacts") / "tiny.onnx"
    contract, parity = export_run(finished_run, path, ExportSettings(name="tiny"))
    return SimpleNamespace(path=path, contract=contract, parity=parity)


@pytest.fixture(scope="session")
def network() -> UNet:
    """A network whose weights, and the statistics of whose normalisations, are all random."""
    return make_network(UNetSettings(features=4, depth=2, prior=0.5))


def make_network(settings: UNetSettings) -> UNet:
    generator = torch.Generator().manual_seed(11)
    torch.manual_seed(11)
    made = UNet(settings)
    with torch.no_grad():
        made.head.weight.normal_(0, 1, generator=generator)
        for module in made.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.running_mean.normal_(0, 0.5, generator=generator)
                module.running_var.uniform_(0.5, 2, generator=generator)
                module.weight.uniform_(0.5, 1.5, generator=generator)
                module.bias.normal_(0, 0.3, generator=generator)
    return made.eval()


@pytest.fixture(scope="session")
def deep_network() -> UNet:
    """As `network`, of the standard depth."""
    return make_network(UNetSettings(features=2, depth=4, prior=0.5))


@pytest.fixture(scope="session")
def built(network) -> dict[str, bytes]:
    """The network's graphs by arithmetic, and in fp32 with sub-pixel convolutions."""
    kinds = {"fp32": (torch.float32,), "fp16": (torch.float16,), "sub-pixel": (torch.float32, True)}
    return {name: build_graph(network, *kind).SerializeToString() for name, kind in kinds.items()}


@pytest.fixture
def graph(built) -> onnx.ModelProto:
    """A copy of the network's fp32 graph."""
    return onnx.load_from_string(built["fp32"])


@pytest.fixture
def ready_graph(exported, monkeypatch):
    """The fp32 graph of the run is taken from its artifact in place of exporting it again."""

    def build(*_):
        model = onnx.load(str(exported.path))
        del model.metadata_props[:]
        return model

    monkeypatch.setattr(artifact, "build_graph", build)
    return build


@pytest.fixture
def call_main(make_caller):
    """Calls lgg-export as the shell does, see `make_caller`."""
    from lgg_export.cli import main

    return make_caller("lgg-export", main)
