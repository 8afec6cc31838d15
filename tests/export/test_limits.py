"""What an artifact of each precision may differ by."""

import subprocess
import sys

import pytest

from lgg_export.limits import GOLDEN, LIMITS, LOSSY, golden_tolerance, limits_of
from lgg_export.parity import Limits
from lgg_runtime.errors import ModelError


def test_each_precision_has_the_documented_limits():
    assert {
        "fp32": Limits(probability=1e-3, flipped=1e-5, metric=1e-4),
        "fp16": Limits(probability=5e-2, flipped=1e-4, metric=1e-3),
        "int8": LOSSY,
    } == LIMITS


def test_the_limits_of_a_contract_s_precision_are_found_by_its_words():
    assert limits_of("fp32") == LIMITS["fp32"]
    half = LIMITS["fp16"]
    assert limits_of("fp16") == limits_of("fp32 with fp16 weights") == half
    with pytest.raises(ModelError, match="precision 'int4': expected fp32, fp16"):
        limits_of("int4")


def test_both_targets_are_held_to_the_losses_of_the_task():
    assert limits_of("int8") == limits_of("int8 symmetric") == LOSSY
    assert (LOSSY.mean_dice_loss, LOSSY.patient_dice_loss) == (0.002, 0.01)
    assert (LOSSY.recall_loss, LOSSY.probability, LOSSY.flipped) == (0.002, None, 0.002)
    assert LOSSY.share(0.5).patient_dice_loss == 0.005
    assert LOSSY.share(0.5).metric is None


def test_a_host_has_to_come_as_near_to_the_golden_answer_as_the_precision_allows():
    assert GOLDEN.keys() == LIMITS.keys()
    assert golden_tolerance("fp32") == 1e-3
    assert golden_tolerance("fp16") == golden_tolerance("fp32 with fp16 weights") == 5e-2
    assert golden_tolerance("int8") == golden_tolerance("int8 symmetric") == 2e-1
    with pytest.raises(ModelError, match="precision 'int4'"):
        golden_tolerance("int4")


def test_limits_are_known_where_torch_and_onnx_are_not_installed():
    code = "import sys, lgg_export.limits; print({'torch', 'onnx'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"
