"""Every target for a number of executions, within caps of time and memory; figures as JSON.

`python -m fuzz.campaign EXECUTIONS OUTPUT [TARGET ...]`; the executions are shared out by SHARES.
A second call with the same output adds to it. Ends with 1 at the first find, whose input stays in
the folder `fuzz-finds`.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

# Of all executions; parsers of text are far faster than readers of files.
SHARES = {
    "contract": 0.2, "dicom": 0.03, "journal": 0.2, "nifti": 0.05, "node settings": 0.1,
    "picture": 0.17, "received": 0.05, "tiff": 0.2,
}  # fmt: skip
HANG_S, MEMORY_MIB = 10, 1024
FINDS = Path("fuzz-finds")


def run_target(name: str, executions: int, corpus: Path) -> dict[str, Any]:
    """Raises SystemExit at a crash, a hang over the cap or memory over the cap."""
    FINDS.mkdir(exist_ok=True)
    options = [
        f"-runs={executions}", f"-timeout={HANG_S}", f"-rss_limit_mb={MEMORY_MIB}",
        f"-artifact_prefix={FINDS}/{name}-", "-print_final_stats=1",
    ]  # fmt: skip
    begun = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", "fuzz.run", name, str(corpus), *options],
        capture_output=True, text=True, errors="replace", check=False,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    if done.returncode != 0:
        sys.stderr.write(done.stderr[-6000:])
        raise SystemExit(f"{name}: a find; its input is in {FINDS}")
    return {
        "executions": _number(r"stat::number_of_executed_units:\s+(\d+)", done.stderr),
        "peak_memory_mib": _number(r"stat::peak_rss_mb:\s+(\d+)", done.stderr),
        "slowest_s": _number(r"stat::slowest_unit_time_sec:\s+(\d+)", done.stderr),
        "covered_branches": _number(r"DONE\s+cov: (\d+)", done.stderr),
        "seconds": round(time.monotonic() - begun, 1),
    }


def _number(pattern: str, text: str) -> int:
    found = re.findall(pattern, text)
    if not found:
        raise SystemExit(f"no {pattern} in the fuzzer's report:\n{text[-2000:]}")
    return int(found[-1])


def add_up(held: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
    added = {name: held.get(name, 0) + new[name] for name in ("executions", "seconds")}
    most = ("peak_memory_mib", "slowest_s", "covered_branches")
    return added | {name: max(held.get(name, 0), new[name]) for name in most}


def main() -> None:
    executions, output = int(sys.argv[1]), Path(sys.argv[2])
    record = json.loads(output.read_text()) if output.exists() else {"targets": {}}
    for name in sys.argv[3:] or SHARES:
        corpus = Path(tempfile.gettempdir()) / "lgg-fuzz-corpus" / name
        found = run_target(name, int(executions * SHARES[name]), corpus)
        record["targets"][name] = add_up(record["targets"].get(name, {}), found)
        record["executions"] = sum(t["executions"] for t in record["targets"].values())
        record["caps"] = {"seconds_an_input": HANG_S, "memory_mib": MEMORY_MIB}
        record["command"] = "make fuzz EXECUTIONS=N"
        output.write_text(json.dumps(record, indent=1, sort_keys=True) + "\n")
        sys.stdout.write(f"{name}: {found}\n")


if __name__ == "__main__":
    main()
