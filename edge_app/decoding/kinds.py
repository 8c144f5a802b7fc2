"""What a file is that no decoder here takes, in words."""

from __future__ import annotations

from pathlib import PurePath

_HEIF_BRANDS = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"}
_RAW_BEGINNINGS = (b"FUJIFILMCCD-RAW", b"IIU\0", b"IIRO", b"IIRS", b"MMOR", b"\0MRM", b"FOVb")
_RAW_SUFFIXES = frozenset({
    ".3fr", ".arw", ".bayer", ".cr2", ".cr3", ".dng", ".erf", ".nef", ".nrw", ".orf", ".pef",
    ".raf", ".raw", ".rw2", ".srw", ".x3f",
})  # fmt: skip

#: Why a file is refused that shows nothing of what it is.
UNKNOWN = "not an image, or of an unknown format"
#: Why raw pixels of a sensor are refused.
CAMERA_RAW = "camera raw (Bayer raw), which is not read: save it as a PNG or TIFF file with RGB"


def unknown_kind(head: bytes, name: str) -> str:
    """Return why a file is refused that no decoder knows.

    Parameters
    ----------
    head : bytes
        The first 16 bytes or more.
    name : str
        Of the file; its suffix tells raw pixels, which have no header.
    """
    if head[4:8] == b"ftyp" and head[8:12] in _HEIF_BRANDS:
        return "HEIC (HEIF), which is not read: save it as a JPEG or PNG file"
    if head[4:8] == b"ftyp" and head[8:12] == b"avif":
        return "AVIF, which this Pillow does not read: save it as a JPEG or PNG file"
    if head.startswith((b"\xff\x0a", b"\0\0\0\x0cJXL ")):
        return "JPEG XL, which is not read: save it as a JPEG or PNG file"
    raw = head.startswith(_RAW_BEGINNINGS) or head[4:12] == b"ftypcrx "
    if raw or PurePath(name).suffix.lower() in _RAW_SUFFIXES:
        return CAMERA_RAW
    return UNKNOWN
