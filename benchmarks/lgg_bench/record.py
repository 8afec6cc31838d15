"""A measurement as JSON: what was measured, how, on which machine, and what came out."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from lgg_runtime import strict_json
from lgg_runtime.errors import InputError, ModelError, UsageError
from lgg_runtime.notice import RESEARCH_ONLY
from lgg_runtime.readers.regular import read_text
from lgg_runtime.writers.atomic import require_writable, write_atomically

SCHEMA = 1


@dataclass(frozen=True)
class Record:
    """settings and results: plain values, as the benchmark's module documents them; machine: as
    describe_machine found it before the measurement.
    """

    benchmark: str
    settings: dict[str, Any]
    machine: dict[str, Any]
    results: dict[str, Any]
    date: str = field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="seconds"))
    schema: int = SCHEMA
    use: str = RESEARCH_ONLY

    def write(self, path: Path) -> None:
        """Write the JSON, whole or not at all."""
        write_atomically(path, (json.dumps(asdict(self), indent=1) + "\n").encode())

    @classmethod
    def read(cls, path: Path) -> Record:
        """Raises InputError for a file that is no record of this version."""
        try:
            value = strict_json.loads(read_text(path))
        except FileNotFoundError as error:
            raise InputError(f"{path}: no such file") from error
        except OSError as error:
            raise InputError(f"{path}: cannot be read ({error.strerror})") from error
        except (ValueError, ModelError) as error:
            raise InputError(f"{path}: not a record of lgg-bench ({error})") from error
        names = [field.name for field in fields(cls)]
        # `use` says the same in all, and some measurements do not hold it.
        if not isinstance(value, dict) or {"use", *value} != set(names):
            raise InputError(
                f"{path}: not a record of lgg-bench, which has the fields {', '.join(names)}"
            )
        record = cls(**value)
        if record.schema != SCHEMA:
            raise InputError(f"{path}: expected schema {SCHEMA}, found {record.schema}")
        return record


def check_output(path: Path | None) -> None:
    """Before a long measurement: raises UsageError for a record's wrong name, ResourceError where
    it could not be written.
    """
    if path is None:
        return
    if path.suffix != ".json":
        raise UsageError(f"{path.name}: expected a name that ends in .json")
    require_writable(path)
