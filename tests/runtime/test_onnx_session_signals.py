"""A session of onnxruntime and the signals that come while it runs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

# In a process of its own: a signal at any step leaves a debugger's or coverage's lock locked, too.
SIGNALS = """if True:
    import contextlib, random, signal, sys
    from pathlib import Path
    import numpy as np
    from lgg_runtime.backends import BackendSettings
    from lgg_runtime.backends.onnx_session import OnnxSession

    session, dice = OnnxSession(Path(sys.argv[1]), BackendSettings("cpu", 2)), random.Random(0)
    slices = np.zeros((1, 16, 16, 3), np.uint8)
    session.run(slices)
    signal.signal(signal.SIGALRM, signal.default_int_handler)
    for _ in range(300):
        with contextlib.suppress(KeyboardInterrupt):
            signal.setitimer(signal.ITIMER_REAL, dice.uniform(0.0001, 0.002))
            while True:
                session.run(slices)
    signal.setitimer(signal.ITIMER_REAL, 5)  # so that what would wait for ever fails
    print(session._run_on_all(slices, np.empty((1, 16, 16), np.float32)))
"""


def test_a_signal_takes_no_stream_of_threads_with_it(artifact: Path) -> None:
    """At whatever step it comes: of a semaphore's some are Python's, and a later run waits then."""
    command = [sys.executable, "-c", SIGNALS, str(artifact)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stdout) == (0, "True\n"), done.stderr
