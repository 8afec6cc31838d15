"""Synthetic patients: heads drawn by code, in the layout of the public dataset.

They let the whole toolchain run where the real slices may not go. Heads are schematic, but their
sequences, contrasts and lesions follow figures measured on the dataset, so that a network trained
on real patients finds the lesions. No torch in here.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from lgg_runtime.errors import OutputConflictError, UsageError
from lgg_runtime.volume import Mask, Pixels
from lgg_runtime.writers.atomic import PART_SUFFIX, make_folder, telling_refusal, write_atomically
from lgg_train.phantom_head import (
    Field,
    Rng,
    Space,
    draw_brain,
    draw_lesion,
    draw_skull,
    place_head,
)

INSTITUTIONS = "ABCD"
# Patients without a lesion are an institution of their own, so that a split deals them out evenly.
HEALTHY_EVERY, HEALTHY_INSTITUTION = 10, "E"


@dataclass(frozen=True)
class PhantomSettings:
    """How many patients of how many slices, the slices' width and height in pixels, the seed.

    Every tenth patient has no lesion. Raises UsageError for numbers that give no dataset.
    """

    patients: int = 20
    slices: int = 24
    size: int = 256
    seed: int = 0

    def __post_init__(self) -> None:
        for name, least in (("patients", 1), ("slices", 2), ("size", 32), ("seed", 0)):
            if getattr(self, name) < least:
                raise UsageError(f"phantom {name} {getattr(self, name)}: expected at least {least}")


def patient_name(index: int) -> str:
    """`PHANTOM_A_0001` for index 0; the letter is the institution."""
    letter = INSTITUTIONS[index % len(INSTITUTIONS)]
    return f"PHANTOM_{HEALTHY_INSTITUTION if _is_healthy(index) else letter}_{index + 1:04d}"


def _is_healthy(index: int) -> bool:
    return (index + 1) % HEALTHY_EVERY == 0


def write_phantoms(root: Path, settings: PhantomSettings) -> list[Path]:
    """Write `root/kaggle_3m/PATIENT/PATIENT_<n>.tif` and `..._mask.tif`; returns the folders.

    Files of the same name are replaced. Raises ResourceError for a file that cannot be written,
    and, before any is, OutputConflictError where other patients are there, who would be of the
    dataset, or where a patient's folder holds other files.
    """
    folders = [root / "kaggle_3m" / patient_name(index) for index in range(settings.patients)]
    check_alone(root / "kaggle_3m", [folder.name for folder in folders])
    stems = [[f"{folder.name}_{n}" for n in range(1, settings.slices + 1)] for folder in folders]
    for folder, names in zip(folders, stems, strict=True):
        check_alone(folder, [f"{stem}{end}" for stem in names for end in (".tif", "_mask.tif")])
    for index, (folder, names) in enumerate(zip(folders, stems, strict=True)):
        make_folder(folder)
        for stem, rgb, mask in zip(names, *make_phantom(index, settings), strict=True):
            _write(folder / f"{stem}.tif", np.ascontiguousarray(rgb[..., ::-1]))
            _write(folder / f"{stem}_mask.tif", mask * np.uint8(255))
    return folders


def check_alone(folder: Path, names: Iterable[str]) -> None:
    """Raises OutputConflictError for a folder with files or folders of other names, which would be
    taken for the same patient's or dataset's, ResourceError where one may not look into it. What is
    hidden, and what a killed write of these names left, may lie there.
    """
    known = {name + end for name in names for end in ("", PART_SUFFIX)}
    with telling_refusal(folder):
        found = sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []
    if other := [name for name in found if name not in known and not name.startswith(".")]:
        raise OutputConflictError(
            f"{folder}: holds {other[0]}, which is not of these phantoms; choose another folder"
        )


def make_phantom(index: int, settings: PhantomSettings) -> tuple[Pixels, Mask]:
    """Draw patient `index`, from 0: slices (S, H, W, 3) uint8 from base to top, masks (S, H, W)."""
    rng = np.random.default_rng([settings.seed, index])
    space = place_head(rng, settings.slices, settings.size)
    image = np.zeros((3, *space.z.shape), np.float32)
    vault, brain = draw_skull(image, space, rng)
    draw_brain(image, space, rng, vault, brain)
    if _is_healthy(index):
        return _scan(image, space, rng), np.zeros(brain.shape, bool)
    mask = draw_lesion(image, space, rng, brain)
    return _scan(image, space, rng), mask


def _scan(image: Field, space: Space, rng: Rng) -> Pixels:
    """Coil profile, blur, a gain a sequence (FLAIR's spreads threefold), Rician noise, 8 bits."""
    ends = np.interp(space.z, (-45, -10, 72, 92), (0.68, 1, 1, 0.4))
    coil = ends * np.exp(0.12 * space.noise(rng, 90))
    gains = np.exp(rng.uniform(np.log((36, 28, 36)), np.log((80, 84, 80))))
    blur = rng.uniform(0.45, 0.7) / space.spacing[1]
    pixels: Pixels = np.empty((*coil.shape, 3), np.uint8)
    for channel, (values, gain) in enumerate(zip(image, gains, strict=True)):
        grain = 1 + 0.04 * space.noise(rng, 3) + 0.03 * space.noise(rng, 12)
        noise = rng.standard_normal((2, *coil.shape), np.float32) * gain * rng.uniform(0.01, 0.035)
        for number, plane in enumerate(gain * coil * grain * values):
            signal = cv2.GaussianBlur(plane, (0, 0), blur)
            seen = np.hypot(signal + noise[0, number], noise[1, number])
            pixels[number, ..., channel] = np.clip(np.rint(seen), 0, 255)
    return pixels


def _write(path: Path, image: Pixels) -> None:
    # Not cv2.imwrite, which crashes at a path that is not text.
    _, data = cv2.imencode(".tif", image)
    write_atomically(path, data.tobytes())
