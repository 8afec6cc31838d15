"""lgg-infer-container: lgg-infer on the folders that a platform names in the environment.

MONAI Deploy sets HOLOSCAN_INPUT_PATH and HOLOSCAN_OUTPUT_PATH, mercure sets MERCURE_IN_DIR and
MERCURE_OUT_DIR. Options on the command line go to lgg-infer as they are.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence

from lgg_runtime.errors import UsageError

PAIRS = (("HOLOSCAN_INPUT_PATH", "HOLOSCAN_OUTPUT_PATH"), ("MERCURE_IN_DIR", "MERCURE_OUT_DIR"))


def find_arguments(environment: Mapping[str, str], options: Sequence[str]) -> list[str]:
    """The command line of lgg-infer: INPUT -o OUTPUT, then the options.

    Raises UsageError where no pair of variables is set, where one is set by half, or where two
    pairs name different folders.
    """
    found: set[tuple[str, str]] = set()
    for source, target in PAIRS:
        values = environment.get(source, ""), environment.get(target, "")
        if all(values):
            found.add(values)
        elif any(values):
            raise UsageError(f"{source} and {target}: expected both, found one")
    if len(found) != 1:
        names = " or ".join(" and ".join(pair) for pair in PAIRS)
        how = "two pairs with different folders" if found else "none"
        raise UsageError(f"environment: expected {names}, found {how}")
    source, target = found.pop()
    return [source, "-o", target, *options]


def main() -> None:
    from lgg_runtime.cli import command
    from lgg_runtime.terminal import run_command, tell

    if not {"--help", "--version"}.intersection(sys.argv[1:]):
        try:
            sys.argv[1:] = find_arguments(os.environ, sys.argv[1:])
        except UsageError as error:
            tell(f"lgg-infer-container: {error}")
            sys.exit(error.exit_code)
    run_command(command)


if __name__ == "__main__":
    main()
