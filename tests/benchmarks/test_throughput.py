"""Which patients of a folder a whole command is timed on."""

import cv2
import numpy as np
import pytest

from lgg_bench.throughput import copy_slices
from lgg_runtime.readers.folder import list_studies


@pytest.mark.parametrize(
    ("patients", "taken"),
    [(1, "A"), (2, "AD"), (3, "ACE"), (7, "ABCDEFG"), (9, "ABCDEFG"), (None, "ABCDEFG")],
)
def test_patients_are_spread_over_the_folder_without_their_masks(tmp_path, patients, taken):
    source = tmp_path / "in"
    for name in "ABCDEFG":
        (source / name).mkdir(parents=True)
        for file in (f"{name}_1.png", f"{name}_1_mask.png"):
            cv2.imwrite(str(source / name / file), np.zeros((16, 16, 3), np.uint8))
    target = copy_slices(source, tmp_path / "out", patients)
    assert "".join(study.name for study in list_studies(target).studies) == taken
    assert not list(target.rglob("*_mask*"))
