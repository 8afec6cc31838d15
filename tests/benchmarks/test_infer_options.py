"""Which of lgg-infer's options a measurement passes on."""

import pytest

from lgg_bench.infer_options import refuse_ruled
from lgg_bench.throughput import ThroughputSettings
from lgg_runtime.errors import UsageError

FOLDER = r"-o/--output: each run has a folder of its own"
MODEL = r"-m/--model: name the models as ARTIFACT\.\.\."
PROVIDER = r"--provider/--device: lgg-bench's own --provider does it"
LOOK = r"--first-look: --first-look of lgg-bench peers does it"
THREADS = r"--threads: lgg-bench's own --threads does it"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("-o", "b"), FOLDER),
        (("-ob",), FOLDER),
        (("-qob",), FOLDER),
        (("--output=b",), FOLDER),
        (("-m", "lite"), MODEL),
        (("--no-progress", "-mlite"), MODEL),
        (("--model=lite",), MODEL),
        (("--provider", "openvino"), PROVIDER),
        (("--device=openvino",), PROVIDER),
        (("--first-look", "tiny"), LOOK),
        (("--threads=1",), THREADS),
        (("--evaluate",), r"--evaluate: the folder is copied without its reference masks"),
    ],
)
def test_what_would_falsify_a_row_s_label_is_refused_and_told_what_does_it(options, said):
    with pytest.raises(UsageError, match=f"^--infer-option {said}"):
        ThroughputSettings(options=options)


@pytest.mark.parametrize(
    "options",
    [(), ("-ot", "nifti"), ("-ot=mask",), ("--crop",), ("--cpu-precision", "bf16"), ("--absent",)],
)
def test_others_are_passed_on(options):
    refuse_ruled(options)
    assert ThroughputSettings(options=options).to_json()["options"] == list(options)
