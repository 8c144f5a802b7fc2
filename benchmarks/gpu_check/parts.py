"""The parts of the check, in their order: ten assertions, then figures."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Part:
    """A part.

    Attributes
    ----------
    name : str
        The function is of this name, with `_` for `-`, in the module `where`.
    where : str
        Module of this package.
    says : str
        What is asserted.
    seconds : int
        Longest time of its process.
    """

    name: str
    where: str
    says: str
    seconds: int = 300


PARTS = (
    Part("provider", "provider", "the network runs on CUDA, with the CPU's tokens", 600),
    Part("attributes", "kernels", "registers, no spills, two blocks of fused_keys"),
    Part("keys", "keys", "keys tell the least distance of float64"),
    Part("forms", "forms", "distances are those of float32 there and on the CPU", 600),
    Part("copies", "forms", "a copy is at distance 0, both ways"),
    Part("repeats", "repeats", "runs are equal bit by bit, also beside a busy process"),
    Part("sanitizer", "sanitizer", "compute-sanitizer finds nothing with its four tools", 600),
    Part("streams", "streams", "late copies and other streams change nothing", 600),
    Part("line", "line", "a line has the CPU's scores and verdicts, and its memory stays", 600),
    Part("rates", "rates", "rate of the product, even frames, a quick second start", 600),
    Part("tests", "numerical", "the numerical tests hold with CuPy", 600),
    Part("kernel-times", "figures", "each kernel, beside the machine's own rates", 600),
    Part("frames-cuda", "figures", "frames from picture to verdict on CUDA", 900),
    Part("frames-tensorrt", "figures", "the same on TensorRT, where it is installed", 1800),
)
ASSERTIONS = 10
