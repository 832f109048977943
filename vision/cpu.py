"""What the kernel says of this machine's CPU."""

import platform
from pathlib import Path


def cpu_model() -> str:
    """Its name, or its architecture where it has none."""
    return _facts().get("model name", "") or platform.machine()


def has_bf16() -> bool:
    """bf16 does twice the arithmetic of fp32 where the CPU has it; elsewhere it is emulated or refused."""
    return not {"avx512_bf16", "amx_bf16"}.isdisjoint(_facts().get("flags", "").split())


def _facts() -> dict[str, str]:
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8").split("\n\n", 1)[0].splitlines()
    except OSError:
        return {}
    pairs = (line.partition(":") for line in lines)
    return {key.strip(): value.strip() for key, _, value in pairs}
