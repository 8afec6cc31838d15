"""How many processor cores this process may use: its affinity, and the container's quota."""

from __future__ import annotations

import math
import os
from pathlib import Path, PurePosixPath

CGROUP = Path("/sys/fs/cgroup")  # where the groups are mounted, v2 or v1
OWN = Path("/proc/self/cgroup")  # the kernel's list of the process's
_V1, _V2 = ("cpu.cfs_quota_us", "cpu.cfs_period_us"), ("cpu.max",)
# That a command may be asked for. A thread takes memory of its own: 100,000 took 2.3 GiB.
MOST_THREADS = 1024


def available_cores() -> int:
    """The granted cores; OMP_NUM_THREADS, where it is a positive number, lowers it further."""
    cores = granted_cores()
    wanted = os.environ.get("OMP_NUM_THREADS", "")
    return min(cores, int(wanted)) if wanted.isdecimal() and int(wanted) > 0 else cores


def granted_cores() -> int:
    """Cores by scheduler affinity, cut to the cgroup's CPU quota (v2 or v1), at least 1."""
    try:
        cores = len(os.sched_getaffinity(0))
    except AttributeError:  # not on this operating system
        cores = os.cpu_count() or 1
    quota = cgroup_quota()
    if quota is not None:
        cores = min(cores, math.ceil(quota))
    return max(cores, 1)


def cgroup_quota() -> float | None:
    """Cores that the quotas of the process's cgroup and of those around it grant, None without."""
    found = []
    for controller, path in _find_groups():
        base, names = (CGROUP / "cpu", _V1) if controller else (CGROUP, _V2)
        found += [_read_quota(base / place, names) for place in (path, *path.parents)]
    return min((quota for quota in found if quota is not None), default=None)


def _find_groups() -> list[tuple[str, PurePosixPath]]:
    """The controller, empty in v2, and the path of each group that may limit processor time.

    The roots are among them: a container sees its own group there, under whatever name.
    """
    groups = [("", PurePosixPath()), ("cpu", PurePosixPath())]
    try:
        lines = OWN.read_text(errors="surrogateescape").splitlines()
    except OSError:
        return groups
    for line in lines:
        controllers, _, path = line.partition(":")[2].partition(":")  # behind a number
        place = PurePosixPath(path.lstrip("/"))
        limits_time = not controllers or "cpu" in controllers.split(",")
        if path and limits_time and ".." not in place.parts:
            groups.append(("cpu" if controllers else "", place))
    return groups


def _read_quota(folder: Path, names: tuple[str, ...]) -> float | None:
    try:
        words = " ".join((folder / name).read_text() for name in names).split()
    except OSError:
        return None
    if len(words) == 2 and all(word.isdecimal() for word in words) and int(words[1]):
        return int(words[0]) / int(words[1])
    return None
