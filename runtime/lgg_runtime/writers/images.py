"""Masks and pictures of one slice, as encoded bytes."""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from lgg_runtime.errors import ResourceError
from lgg_runtime.intensity import level_percentile
from lgg_runtime.notice import RESEARCH_ONLY
from lgg_runtime.volume import FLAIR, Mask, Pixels, Probability
from lgg_runtime.writers.scan import ScanResult

_WORDS, _WORDS_SCALE = "research use only", 0.33
# BGR: red for the model, blue for the reference, which eyes without red or green tell apart too.
_FOUND, _TRUTH = (40, 40, 255), (255, 190, 0)
_PNG_HEADER_BYTES = 33  # signature and IHDR


@dataclass(frozen=True)
class SliceResult:
    """All that a picture of one slice may show.

    grey: (H, W) uint8, FLAIR stretched for the eye, or None where the masks alone are asked for;
    mask: (H, W) bool; probability: (H, W) float32; truth: (H, W) bool, or None without a reference.
    """

    grey: Pixels | None
    mask: Mask
    probability: Probability
    truth: Mask | None = None


def show_scan(result: ScanResult) -> list[SliceResult]:
    """Each slice of a scan, for pictures of it."""
    found = result.segmentation
    greys = stretch_flair(result.volume.pixels[..., FLAIR])
    shown = zip(greys, found.mask, found.probability, strict=True)
    return [SliceResult(*of_slice) for of_slice in shown]


def encode_mask(result: SliceResult) -> bytes:
    """PNG (H, W), 255 where there is tumour, 0 elsewhere."""
    if not result.mask.any():  # most slices of a volume
        return _encode_empty(*result.mask.shape)
    return _png(result.mask.astype(np.uint8) * 255)


@lru_cache(maxsize=16)
def _encode_empty(height: int, width: int) -> bytes:
    return _png(np.zeros((height, width), np.uint8))


def encode_overlay(result: SliceResult) -> bytes:
    """PNG of FLAIR with the outline of the mask in red and that of the reference in blue."""
    return _png(draw_overlay(result))


def draw_overlay(result: SliceResult) -> Pixels:
    """The overlay as (H, W, 3) uint8, BGR."""
    assert result.grey is not None
    picture = cv2.cvtColor(result.grey, cv2.COLOR_GRAY2BGR)
    tint = picture.copy()
    tint[result.mask] = _FOUND
    picture = cv2.addWeighted(tint, 0.25, picture, 0.75, 0)
    if result.truth is not None:
        _outline(picture, result.truth, _TRUTH)
    _outline(picture, result.mask, _FOUND)
    return _stamp(picture)


def encode_heatmap(result: SliceResult) -> bytes:
    """PNG of FLAIR under the probability's colours, from clear at 0 to yellow at 1."""
    level = np.rint(result.probability * 255).astype(np.uint8)
    colours = cv2.applyColorMap(level, cv2.COLORMAP_INFERNO).astype(np.float32)
    weight = np.sqrt(result.probability)[..., None] * 0.8
    assert result.grey is not None
    grey = cv2.cvtColor(result.grey, cv2.COLOR_GRAY2BGR).astype(np.float32)
    picture = np.rint(grey * (1 - weight) + colours * weight).astype(np.uint8)
    return _png(_stamp(picture))


def encode_probability(result: SliceResult) -> bytes:
    """TIFF (H, W) float32 in 0..1, with an ImageDescription."""
    return _describe_tiff(_encode(".tif", result.probability))


def stretch_flair(flair: npt.NDArray[Any]) -> Pixels:
    """Bring a volume's FLAIR (S, H, W) to 8 bits for the eye: 0 to its 99.5th percentile."""
    is_8bit = flair.dtype == np.uint8
    top = level_percentile(flair, 99.5) if is_8bit else float(np.percentile(flair, 99.5))
    scale = 255.0 / (top or float(flair.max()) or 1.0)
    if is_8bit:
        return np.asarray(_scale(np.arange(256), scale)[flair])
    return _scale(flair, scale)


def _scale(values: npt.NDArray[Any], scale: float) -> Pixels:
    return np.asarray(np.clip(np.rint(values * scale), 0, 255), np.uint8)


def _outline(picture: npt.NDArray[Any], mask: Mask, colour: tuple[int, int, int]) -> None:
    contours, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
    cv2.drawContours(picture, contours, -1, colour, 1)


def _stamp(picture: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Write "research use only" into the lower left corner, smaller on a narrow picture.

    On one of less than some 50 pixels it cannot be read.
    """
    place, font = (3, picture.shape[0] - 4), cv2.FONT_HERSHEY_SIMPLEX
    (width, _), _ = cv2.getTextSize(_WORDS, font, _WORDS_SCALE, 1)
    scale = _WORDS_SCALE * min(1.0, (picture.shape[1] - 2 * place[0]) / width)
    if scale > 0:
        cv2.putText(picture, _WORDS, place, font, scale, (200,) * 3)
    return picture


def _png(picture: npt.NDArray[Any]) -> bytes:
    """PNG with a text chunk (PNG specification, 11.3.3) behind its header."""
    data = _encode(".png", picture)
    body = b"tEXt" + b"Comment\0" + RESEARCH_ONLY.encode("latin-1")
    chunk = struct.pack(">I", len(body) - 4) + body + struct.pack(">I", zlib.crc32(body))
    return data[:_PNG_HEADER_BYTES] + chunk + data[_PNG_HEADER_BYTES:]


def _describe_tiff(data: bytes) -> bytes:
    """The TIFF with RESEARCH_ONLY as its ImageDescription, which OpenCV cannot write.

    A copy of its directory with this entry is appended and takes its place (TIFF 6.0, section 2).
    """
    data += bytes(len(data) % 2)  # directories and values begin at even places
    order = "<" if data[:2] == b"II" else ">"
    (at,) = struct.unpack_from(f"{order}I", data, 4)
    (count,) = struct.unpack_from(f"{order}H", data, at)
    fields = [data[at + 2 + 12 * n : at + 14 + 12 * n] for n in range(count)]
    text = RESEARCH_ONLY.encode("ascii") + b"\0"  # libtiff warns of a second NUL that is counted
    image_description, ascii_type = 270, 2
    fields.append(struct.pack(f"{order}HHII", image_description, ascii_type, len(text), len(data)))
    fields.sort(key=lambda field: struct.unpack_from(f"{order}H", field))
    text += bytes(len(text) % 2)
    directory = struct.pack(f"{order}H", len(fields)) + b"".join(fields) + bytes(4)
    header = data[:4] + struct.pack(f"{order}I", len(data) + len(text))
    return header + data[8:] + text + directory


def _encode(suffix: str, picture: npt.NDArray[Any]) -> bytes:
    done, data = cv2.imencode(suffix, picture)
    if not done:
        raise ResourceError(f"OpenCV cannot encode {suffix} of {picture.shape} {picture.dtype}")
    return data.tobytes()
