"""Which arithmetic a device gets, and what one that has no memory left says."""

import io
import shutil

import pytest
import torch
from torch import nn

from lgg_runtime.errors import OutOfMemoryError, ProviderError
from lgg_train import device
from lgg_train.device import (
    autocast,
    choose_device,
    choose_precision,
    within_compiler,
    within_memory,
)
from lgg_train.predict import predict_slices


def test_the_device_is_chosen_by_what_is_there(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert choose_device("cpu") == choose_device("auto") == torch.device("cpu")
    with pytest.raises(ProviderError, match="--device cuda"):
        choose_device("cuda")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert choose_device("auto") == choose_device("cuda") == torch.device("cuda")


@pytest.mark.parametrize(("computes", "chosen"), [(True, "bf16"), (False, "fp32"), (None, "fp32")])
def test_auto_is_bf16_only_where_the_processor_computes_in_it(monkeypatch, computes, chosen):
    monkeypatch.setattr(device, "multiplies_bf16", lambda: computes)
    assert choose_precision("auto", torch.device("cpu")) == chosen


@pytest.mark.parametrize(("computes", "chosen"), [(True, "bf16"), (False, "fp32")])
def test_auto_is_bf16_only_where_the_gpu_computes_in_it_itself(monkeypatch, computes, chosen):
    def asked(including_emulation=True):
        return including_emulation or computes

    monkeypatch.setattr(torch.cuda, "is_bf16_supported", asked)
    assert choose_precision("auto", torch.device("cuda")) == chosen


@pytest.mark.parametrize("name", sorted(device.AUTOCAST))
def test_a_precision_that_is_given_is_taken(monkeypatch, name):
    monkeypatch.setattr(device, "multiplies_bf16", lambda: name == "fp32")
    assert choose_precision(name, torch.device("cpu")) == name


def test_networks_are_not_judged_on_the_processor_where_a_gpu_was_asked_for(
    call_main, finished_run, phantoms, tmp_path, monkeypatch
):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    fold = shutil.copytree(finished_run, tmp_path / "fold_0")
    for words in (("evaluate", fold), ("decide", tmp_path)):
        done = call_main(*words, "--data", phantoms, "--device", "cuda")
        assert done.code == 6
        assert done.err == "lgg-train: --device cuda: this PyTorch finds no CUDA device\n"


class Greedy(nn.Linear):
    """Asks for more than any machine addresses."""

    def forward(self, _x):
        return torch.empty(2**60, dtype=torch.uint8)


TOLD = r"^the memory does not suffice; take less$"


@pytest.mark.parametrize(
    ("precision", "computed"),
    [("bf16", torch.bfloat16), ("fp16", torch.float16), ("fp32", torch.float32)],
)
def test_a_forward_pass_computes_in_the_precision_that_was_asked_for(precision, computed):
    with autocast(torch.device("cpu"), precision):
        assert nn.Linear(2, 2)(torch.ones(1, 2)).dtype == computed


def test_memory_that_the_machine_does_not_have_is_told_with_the_remedy():
    with pytest.raises(OutOfMemoryError, match=TOLD), within_memory("take less"):
        Greedy(1, 1)(None)


def test_memory_that_a_batch_does_not_get_is_told_with_the_remedy():
    with pytest.raises(OutOfMemoryError, match=TOLD), within_memory("take less"):
        raise MemoryError("Unable to allocate 366. GiB for an array")


def test_memory_that_pytorch_does_not_get_for_what_it_writes_is_told_with_the_remedy():
    class Full(io.BytesIO):
        def write(self, data):
            if self.tell() > 500:
                raise MemoryError
            return super().write(data)

    with pytest.raises(OutOfMemoryError, match=TOLD), within_memory("take less"):
        torch.save({"a": torch.zeros(8)}, Full())


def test_memory_that_a_gpu_does_not_have_is_told_with_the_remedy():
    with pytest.raises(OutOfMemoryError, match=TOLD), within_memory("take less"):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")


def test_another_error_of_pytorch_stays_what_it_is():
    with pytest.raises(RuntimeError, match="mat1 and mat2"), within_memory("take less"):
        raise RuntimeError("mat1 and mat2 cannot be multiplied")


def test_another_error_of_a_compiled_step_stays_what_it_is():
    with pytest.raises(RuntimeError, match="mat1 and mat2"), within_compiler():
        raise RuntimeError("mat1 and mat2 cannot be multiplied")


def test_a_prediction_that_does_not_fit_says_so():
    slices = torch.zeros((1, 16, 16, 3), dtype=torch.uint8).numpy()
    with pytest.raises(OutOfMemoryError, match="smaller slices may fit"):
        predict_slices(Greedy(1, 1), slices)
