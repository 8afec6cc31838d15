"""The declared sets of augmentation, by the names that `--augmentation` takes."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Augmentation:
    """Ranges and probabilities of what the pipelines of `augment` draw; all are fractions but for
    `shear_degrees` and `flair_both`.

    lesion: strength of LesionContrast, 0 for none. bias: strength and probability of BiasField.
    flair: probability that FLAIR stands in the place of one other sequence or of both, which have
    `flair_both` chances against one each for the others.
    """

    scale: tuple[float, float] = (0.8, 1.25)
    shear_degrees: float = 0.0
    affine: float = 0.8
    distortion: float = 0.3
    lesion: float = 0.0
    brightness: float = 0.12
    contrast: float = 0.25
    gamma: float = 0.5
    intensity: float = 0.8
    bias: float = 0.3
    blur: float = 0.1
    noise: float = 0.1
    noise_limit: float = 0.04
    flair: float = 0.5
    flair_both: int = 3


AUGMENTATIONS = {
    "mild": Augmentation(
        scale=(0.9, 1.1),
        affine=0.5,
        distortion=0.0,
        brightness=0.05,
        contrast=0.1,
        gamma=0.2,
        intensity=0.4,
        bias=0.0,
        blur=0.0,
        noise=0.0,
        flair=0.0,
    ),
    "plain": Augmentation(),
    "flair": Augmentation(flair=0.6, flair_both=4),
    "strong": Augmentation(
        scale=(0.7, 1.4),
        shear_degrees=8.0,
        affine=0.9,
        lesion=0.3,
        brightness=0.15,
        contrast=0.35,
        gamma=0.7,
        intensity=0.85,
        bias=0.4,
        blur=0.15,
        noise=0.15,
        noise_limit=0.06,
        flair=0.6,
        flair_both=4,
    ),
}
