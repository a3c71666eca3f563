"""The processor, as far as Linux tells of it."""

import platform
from pathlib import Path

CPUINFO = Path("/proc/cpuinfo")
INSTRUCTIONS = ("avx2", "avx512f", "avx512_bf16", "amx_bf16", "bf16")
"""Those that decide how long a network takes, as Linux names them; the last is of 64-bit Arm."""


def name() -> str:
    """As in 'AMD EPYC 9R45'; a cloud's machine may say 'Intel(R) Xeon(R) Processor', and no more."""
    return _told().get("model name", platform.machine())


def abilities() -> frozenset[str]:
    """Its instructions and features, each by Linux's word."""
    told = _told()
    return frozenset(told.get("flags", told.get("Features", "")).split())


def instructions() -> list[str]:
    """Which of `INSTRUCTIONS` it has."""
    found = abilities()
    return [instruction for instruction in INSTRUCTIONS if instruction in found]


def is_quick_in_bfloat16() -> bool:
    """Whether it multiplies in bfloat16; without that, it takes longer than in float32."""
    return any("bf16" in instruction for instruction in instructions())


def _told() -> dict[str, str]:
    """What is told of the first of its cores."""
    if not CPUINFO.exists():  # another system than Linux
        return {}
    first, _, _ = CPUINFO.read_text().partition("\n\n")
    return {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in first.splitlines())}
