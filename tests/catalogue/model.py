"""Rows about models, engines and providers."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import Any

from catalogue.hostile_models import (
    Change,
    ask_for_opset,
    change_sidecar,
    claim_more,
    contract_with,
    external,
    flip_a_bit,
    golden_of,
    hard_link_weights,
    hold_a_function,
    hold_a_graph,
    hold_sparse,
    link_weights,
    make_keys,
    no_contract,
    operator,
    put_engine,
    put_formula,
    put_weights,
    rename_input,
    sign,
    spoil,
    take_another_rank,
    take_floats,
    use_gpu,
)
from catalogue.keepings import NOTHING_MADE
from catalogue.row import INFER, Keeping, Outcome, Row, Scene, Section

Make = Callable[[Scene], object]
GOLDEN = "its golden pair is damaged:"
GOLDEN_FORM = "expected a slice of sides up to 512, and a sample for each 16 x 16 pixels"
OTHER_FILE = "its tensors lie in another file; export it as one file"
NO_ONNX = "not an ONNX model, or cut short; export it again"
SIGNED = (*INFER, "--require-signature", "ours.pub")
CUDA = (*INFER, "--provider", "cuda")
ENGINE = (*INFER, "-m", "model.engine", "--provider", "tensorrt")
IO = "[('slices', 'tensor(uint8)', 4), ('probability', 'tensor(float)', 3)]"


def refused(name: str, what: str, make: Make, reason: str, command: tuple[str, ...] = INFER) -> Row:
    """A model that is refused; nothing is written."""
    return Row(name, what, make, 5, f"lgg-infer: {reason}", NOTHING_MADE, command=command)


def hostile(name: str, what: str, change: Change, reason: str) -> Row:
    return refused(name, what, spoil(change), f"model.onnx: {reason}")


def outside(name: str, what: str, location: str, put: Make) -> Row:
    """External data, wherever it lies and whatever it is: refused before anything is opened."""
    return refused(name, what, external(location, put), f"model.onnx: {OTHER_FILE}")


def unavailable(
    name: str, what: str, make: Make, reason: str, command: tuple[str, ...] = CUDA
) -> Row:
    """A provider that cannot run: never the CPU in its place."""
    return Row(name, what, make, 6, f"lgg-infer: {reason}", NOTHING_MADE, command=command)


def _write(data: bytes) -> Make:
    return lambda scene: scene.model.write_bytes(data)


def _cut(scene: Scene) -> None:
    scene.model.write_bytes(scene.model.read_bytes()[:-7])


def _grow(scene: Scene) -> None:
    """512 MiB and a byte, none of which is stored."""
    os.truncate(scene.model, 2**29 + 1)


def _put_named(name: str, data: bytes = b"") -> Make:
    return lambda scene: (scene.root / name).write_bytes(data)


def _signed_by_another(scene: Scene) -> None:
    make_keys(scene, "ours", "theirs")
    sign(scene, "theirs")


def _signed_and_changed(scene: Scene) -> None:
    """A threshold that was changed after the signature."""
    make_keys(scene, "ours")
    sign(scene)
    spoil(contract_with(threshold=0.25))(scene)


def _signed(scene: Scene) -> None:
    make_keys(scene, "ours")
    sign(scene)


def _tampered_engine(scene: Scene) -> None:
    put_engine(scene)
    path = scene.root / "model.engine"
    path.write_bytes(path.read_bytes() + b"\0")


def _engine_alone(scene: Scene) -> None:
    put_engine(scene)
    (scene.root / "model.engine.json").unlink()


def _changed_sidecar(scene: Scene) -> None:
    put_engine(scene)
    path = scene.root / "model.engine.json"
    path.write_text(path.read_text().replace('"threshold": 0.5', '"threshold": 0.4'))


def _engine_for(**key: Any) -> Make:
    def make(scene: Scene) -> None:
        put_engine(scene)
        change_sidecar(scene, **key)

    return make


def _gpu(**options: Any) -> Make:
    def make(scene: Scene) -> None:
        from stand_ins.onnxruntime_gpu import StandInOnnxRuntime

        use_gpu(scene, StandInOnnxRuntime(**options))

    return make


def _packages(*names: str) -> Make:
    """Packages of onnxruntime as pip lists them, none of which has a GPU's provider."""

    def make(scene: Scene) -> None:
        from lgg_runtime.backends import missing

        installed = dict.fromkeys(names, "1.32.0")
        scene.patch.setattr(missing, "installed_packages", lambda: installed)

    return make


def _no_driver(scene: Scene) -> None:
    from lgg_runtime.backends import missing
    from stand_ins.onnxruntime_gpu import StandInOnnxRuntime

    real = missing.find_driver
    use_gpu(scene, StandInOnnxRuntime())
    scene.patch.setattr(missing, "find_driver", real)
    scene.patch.setattr("lgg_runtime.backends.cuda_driver.LIBRARY", "libcuda.so.0")


def _no_module(name: str, make: Make = lambda scene: None) -> Make:
    def take_away(scene: Scene) -> None:
        make(scene)
        scene.patch.setitem(sys.modules, name, None)

    return take_away


def _one_slice_at_once(outcome: Outcome, row: Row) -> None:
    assert outcome.run["provider"]["largest_batch"] == 1
    assert outcome.run["counts"]["done"] == 3
    assert outcome.fates("failed") == []


def _three_slices(scene: Scene) -> None:
    _gpu(holds=1)(scene)
    for number in (2, 3):
        scene.put_good(f"good/good_{number}.png")


def _look_at_another_scale(scene: Scene) -> None:
    usual = scene.model.read_bytes()
    spoil(contract_with(pixel_mm=2.0))(scene)
    scene.model.rename(scene.root / "quick.onnx")
    scene.model.write_bytes(usual)


FILES = (
    refused("nowhere", "A model that is not there.", lambda scene: None,
            "gone.onnx: no such model; expected a file or {a shipped name}",
            (*INFER, "-m", "gone.onnx")),
    refused("impossible name", "A model of an impossible name.", lambda scene: None,
            f"{'a' * 300}: cannot be opened: File name too long", (*INFER, "-m", "a" * 300)),
    refused("empty", "An empty model.", _write(b""),
            "model.onnx: not an ONNX model; export it with lgg-export"),
    refused("text", "A text named .onnx.", _write(b"hello, this is text\n"),
            f"model.onnx: {NO_ONNX}"),
    refused("zip", "An archive named .onnx.", _write(b"PK\3\4 not a model"),
            f"model.onnx: {NO_ONNX}"),
    refused("cut", "A model cut short.", _cut, f"model.onnx: {NO_ONNX}"),
    refused("above 512 MiB", "A model of 512 MiB and a byte.", _grow,
            "model.onnx: holds 536870913 bytes; at most 536870912 are read"),
    refused("checkpoint", "A PyTorch checkpoint: the runtime never unpickles.",
            _put_named("model.pt", b"\x80\x02"),
            "model.pt: a PyTorch checkpoint; export it first: lgg-export",
            (*INFER, "-m", "model.pt")),
    refused("other suffix", "A model of another suffix.", _put_named("model.tflite"),
            "model.tflite: expected a model file .onnx, .engine", (*INFER, "-m", "model.tflite")),
    refused("pipe", "A pipe in the place of the model: never waited for.",
            lambda scene: os.mkfifo(scene.root / "pipe.onnx"),
            "pipe.onnx: no such model; expected a file or {a shipped name}",
            (*INFER, "-m", "pipe.onnx")),
    refused("digest", "Another SHA-256 than the one given.", lambda scene: None,
            "model.onnx: its SHA-256 is {digest}, expected 000000000000...",
            (*INFER, "--model-sha256", "0" * 64)),
    Row("no digest", "A digest that is none.", lambda scene: None, 2,
        "lgg-infer: model SHA-256: expected 64 hexadecimal digits, as sha256sum prints",
        NOTHING_MADE, command=(*INFER, "--model-sha256", "abc")),
    refused("no signature", "A model without the signature that is required.",
            lambda scene: make_keys(scene, "ours"),
            "model.onnx: its signature model.onnx.sig cannot be read; sign it with lgg-export "
            "sign", SIGNED),
    refused("other key", "A model that another key signed.", _signed_by_another,
            "model.onnx: model.onnx.sig is no signature of this file by ours.pub", SIGNED),
    refused("changed", "A model that was changed after it was signed.", _signed_and_changed,
            "model.onnx: model.onnx.sig is no signature of this file by ours.pub", SIGNED),
    Row("no key", "A public key that is none.", _put_named("ours.pub", b"no key"), 2,
        "lgg-infer: ours.pub: expected an Ed25519 public key in PEM; openssl pkey -pubout writes "
        "it", NOTHING_MADE, command=SIGNED),
    refused("first look gone", "A first look that is not there.", lambda scene: None,
            "gone.onnx: no such model; expected a file or {a shipped name}",
            (*INFER, "--first-look", "gone.onnx")),
    refused("first look digest", "A first look of another SHA-256 than the one given.",
            lambda scene: None, "model.onnx: its SHA-256 is {digest}, expected 000000000000...",
            (*INFER, "--first-look", "model.onnx", "--first-look-sha256", "0" * 64)),
    Row("no first look", "The digest of a first look that is not asked for.", lambda scene: None, 2,
        "lgg-infer: a first look's SHA-256, and no first look", NOTHING_MADE,
        command=(*INFER, "--first-look-sha256", "0" * 64)),
    refused("first look differs", "A first look that was trained on slices of another scale.",
            _look_at_another_scale,
            "first look tiny: its pixel_mm is 2.0, the model's is 0.9375; both must be trained on "
            "slices that are prepared alike", (*INFER, "--first-look", "quick.onnx")),
    unavailable("no cryptography", "A signature required without the package that checks it.",
                _no_module("cryptography.hazmat.primitives.serialization", _signed),
                "cryptography.hazmat.primitives.serialization is not installed; pip install "
                "'lgg-edge[signing]'", SIGNED),
)  # fmt: skip

GRAPHS = (
    outside("external", "A model with external data beside it.", "weights.bin", put_weights),
    outside("external above", "External data outside the model's folder.", "../weights.bin",
            lambda scene: None),
    outside("external root", "External data at an absolute path.", "/etc/hostname",
            lambda scene: None),
    outside("external link", "External data by a symbolic link.", "weights.bin", link_weights),
    outside("external hard link", "External data by a hard link.", "weights.bin",
            hard_link_weights),
    outside("external gone", "External data that is missing.", "weights.bin", lambda scene: None),
    outside("external short", "External data of the wrong size.", "weights.bin",
            lambda scene: put_weights(scene, 3)),
    hostile("operator", "An operator that models of this toolchain do not use.", operator("Loop"),
            "operator Loop is none that models of this toolchain use; refused"),
    hostile("domain", "An operator of a custom domain.", operator("Attack", "com.example"),
            "operator com.example.Attack is none of the ONNX standard; refused"),
    hostile("inner graph", "An operator that holds a graph.", hold_a_graph,
            "holds a graph inside an operator; refused"),
    hostile("function", "A model with functions of its own.", hold_a_function,
            "holds functions or training of its own; export it with lgg-export"),
    hostile("oversize", "A constant of 4 bytes that claims 10^12 values.", claim_more,
            "tensor constant0 claims 1000000000000 values in 27 bytes; refused"),
    hostile("sparse", "A model with sparse tensors.", hold_sparse,
            "holds sparse tensors; export it with lgg-export"),
    hostile("no contract", "A model without a contract.", no_contract,
            "no contract in its metadata; export it with lgg-export"),
    hostile("schema", "A contract of another schema.", contract_with(schema=99),
            "contract: expected schema 1, found 99"),
    hostile("threshold", "A contract with an impossible threshold.", contract_with(threshold=1.5),
            "contract: threshold 1.5 is not from 0.000001 to below 1"),
    hostile("other names", "Inputs of other names.", rename_input,
            f"expected inputs and outputs {IO}, found [('images', 'tensor(uint8)', 4), "
            "('probability', 'tensor(float)', 3)]"),
    hostile("other type", "Inputs of another type.", take_floats,
            f"expected inputs and outputs {IO}, found [('slices', 'tensor(float)', 4), "
            "('probability', 'tensor(float)', 3)]"),
    hostile("other rank", "Inputs of another rank.", take_another_rank,
            f"expected inputs and outputs {IO}, found [('slices', 'tensor(uint8)', 5), "
            "('probability', 'tensor(float)', 4)]"),
    hostile("opset", "A newer opset than the installed onnxruntime knows.", ask_for_opset(999),
            "onnxruntime refuses it: {its words}"),
    hostile("golden shape", "A golden input of a size that no memory holds.",
            contract_with(golden=golden_of([1, 10**6, 10**6, 3], 1)),
            f"{GOLDEN} shape (1, 1000000, 1000000, 3) and 1 sample; {GOLDEN_FORM}"),
    hostile("golden samples", "Golden samples of another number than its input has.",
            contract_with(golden=golden_of([1, 32, 16, 3], 3)),
            f"{GOLDEN} shape (1, 32, 16, 3) and 3 samples; {GOLDEN_FORM}"),
    hostile("damaged bit", "A model of whose numbers one bit changed.", flip_a_bit,
            "the answer to the golden input differs by 0.5, expected at most 0.0001: this "
            "device does not compute what was measured, or the file is damaged"),
    refused("NaN", "A model that answers NaN.", put_formula("nan"),
            "model.onnx: the model's output is no number in 0..1 for this input"),
    refused("no probability", "A model that answers beyond 0 and 1.", put_formula("logit"),
            "model.onnx: the model's output is no number in 0..1 for this input"),
)  # fmt: skip

ENGINES = (
    refused("no sidecar", "An engine without its sidecar.", _engine_alone,
            "model.engine: its sidecar model.engine.json cannot be read; keep the two files "
            "together", ENGINE),
    refused("tampered engine", "An engine that was changed.", _tampered_engine,
            "model.engine: its digest {digest} is not the {digest} of model.engine.json: changed, "
            "or another engine's sidecar; build it again", ENGINE),
    refused("changed sidecar", "A sidecar that was changed.", _changed_sidecar,
            "model.engine.json: its digest does not fit its content; it was changed", ENGINE),
    unavailable("other GPU", "An engine for another GPU.",
                _engine_for(compute_capabilities=("SM120",)),
                "model.engine: built for SM120; this GPU is Stand-in GPU, SM86; build one for it",
                ENGINE),
    unavailable("other version", "An engine of another TensorRT.",
                _engine_for(library_version="10.9.0"),
                "model.engine: built with tensorrt 10.9.0, installed is 10.13.0; build it again: "
                "lgg-export MODEL.onnx -o model.engine --format tensorrt", ENGINE),
    unavailable("engine on the CPU", "An engine asked to run on the CPU.", put_engine,
                "provider cpu: model.engine runs with tensorrt",
                (*INFER, "-m", "model.engine", "--provider", "cpu")),
    unavailable("no TensorRT", "An engine without TensorRT.", _no_module("tensorrt", put_engine),
                "tensorrt is not installed; pip install 'lgg-edge[tensorrt]'", ENGINE),
    unavailable("no onnxruntime", "No onnxruntime.", _no_module("onnxruntime"),
                "onnxruntime is not installed; pip install 'lgg-edge[cpu]' (or [gpu])"
                "{, or --provider openvino where that is installed}", INFER),
    unavailable("CPU package", "CUDA asked for where the CPU's onnxruntime is installed.",
                _packages("onnxruntime"),
                "provider cuda: onnxruntime-gpu is missing (installed: onnxruntime 1.32.0); "
                "pip uninstall -y onnxruntime && pip install 'lgg-edge[gpu]'"),
    unavailable("both packages", "Both packages of onnxruntime, one over the other.",
                _packages("onnxruntime", "onnxruntime-gpu"),
                "provider cuda: onnxruntime and onnxruntime-gpu are both installed and overwrite "
                "each other; pip uninstall -y onnxruntime onnxruntime-gpu && pip install "
                "'lgg-edge[gpu]'"),
    unavailable("no driver", "CUDA asked for without a driver.", _no_driver,
                "provider cuda: libcuda.so.0 is missing: no NVIDIA driver here; install it "
                "(Ubuntu: sudo ubuntu-drivers install)"),
    unavailable("old driver", "A driver that is too old for the installed CUDA.",
                _gpu(fails="CUDA failure 35: CUDA driver version is insufficient"),
                "provider cuda: cannot start: CUDA failure 35: CUDA driver version is "
                "insufficient"),
    unavailable("CPU in silence", "An onnxruntime that starts on the CPU in silence.",
                _gpu(started="CPUExecutionProvider"),
                "provider cuda: onnxruntime started CPUExecutionProvider in its place"),
    unavailable("no such GPU", "A GPU's number that is none.", _gpu(),
                "GPU 3: expected one of the 1 that are here", (*CUDA, "--gpu-index", "3")),
    Row("GPU memory", "A GPU whose memory holds one slice at once.", _three_slices, 0, "",
        Keeping("The batch is halved and the work goes on; all are done.", _one_slice_at_once),
        command=CUDA),
    Row("no GPU memory", "A GPU whose memory holds not even one slice.", _gpu(holds=0), 7,
        "lgg-infer: provider cuda: the GPU's memory does not suffice; a smaller --batch helps",
        NOTHING_MADE, command=CUDA),
)  # fmt: skip

SECTION = Section(
    "Model and provider",
    "A model is refused before onnxruntime sees it unless it is one file of plain operators, of "
    "the digest and with the signature that were asked for. A provider that cannot run is an "
    "error: nothing falls back to the CPU in silence.",
    (*FILES, *GRAPHS, *ENGINES),
)
