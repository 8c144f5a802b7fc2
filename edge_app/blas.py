"""Let OpenBLAS use the vector units that the processor has.

The OpenBLAS in NumPy's wheels picks its code by processor family, and takes AVX2 code on AMD's
Zen 5, which has AVX-512: half the speed (measured: 125 against 231 GFLOP/s in sgemm on one core).
It reads its environment variable when NumPy is first imported, so a program can choose for itself;
a library must not, and `zeroline.runtime` does not.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

VARIABLE = "OPENBLAS_CORETYPE"
_NEEDED = frozenset({"avx512f", "avx512cd", "avx512bw", "avx512dq", "avx512vl"})


def openblas_core(cpu_info: str) -> str | None:
    """Return the OpenBLAS core to ask for, None to leave the choice to OpenBLAS.

    Parameters
    ----------
    cpu_info : str
        Content of ``/proc/cpuinfo``, whose flags list only what the kernel allows too.
    """
    fields: dict[str, str] = {}
    for line in cpu_info.split("\n\n", maxsplit=1)[0].splitlines():
        name, _, value = line.partition(":")
        fields[name.strip()] = value.strip()
    is_amd = fields.get("vendor_id") == "AuthenticAMD"
    return "SkylakeX" if is_amd and set(fields.get("flags", "").split()) >= _NEEDED else None


def choose_openblas_core() -> None:
    """Set the variable for this process, unless it is set or NumPy is there already."""
    if VARIABLE in os.environ or "numpy" in sys.modules:
        return
    try:
        core = openblas_core(Path("/proc/cpuinfo").read_text(encoding="ascii", errors="replace"))
    except OSError:
        return
    if core is not None:
        os.environ[VARIABLE] = core
