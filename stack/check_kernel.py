"""Whether MongoDB 8 starts on this machine's Linux: `check_kernel.py [RELEASE]`, that of the machine without one.

Source: the release notes of MongoDB 8.0, on its allocator and the kernels from 6.19 through 7.0.13.
"""

import platform
import re
import sys

FIRST, LAST = (6, 19, 0), (7, 0, 13)


def main(release: str) -> None:
    numbers = re.match(r"(\d+)\.(\d+)(?:\.(\d+))?", release)
    if numbers and FIRST <= tuple(int(number or 0) for number in numbers.groups()) <= LAST:
        sys.exit(
            f"MongoDB 8 stops at its start on Linux {release}, as on all kernels from 6.19 through 7.0.13: start the "
            "machine with another kernel, 7.0.14 or later or one before 6.19."
        )


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else platform.release())
