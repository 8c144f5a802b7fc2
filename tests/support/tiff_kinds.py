"""Kinds of TIFF: each is drawn to a file, with the pixels that must come out, or why none do.

`tifffile` draws what it can; `write_packed` writes depths that it packs only with a heavy package.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from PIL import Image
from trials.packed_tiff import write_packed as packed

HEIGHT, WIDTH = 20, 30
_RNG = np.random.default_rng(0)
GREY = _RNG.integers(0, 256, (HEIGHT, WIDTH)).astype(np.uint8)
COLOUR = _RNG.integers(0, 256, (HEIGHT, WIDTH, 3)).astype(np.uint8)  # RGB
GREY16, COLOUR16 = GREY.astype(np.uint16) * 257, COLOUR.astype(np.uint16) * 257
SMOOTH = np.add.outer(np.arange(HEIGHT) * 5, np.arange(WIDTH) * 4).astype(np.uint8)
ALPHA = np.full((HEIGHT, WIDTH, 1), 10, np.uint8)

#: How pixels lie in a file, by the orientation: where its first row and first column are seen.
STORED: dict[int, Callable[[Any], Any]] = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: a.swapaxes(0, 1)[::-1],
    7: lambda a: a.swapaxes(0, 1)[::-1, ::-1],
    8: lambda a: a.swapaxes(0, 1)[:, ::-1],
}


@dataclass(frozen=True)
class Kind:
    """One kind of TIFF.

    `pixels` are grey or RGB, or None where `refused` is part of the message.
    """

    name: str
    draw: Callable[[Path], Any]
    pixels: Any
    refused: str = ""
    within: int = 0


def tags(**values: int) -> list[tuple[int, str, int, int, bool]]:
    numbers = {"orientation": 274, "dng": 50706, "fill_order": 266}
    return [(numbers[name], "H", 1, value, True) for name, value in values.items()]


def written(pixels: Any, **options: Any) -> Callable[[Path], Any]:
    return lambda path: tifffile.imwrite(path, pixels, **({"metadata": None} | options))


def by_pillow(pixels: Any, **options: Any) -> Callable[[Path], Any]:
    return lambda path: Image.fromarray(pixels).save(path, "TIFF", **options)


def in_bits(bits: int, values: Any, **options: Any) -> Callable[[Path], Any]:
    return lambda path: packed(path, values, bits, **options)


def pages(*parts: tuple[Any, dict[str, Any]]) -> Callable[[Path], Any]:
    def draw(path: Path) -> None:
        with tifffile.TiffWriter(path) as writer:
            for pixels, options in parts:
                writer.write(pixels, **({"metadata": None} | options))

    return draw


def depth(values: Any, bits: int) -> Any:
    """Return 8-bit values as values of so many bits."""
    return np.round(values / 255 * (2**bits - 1)).astype(np.uint16)


def _turned() -> list[Kind]:
    sets: dict[str, Any] = {
        "grey8": (GREY, GREY), "grey16": (GREY16, GREY), "rgb8": (COLOUR, COLOUR),
        "rgb16": (COLOUR16, COLOUR),
    }  # fmt: skip
    found = [
        Kind(f"{name}, {how or 'plain'}, turned {number}",
             written(stored(raw), extratags=tags(orientation=number), compression=how,
                     photometric="rgb" if raw.ndim == 3 else "minisblack"), seen)
        for name, (raw, seen) in sets.items()
        for how in (None, "zlib")
        for number, stored in STORED.items()
    ]  # fmt: skip
    return found + [
        Kind(f"12 bits, turned {number}",
             in_bits(12, stored(depth(GREY, 12)), rows=len(stored(GREY)), more={274: number}), GREY)
        for number, stored in STORED.items()
    ]  # fmt: skip


def _layouts() -> list[Kind]:
    found = []
    for name, raw, seen in (("grey8", GREY, GREY), ("grey16", GREY16, GREY),
                            ("rgb8", COLOUR, COLOUR), ("rgb16", COLOUR16, COLOUR)):  # fmt: skip
        photometric = "rgb" if raw.ndim == 3 else "minisblack"
        layouts: dict[str, dict[str, Any]] = {
            "strips of 7 rows": {"rowsperstrip": 7},
            "tiles": {"tile": (16, 16)},
            "tiles, Deflate": {"tile": (16, 16), "compression": "zlib"},
            "Deflate, predictor": {"compression": "zlib", "predictor": True},
            "big-endian": {"byteorder": ">"},
            "big-endian, Deflate": {"byteorder": ">", "compression": "zlib"},
            "BigTIFF": {"bigtiff": True},
            "ImageJ": {"imagej": True, "metadata": {}},
        }
        for what, options in layouts.items():
            if what == "ImageJ" and name == "rgb16":  # it has no such thing
                continue
            draw = written(raw, photometric=photometric, **options)
            found.append(Kind(f"{name}, {what}", draw, seen))
    for name in ("tiff_lzw", "packbits", "tiff_deflate", "lzma", "zstd"):
        found += [Kind(f"grey8, {name}", by_pillow(GREY, compression=name), GREY),
                  Kind(f"grey16, {name}", by_pillow(GREY16, compression=name), GREY),
                  Kind(f"rgb8, {name}", by_pillow(COLOUR, compression=name), COLOUR)]  # fmt: skip
    found.append(Kind("grey8, JPEG", by_pillow(SMOOTH, compression="jpeg", quality=95), SMOOTH,
                      within=4))  # fmt: skip
    smooth = np.dstack([SMOOTH] * 3)
    found.append(Kind("rgb8, JPEG", by_pillow(smooth, compression="jpeg", quality=95), smooth,
                      within=4))  # fmt: skip
    return found


def _colours() -> list[Kind]:
    grey3 = np.repeat(GREY[:, :, None], 3, axis=2)
    palette = np.repeat((np.arange(256, dtype=np.uint16) * 257)[None], 3, axis=0)
    bilevel = (GREY > 127).astype(np.uint8) * 255
    separate = COLOUR.transpose(2, 0, 1)
    deep = COLOUR16.transpose(2, 0, 1)
    planar: dict[str, Any] = {"photometric": "rgb", "planarconfig": "separate"}
    white: dict[str, Any] = {"photometric": "miniswhite"}
    ink = 255 - np.dstack([COLOUR, np.full((HEIGHT, WIDTH), 255, np.uint8)])
    four = np.dstack([COLOUR, ALPHA])
    four16 = np.dstack([COLOUR16, ALPHA.astype(np.uint16) * 257])
    opaque = np.dstack([COLOUR, 255 + 0 * ALPHA])
    two, two16 = np.dstack([GREY, ALPHA]), np.dstack([GREY16, ALPHA.astype(np.uint16) * 257])
    return [
        Kind("rgb8, planes", written(separate, **planar), COLOUR),
        Kind("rgb8, planes, Deflate", written(separate, compression="zlib", **planar), COLOUR),
        Kind("rgb16, planes", written(deep, **planar), COLOUR),
        Kind("rgb16, planes, strips", written(deep, rowsperstrip=3, **planar), COLOUR),
        Kind("rgb16, planes, big-endian", written(deep, byteorder=">", **planar), COLOUR),
        Kind("rgb16, planes, Deflate", written(deep, compression="zlib", **planar), None,
             "16 bits (unsigned), 3 sample(s) (RGB), compression Deflate, one plane after"),
        Kind("rgb16, planes, tiles", written(deep, tile=(16, 16), **planar), None, "one plane"),
        Kind("0 is white, 8", written(255 - GREY, **white), GREY),
        Kind("0 is white, 16", written(65535 - GREY16, **white), GREY),
        Kind("0 is white, 16, Deflate", written(65535 - GREY16, compression="zlib", **white), GREY),
        Kind("0 is white, 16, big-endian", written(65535 - GREY16, byteorder=">", **white), GREY),
        Kind("0 is white, 16, big-endian, Deflate",
             written(65535 - GREY16, byteorder=">", compression="zlib", **white), None,
             "16 bits (unsigned), 1 sample(s) (grey, 0 is white), compression Deflate"),
        Kind("palette", written(GREY, photometric="palette", colormap=palette), grey3),
        Kind("one bit", by_pillow(bilevel.astype(bool)), bilevel),
        Kind("one bit, group 4", by_pillow(bilevel.astype(bool), compression="group4"), bilevel),
        Kind("CMYK", written(ink, photometric="separated"), COLOUR, within=1),
        Kind("CMYK, 16", written(ink.astype(np.uint16) * 257, photometric="separated"), None,
             "16 bits (unsigned), 4 sample(s) (CMYK), compression none"),
        Kind("CIELab", written(COLOUR, photometric="cielab"), None, "3 sample(s) (CIELab)"),
        Kind("rgb8 with alpha", written(four, photometric="rgb", extrasamples=["unassalpha"]),
             COLOUR),
        Kind("rgb8, opaque, premultiplied",
             written(opaque, photometric="rgb", extrasamples=["assocalpha"]), COLOUR),
        Kind("rgb8, something more", written(four, photometric="rgb", extrasamples=[0]), COLOUR),
        Kind("rgb16 with alpha", written(four16, photometric="rgb", extrasamples=["unassalpha"]),
             COLOUR),
        Kind("rgb16 with alpha, Deflate",
             written(four16, photometric="rgb", extrasamples=["unassalpha"], compression="zlib"),
             COLOUR),
        Kind("rgb16, premultiplied",
             written(four16, photometric="rgb", extrasamples=["assocalpha"]), None,
             "16 bits (unsigned), 4 sample(s) (RGB)"),
        Kind("grey8 with alpha", written(two, photometric="minisblack", planarconfig="contig",
                                         extrasamples=["unassalpha"]), GREY),
        Kind("grey16 with alpha", written(two16, photometric="minisblack", planarconfig="contig",
                                          extrasamples=["unassalpha"]), GREY),
        Kind("YCbCr, not packed", written(np.dstack([GREY, 0 * GREY + 128, 0 * GREY + 128]),
                                          photometric="ycbcr", subsampling=(1, 1)), GREY),
        Kind("LogLuv", lambda path: packed(path, GREY, 8, photometric=32845), None,
             "LogLuv"),
        Kind("JPEG 2000", lambda path: packed(path, GREY, 8, compression=34712), None,
             "compression JPEG 2000"),
        Kind("old JPEG", lambda path: packed(path, GREY, 8, compression=6), None,
             "compression old JPEG"),
        Kind("no such compression", lambda path: packed(path, GREY, 8, compression=777), None,
             "compression number 777"),
    ]  # fmt: skip


def _reversed(values: Any) -> Any:
    """Return bytes with their lowest bit first."""
    return np.packbits(np.unpackbits(values[..., None], axis=-1)[..., ::-1], axis=-1)[..., 0]


def _depths() -> list[Kind]:
    found = [
        Kind(f"{bits} bits{', big-endian' if big else ''}, {rows} rows a strip",
             in_bits(bits, depth(GREY, bits), rows=rows, big_endian=big), GREY)
        for bits in (9, 10, 11, 12, 13, 14, 15)
        for big, rows in ((False, HEIGHT), (True, 7))
    ]  # fmt: skip
    four_bits = np.round(GREY / 17).astype(np.uint8)
    found += [
        Kind("4 bits", lambda path: packed(path, four_bits, 4), four_bits * 17),
        Kind("2 bits", lambda path: packed(path, four_bits >> 2, 2), (four_bits >> 2) * 85),
        Kind("12 bits, 0 is white",
             lambda path: packed(path, 4095 - depth(GREY, 12), 12, photometric=0), GREY),
        Kind("12 bits, colour",
             lambda path: packed(path, depth(COLOUR, 12), 12, photometric=2, samples=3), COLOUR),
        Kind("12 bits, lowest bit first",
             lambda path: packed(path, depth(GREY, 12), 12, fill_order=2), None,
             "TIFF of 12 bits (unsigned), 1 sample(s) (grey), compression none"),
        Kind("8 bits, lowest bit first", in_bits(8, _reversed(GREY), fill_order=2), GREY),
        Kind("16 bits, lowest bit first",
             in_bits(16, _reversed(GREY).astype(np.uint16) * 257, fill_order=2), GREY),
        Kind("16 bits, colour, lowest bit first",
             in_bits(16, COLOUR16, fill_order=2, photometric=2, samples=3), None,
             "TIFF of 16 bits (unsigned), 3 sample(s) (RGB), compression none, lowest bit first"),
        Kind("16 bits, too many samples", in_bits(16, GREY16, more={277: 60000}), None,
             "60000 sample(s)"),
        Kind("12 bits, LZW", lambda path: packed(path, depth(GREY, 12), 12, compression=5), None,
             "TIFF of 12 bits (unsigned), 1 sample(s) (grey), compression LZW"),
        Kind("Bayer raw", lambda path: packed(path, depth(GREY, 12), 12, photometric=32803), None,
             "camera raw (Bayer raw)"),
        Kind("DNG", written(COLOUR, photometric="rgb", extratags=tags(dng=1)), None,
             "camera raw (Bayer raw)"),
    ]  # fmt: skip
    for kind, word in (("i1", "8 bits (signed)"), ("i2", "16 bits (signed)"), ("u4", "32 bits"),
                       ("i4", "32 bits (signed)"), ("u8", "64 bits"), ("f2", "16 bits (floating"),
                       ("f4", "32 bits (floating point)"), ("f8", "64 bits (floating point)"),
                       ("c8", "64 bits (complex)")):  # fmt: skip
        draw = written((GREY >> 1).astype(kind), photometric="minisblack")
        found.append(Kind(f"grey, {kind}", draw, None, word))
    colour = written((COLOUR >> 1).astype("i2"), photometric="rgb")
    return [*found, Kind("rgb, i2", colour, None, "16 bits (signed), 3 sample(s) (RGB)")]


def _pages() -> list[Kind]:
    half, other = GREY[::2, ::2], 255 - GREY
    return [
        Kind("three pages", pages((GREY, {}), (other, {}), (other, {})), GREY),
        Kind("a preview first", pages((half, {"subfiletype": 1}), (GREY, {})), GREY),
        Kind("a preview first, 16 bits after it",
             pages((other[:16, :16], {"subfiletype": 1}), (COLOUR16, {"photometric": "rgb"})),
             COLOUR),
        Kind("a mask first",
             pages((other > 99, {"subfiletype": 4, "photometric": "mask"}), (GREY, {})), GREY),
        Kind("a preview first, 16 bits and Deflate after it",
             pages((half, {"subfiletype": 1}),
                   (COLOUR16, {"photometric": "rgb", "compression": "zlib"})), COLOUR),
        Kind("a page with smaller ones in it",
             pages((GREY, {"subifds": 1}), (half, {"subfiletype": 1})), GREY),
        Kind("a page that calls itself a preview", pages((GREY, {"subfiletype": 1})), GREY),
        Kind("a preview with the picture in it",
             pages((half, {"subifds": 1, "subfiletype": 1}), (GREY, {})), None, "previews"),
        Kind("OME", lambda path: tifffile.imwrite(path, GREY, ome=True), GREY),
        Kind("a stack", lambda path: tifffile.imwrite(path, np.stack([GREY, other])), GREY),
    ]  # fmt: skip


KINDS = [*_turned(), *_layouts(), *_colours(), *_depths(), *_pages()]
