"""How many processor cores this process may use: its affinity, and the container's quota."""

from __future__ import annotations

import math
import os
from pathlib import Path

_CGROUP = Path("/sys/fs/cgroup")
# That a command may be asked for. A thread takes memory of its own: 100,000 took 2.3 GiB.
MOST_THREADS = 1024


def available_cores(cgroup: Path = _CGROUP) -> int:
    """Cores by scheduler affinity, cut to the cgroup's CPU quota (v2 or v1), at least 1.

    OMP_NUM_THREADS, where it is a positive number, lowers it further.
    """
    try:
        cores = len(os.sched_getaffinity(0))
    except AttributeError:  # not on this operating system
        cores = os.cpu_count() or 1
    quota = cgroup_quota(cgroup)
    if quota is not None:
        cores = min(cores, math.ceil(quota))
    wanted = os.environ.get("OMP_NUM_THREADS", "")
    if wanted.isdecimal() and int(wanted) > 0:
        cores = min(cores, int(wanted))
    return max(cores, 1)


def cgroup_quota(cgroup: Path = _CGROUP) -> float | None:
    """Cores that the container's quota grants, None without a quota."""
    for names in (("cpu.max",), ("cpu/cpu.cfs_quota_us", "cpu/cpu.cfs_period_us")):
        try:
            words = " ".join((cgroup / name).read_text() for name in names).split()
        except OSError:
            continue
        if len(words) == 2 and all(word.isdecimal() for word in words) and int(words[1]):
            return int(words[0]) / int(words[1])
    return None
