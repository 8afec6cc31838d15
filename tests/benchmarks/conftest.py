"""What the tests of the benchmarks share: a run with weights by chance, its artifact, a clock."""

from pathlib import Path

import pytest

from lgg_bench.timing import Clock
from lgg_train.phantom import PhantomSettings, patient_name, write_phantoms

TEST_PATIENTS = (patient_name(2), patient_name(3))
SLICES = 5


class FakeTime:
    """Time that passes only where somebody waits or works; keeps what happened."""

    def __init__(self):
        self.seconds = 0.0
        self.log = []
        self.clock = Clock(now=lambda: self.seconds, sleep=self.rest)

    def rest(self, seconds):
        self.seconds += seconds
        self.log.append("rest")

    def worker(self, name, durations):
        """A callable that takes the next of the durations at each call, and returns its name."""
        left = list(durations)

        def work():
            self.seconds += left.pop(0)
            self.log.append(name)
            return name

        return work


@pytest.fixture
def fake_time():
    return FakeTime()


@pytest.fixture(scope="session")
def data(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("data")
    write_phantoms(root, PhantomSettings(patients=5, slices=SLICES, size=48, seed=2))
    return root


@pytest.fixture(scope="session")
def make_run(data, one_thread, tmp_path_factory):
    """Makes a run's folder as training leaves it, without the training, of the parts' patients."""
    import torch

    from lgg_runtime.cleanup import CleanupSettings
    from lgg_runtime.intensity import IntensitySettings
    from lgg_train.cases import find_cases, load_cases
    from lgg_train.decision import Decision
    from lgg_train.run import CONFIG_FILE, SPLIT_FILE, write_json
    from lgg_train.splits import PARTS, Split
    from lgg_train.trained import TrainedModel, describe_training, save_model
    from lgg_train.unet import UNet, UNetSettings

    def make(by: str, **names: tuple[str, ...]) -> Path:
        folder = tmp_path_factory.mktemp("runs") / "run"
        folder.mkdir()
        parts = {part: dict.fromkeys(names.get(part, ()), tuple(range(SLICES))) for part in PARTS}
        split = Split(by, 0, parts)
        split.write(folder / SPLIT_FILE)
        digests = {case.patient: case.digest for case in load_cases(find_cases(data))}
        write_json(folder / CONFIG_FILE, {"data": str(data), "digests": digests})
        torch.manual_seed(1)
        network = UNet(UNetSettings(features=4, depth=2)).eval()
        # An untrained head answers the same everywhere; this one finds a part of the tumours.
        torch.nn.init.normal_(network.head.weight)
        torch.nn.init.zeros_(network.head.bias)
        decision = Decision(0.6, CleanupSettings(smallest_fraction=0.1), "by the test")
        training = describe_training(split, "0" * 64)
        save_model(folder, TrainedModel(network, decision, IntensitySettings(), training))
        return folder

    return make


@pytest.fixture(scope="session")
def run(make_run) -> Path:
    """A run whose test part is two patients."""
    one, other = (patient_name(0),), (patient_name(1),)
    return make_run("patient", train=one, validation=other, test=TEST_PATIENTS)


@pytest.fixture(scope="session")
def artifact(run, tmp_path_factory) -> Path:
    from lgg_export.artifact import ExportSettings, export_run

    path = tmp_path_factory.mktemp("artifacts") / "tiny.onnx"
    export_run(run, path, ExportSettings())
    return path


@pytest.fixture(scope="session")
def altered(artifact, tmp_path_factory):
    """Writes a copy of the artifact whose weights, or whose contract, are changed."""
    import numpy as np
    import onnx
    from onnx import numpy_helper

    from lgg_runtime.contract import METADATA_KEY, Contract

    folder = tmp_path_factory.mktemp("altered")

    def write(name, factor=1.0, change=lambda contract: contract):
        model = onnx.load(str(artifact))
        for tensor in model.graph.initializer:
            values = numpy_helper.to_array(tensor)
            if values.dtype == np.float32 and values.size > 1:
                tensor.CopyFrom(numpy_helper.from_array(values * np.float32(factor), tensor.name))
        text = {entry.key: entry.value for entry in model.metadata_props}[METADATA_KEY]
        contract = change(Contract.loads(text))
        onnx.helper.set_model_props(model, {METADATA_KEY: contract.dumps()})
        path = folder / name
        onnx.save(model, str(path))
        return path

    return write


@pytest.fixture
def call_main(make_caller):
    """Calls lgg-bench as the shell does, see `make_caller`."""
    from lgg_bench.cli import main

    return make_caller("lgg-bench", main)
