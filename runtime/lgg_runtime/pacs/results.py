"""From a study's images to its DICOM SEG in the spool: read, segment, encode, keep."""

from __future__ import annotations

import hashlib
import io
import time

from lgg_runtime import __version__
from lgg_runtime.digests import digest_file
from lgg_runtime.errors import InputError, ResourceError
from lgg_runtime.pacs.jobs import Job, Made
from lgg_runtime.pacs.spool import Spool
from lgg_runtime.plural import count
from lgg_runtime.readers.dicom import read_dicom
from lgg_runtime.readers.dicom_files import load_pydicom
from lgg_runtime.segmenter import Segmenter
from lgg_runtime.writers.dicom_seg import encode_dicom_seg
from lgg_runtime.writers.scan import Algorithm, ScanResult


class UnreadableError(ResourceError):
    """The disk does not give images that may be whole; another time it may."""


class ResultMaker:
    """Holds one model for the life of the process, and one study at a time in memory."""

    def __init__(self, segmenter: Segmenter, spool: Spool):
        self._segmenter, self._spool = segmenter, spool
        self._algorithm = Algorithm(segmenter.name, __version__, segmenter.digest)

    def make(self, job: Job) -> Made:
        """Segment a study; on return the result's file is on the disk.

        Raises InputError for images that are refused, ModelError, UnreadableError, and
        ResourceError where memory or disk do not suffice.
        """
        _require_whole(job)
        try:
            volume = read_dicom(job.files)
        except InputError:
            _require_whole(job)  # the disk may have failed since, which is no fault of the images
            raise
        found = ScanResult(volume, self._segmenter.segment(volume), self._algorithm)
        data = encode_dicom_seg(found)["seg.dcm"]
        header = load_pydicom().dcmread(io.BytesIO(data), specific_tags=["SOPInstanceUID"])
        result = self._spool.name_of(str(header.SOPInstanceUID))
        self._spool.keep_result(result, data)
        digest = hashlib.sha256(data).hexdigest()
        return Made(result, digest, len(volume), time.time(), found.caution)


def _require_whole(job: Job) -> None:
    changed, reasons = 0, []
    for path, digest in zip(job.files, job.digests, strict=True):
        try:
            changed += digest_file(path) != digest
        except FileNotFoundError:
            changed += 1
        except OSError as error:
            reasons.append(error.strerror)
    if changed:
        raise InputError(
            f"{count(changed, 'image')} changed or gone since written into the spool; "
            "send the study again"
        )
    if reasons:
        raise UnreadableError(
            f"{count(len(reasons), 'image')} in the spool cannot be read ({reasons[0]}); see to "
            "the disk, then lgg-node retry"
        )
