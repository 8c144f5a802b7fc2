"""cuBLAS's product, on the addresses, strides and transpositions that it is given."""

import ctypes

import numpy
from numpy import float16, float32


def _columns_first(address, dtype, rows, columns, leading, stride, count):
    """See memory as cuBLAS does: `count` matrices, columns first, `leading` values apart."""
    size = numpy.dtype(dtype).itemsize
    span = (count - 1) * stride + (columns - 1) * leading + rows
    flat = numpy.frombuffer((ctypes.c_char * (span * size)).from_address(address), dtype)
    shape = (count, rows, columns)
    strides = (stride * size, size, leading * size)
    return numpy.lib.stride_tricks.as_strided(flat, shape, strides, writeable=True)


def gemm_strided_batched(
    handle, turn_a, turn_b, m, n, k, alpha, a, type_a, lda, stride_a, b, type_b, ldb, stride_b,
    beta, c, type_c, ldc, stride_c, count, compute, algorithm,
):  # fmt: skip
    assert (handle, compute, algorithm) == (11, 68, -1)
    types = {0: float32, 2: float16}
    sides = []
    for address, kind, rows, columns, leading, stride, turned in (
        (a, type_a, m, k, lda, stride_a, turn_a),
        (b, type_b, k, n, ldb, stride_b, turn_b),
    ):
        shape = (columns, rows) if turned else (rows, columns)
        side = _columns_first(address, types[kind], *shape, leading, stride, count)
        sides.append((side.transpose(0, 2, 1) if turned else side).astype(float32))
    scale, keep = (ctypes.cast(p, ctypes.POINTER(ctypes.c_float))[0] for p in (alpha, beta))
    out = _columns_first(c, types[type_c], m, n, ldc, stride_c, count)
    out[...] = scale * (sides[0] @ sides[1]) + (keep * out if keep else 0)
