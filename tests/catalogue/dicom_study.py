"""A DICOM study drawn by code, whose files may be spoilt, below the input of a scene."""

from __future__ import annotations

import shutil
import struct
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from catalogue.row import Scene
from lgg_train.phantom import PhantomSettings
from lgg_train.phantom_files import write_dicom
from lgg_train.phantom_scan import ScanSettings, make_scan

SMALL = PhantomSettings(patients=1, slices=6, size=32, seed=2)
NAMES = {1: "localizer", 2: "t1", 3: "flair", 4: "t1c"}
DEFLATED = "1.2.840.10008.1.2.1.99"

Spoil = Callable[["Study"], object]


def draw_study(folder: Path, **scan: Any) -> Path:
    """Six slices of each sequence and three localizers; files are called by series and number."""
    import pydicom

    settings = ScanSettings(**scan)
    write_dicom(folder, make_scan(0, SMALL, settings), 0, settings)
    for path in sorted(folder.iterdir()):
        header = pydicom.dcmread(path, stop_before_pixels=True)
        path.rename(folder / f"{NAMES[header.SeriesNumber]}_{header.InstanceNumber}")
    return folder


class Study:
    """The files by their sequence, in the order of their positions."""

    def __init__(self, folder: Path):
        self.folder = folder

    @cached_property
    def flair(self) -> list[Path]:
        return self.of("flair")

    @property
    def files(self) -> list[Path]:
        return sorted(path for path in self.folder.iterdir() if path.is_file())

    def of(self, name: str) -> list[Path]:
        return [path for path in self.files if path.name.startswith(f"{name}_")]

    def read(self, path: Path) -> Any:
        import pydicom

        return pydicom.dcmread(path)

    def change(self, *paths: Path, **attributes: Any) -> None:
        """Set attributes; None takes one away."""
        for path in paths:
            data = self.read(path)
            for keyword, value in attributes.items():
                if value is None:
                    delattr(data, keyword)
                else:
                    setattr(data, keyword, value)
            data.save_as(path)

    def drop(self, *names: str) -> None:
        for name in names:
            for path in self.of(name):
                path.unlink()

    def add(self, name: str, of: Path, **attributes: Any) -> Path:
        """Another file like one that is there, with a UID of its own."""
        shutil.copy(of, self.folder / name)
        uid = f"{self.read(of).SOPInstanceUID}.1"
        self.change(self.folder / name, **{"SOPInstanceUID": uid, **attributes})
        return self.folder / name

    def compress(self, *paths: Path) -> None:
        """RLE, which pydicom itself reads."""
        import pydicom

        for path in paths:
            data = self.read(path)
            data.compress(pydicom.uid.RLELossless, generate_instance_uid=False)
            data.save_as(path)

    def pack(self, path: Path, syntax: str, stream: bytes) -> None:
        """One compressed picture in place of a file's pixels."""
        import pydicom

        data = self.read(path)
        data.file_meta.TransferSyntaxUID = getattr(pydicom.uid, syntax)
        data.PixelData = pydicom.encaps.encapsulate([stream])
        data["PixelData"].VR = "OB"
        data.save_as(path)

    def enhance(self, **changes: Any) -> Path:
        """The FLAIR series as one Enhanced MR object, its frames out of order."""
        from stand_ins.dicom_study import join_frames

        data = join_frames([self.read(self.flair[place]) for place in (3, 1, 5, 0, 2, 4)])
        for keyword, value in changes.items():
            setattr(data, keyword, value)
        self.drop("flair")
        data.save_as(self.folder / "enhanced", enforce_file_format=True)
        return self.folder / "enhanced"

    def write_directory(self, *names: list[str]) -> Path:
        """A DICOMDIR that lists files by the parts of their paths."""
        from stand_ins.dicom_study import write_dicomdir

        return write_dicomdir(self.folder, *names)


def put_study(scene: Scene, spoil: Spoil, drawn: str = "axial_study") -> Study:
    """A copy of a drawn study as `in/study`, spoilt."""
    study = Study(scene.source / "study")
    shutil.copytree(scene.shared(drawn), study.folder)
    spoil(study)
    return study


def nest(study: Study, depth: int = 300) -> None:
    """That many sequences, one in the other, in the first FLAIR file."""
    opened = b"\x40\x00\x75\x02SQ\0\0\xff\xff\xff\xff" + b"\xfe\xff\x00\xe0\xff\xff\xff\xff"
    closed = b"\xfe\xff\x0d\xe0\0\0\0\0" + b"\xfe\xff\xdd\xe0\0\0\0\0"
    _put_before_pixels(study, opened * depth + closed * depth)


def itemise(study: Study, count: int = 1_000_000) -> None:
    """A sequence of that many empty items in the first FLAIR file."""
    items = b"\xfe\xff\x00\xe0\0\0\0\0" * count
    _put_before_pixels(study, b"\x40\x00\x75\x02SQ\0\0" + struct.pack("<I", len(items)) + items)


def _put_before_pixels(study: Study, elements: bytes) -> None:
    data = study.flair[0].read_bytes()
    at = data.index(b"\xe0\x7f\x10\x00")
    study.flair[0].write_bytes(data[:at] + elements + data[at:])


def claim_large_picture(study: Study) -> None:
    """The start of a JPEG 2000 codestream and its end, as the first FLAIR file's pixels."""
    claim = (0xFF51, 41, 0, 60000, 60000, 0, 0, 60000, 60000, 0, 0, 1, 11, 1, 1)
    stream = b"\xff\x4f" + struct.pack(">HHH8IHBBB", *claim) + bytes(250) + b"\xff\xd9"
    study.pack(study.flair[0], "JPEG2000Lossless", stream)


def multiply_packets(study: Study) -> None:
    """JPEG 2000 of 4096 x 4096 pixels in precincts of 2 x 2 as the first FLAIR file's pixels."""
    size = (0xFF51, 41, 0, 4096, 4096, 0, 0, 4096, 4096, 0, 0, 1, 11, 1, 1)
    coding = (0xFF52, 18, 1, 0, 1, 0, 5, 4, 4, 0, 1)
    stream = b"\xff\x4f" + struct.pack(">HHH8IHBBB", *size) + struct.pack(">HHBBHBB4B", *coding)
    study.change(*study.flair, Rows=4096, Columns=4096)
    study.pack(study.flair[0], "JPEG2000Lossless", stream + b"\x11" * 6 + b"\xff\xd9")


def lengthen_runs(study: Study) -> None:
    """RLE of 32 x 32 pixels with 250 times as many runs as they need."""
    runs = b"\x81\0" * 2000
    header = struct.pack("<16I", 2, 64, 64 + len(runs), *[0] * 13)
    study.pack(study.flair[0], "RLELossless", header + runs + runs)


def widen_rows(study: Study) -> None:
    """Rows of the first FLAIR file as a 32-bit value."""
    data = study.flair[0].read_bytes()
    short = b"\x28\x00\x10\x00US\x02\x00\x20\x00"
    assert short in data
    wide = b"\x28\x00\x10\x00UL\x04\x00" + np.array([32 << 20], "<u4").tobytes()
    study.flair[0].write_bytes(data.replace(short, wide))
