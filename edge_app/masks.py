"""Masks: which file belongs to which picture, and which of its pixels are the defect.

Names alone do not make a mask of a file that lies beside pictures: it must look like one too.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps, UnidentifiedImageError

from zeroline.edge_app.decoding import strips, tiff
from zeroline.edge_app.errors import InputError

#: Folders of masks, in lower case.
FOLDERS = frozenset({"ground_truth", "groundtruth", "gt", "mask", "masks"})
#: What a person is told who has other names.
EXPECTED = "000_mask.png, 000_gt.png or 000.png is expected for 000.jpg, or a folder 000 of masks"
#: With more values than this a mask is no table of labels. With more than the first, and mostly
#: white, its edges are soft, or it was a JPEG once.
FEW_LABELS, MOST_LABELS = 8, 32
#: Soft masks are cut here. Their pixels should be nearly black or nearly white.
_HALF = 128
_DARK, _LIGHT = 64, 192

_WORD = r"(?:masks?|gt|ground[ _-]?truth|labels?|seg|segmentation|anno|annotation)"
_AFTER = re.compile(rf"(.+?)[ _.-]+{_WORD}(?:[ _.-]?\d+)?", re.IGNORECASE)
_BEFORE = re.compile(rf"{_WORD}[ _.-]+(.+)", re.IGNORECASE)
_SAMPLE_FORMAT = 339  # tag of TIFF; 1 is unsigned
_DEEP_COLOUR = re.compile(r"\b(RGB|LA)\w*;16")

# what Pillow raises on damaged files, by its documentation and by trying
_DAMAGE = (
    OSError, SyntaxError, ValueError, EOFError, TypeError, KeyError, IndexError, OverflowError,
    struct.error, Image.DecompressionBombError, Image.DecompressionBombWarning,
)  # fmt: skip

Bools = npt.NDArray[np.bool_]


def picture_stem(stem: str) -> str:
    """Return the name that a mask's picture has, without the suffix.

    Examples
    --------
    >>> [picture_stem(stem) for stem in ("000_mask", "000_GT", "000_mask_2", "mask-000", "000")]
    ['000', '000', '000', '000', '000']
    """
    match = _AFTER.fullmatch(stem) or _BEFORE.fullmatch(stem)
    return match[1] if match else stem


def match_masks(
    pictures: Iterable[Path], masks: Iterable[Path], folder: Path
) -> tuple[dict[Path, tuple[Path, ...]], list[Path]]:
    """Find the masks of each picture.

    Parameters
    ----------
    pictures : iterable of Path
        Of one folder.
    masks : iterable of Path
    folder : Path
        That they lie in. Those in a folder inside it belong to the picture of the folder's name.

    Returns
    -------
    dict
        Masks by their picture, in their order.
    list of Path
        Masks that match none.
    """
    by_stem: dict[str, list[Path]] = {}
    for picture in pictures:
        by_stem.setdefault(picture.stem, []).append(picture)
    found: dict[Path, tuple[Path, ...]] = {}
    left = []
    for mask in masks:
        own = (mask.stem, picture_stem(mask.stem))
        names = own if mask.parent == folder else (mask.parent.name,)
        owners = next((by_stem[name] for name in names if name in by_stem), [])
        for owner in owners:
            found[owner] = (*found.get(owner, ()), mask)
        if not owners:
            left.append(mask)
    return found, left


def masks_among(files: Sequence[Path], roots: Sequence[Path]) -> set[Path]:
    """Tell which files that lie among pictures are masks: by name and by content.

    Parameters
    ----------
    files : sequence of Path
        Image files.
    roots : sequence of Path
        For each of them, the folder that was searched.

    Notes
    -----
    A mask lies beside its picture (``000.jpg`` with ``000.png`` or ``000_mask.png``), or in a
    folder of masks. It has at most `MOST_LABELS` values, or is nearly black and nearly white.
    Only files with such names are opened.
    """
    stems: dict[tuple[Path, str], list[Path]] = {}
    for path in files:
        stems.setdefault((path.parent, path.stem), []).append(path)
    masks = set()
    for path, root in zip(files, roots, strict=True):
        same_name = [p for p in stems[path.parent, path.stem] if p != path]
        picture = picture_stem(path.stem)
        named = picture != path.stem and (path.parent, picture) in stems
        named |= any(part.lower() in FOLDERS for part in path.relative_to(root).parts[:-1])
        least = 1 if named else 1 + max(map(_likeness, same_name), default=_LABELS)
        if least <= _LABELS and _likeness(path) >= least:
            masks.add(path)
    return masks


_NONE, _SOFT, _LABELS = 0, 1, 2


def _likeness(path: Path) -> int:
    """Tell how much a file looks like a mask: not at all, black and white, or labels."""
    try:
        values, lossy = _values(path)
        _defect(values, lossy)
    except (InputError, *_DAMAGE):
        return _NONE
    return _SOFT if _is_soft(values, lossy) else _LABELS


def read_mask(
    path: Path | None, *, size: int, shape: tuple[int, int] | None = None
) -> npt.NDArray[np.bool_]:
    """Read a mask at S×S: resized bilinearly and cut at a half.

    Any value over 0 is a defect. A palette counts by its colours, any but black. Where the mask is
    transparent is no defect. A mask with soft edges, or from a JPEG, is cut at a half before.

    Parameters
    ----------
    path : Path or None
    size : int
        S.
    shape : (int, int), optional
        Height and width of the picture, upright. A mask of another aspect is refused.

    Returns
    -------
    array, shape (size, size), bool
        Empty (all False) where there is no mask.

    Raises
    ------
    InputError
        Names the file and the reason, if it cannot be read, or not be told from a picture.
    """
    if path is None:
        return np.zeros((size, size), dtype=bool)
    return _resized(_read(path, shape), (size, size))


def read_picture_mask(path: Path, *, shape: tuple[int, int]) -> Bools:
    """Read a mask at its picture's height and width; see `read_mask`."""
    return _resized(_read(path, shape), shape)


def read_area(path: Path) -> Bools:
    """Read a mask of what is looked at, in its own size (H, W): False where it is black.

    Raises
    ------
    InputError
        See `read_mask`.
    """
    return _read(path, None)


def _read(path: Path, shape: tuple[int, int] | None) -> Bools:
    try:
        marked = _defect(*_values(path))
    except UnidentifiedImageError as error:
        raise InputError(
            f'mask "{path}" cannot be read: it is no image, or of a kind without a rule'
        ) from error
    except InputError as error:
        raise InputError(f'mask "{path}": {error}') from error
    except _DAMAGE as error:
        raise InputError(f'mask "{path}" cannot be read: {error}') from error
    if shape is not None and not _same_aspect(marked.shape, shape):
        raise InputError(
            f'mask "{path}" has {marked.shape[1]}×{marked.shape[0]} pixels, its picture '
            f"{shape[1]}×{shape[0]}: the same aspect is expected"
        )
    return marked


def _resized(marked: Bools, shape: tuple[int, int]) -> Bools:
    if marked.shape == shape:
        return marked
    grey = Image.fromarray(marked.astype(np.uint8) * 255)
    resized: Bools = np.asarray(grey.resize(shape[::-1], Image.Resampling.BILINEAR)) > 127
    return resized


def _same_aspect(one: tuple[int, ...], other: tuple[int, ...]) -> bool:
    """Tell whether one is the other times a factor, each side rounded to a whole pixel."""
    difference = abs(one[0] / other[0] - one[1] / other[1])
    return difference <= 1 / other[0] + 1 / other[1]


def _values(path: Path) -> tuple[npt.NDArray[Any], bool]:
    """Return a mask's values (H, W), upright, 0 for the background; and whether it is a JPEG."""
    with path.open("rb") as file:
        page = None
        head = file.read(16)
        if tiff.is_tiff(head):
            page = tiff.main_page(file, head)
            if page.samples == 1 and page.is_plain and page.every(_SAMPLE_FORMAT, (1,)) == (1,):
                return strips.plain_pixels(file, page, None)[0], False
            if page.bits <= 8:
                page.check()
        file.seek(0)
        with Image.open(file) as opened:
            lossy = opened.format in ("JPEG", "MPO")
            deep = any(_DEEP_COLOUR.search(str(tile[3])) for tile in getattr(opened, "tile", ()))
            pages = 1 if lossy else getattr(opened, "n_frames", 1)
            image = ImageOps.exif_transpose(opened)
    if page is not None:
        deep = deep or (page.bits > 8 and page.samples > 1)
    if pages > 1:
        raise InputError(f"it has {pages} pages, 1 is expected")
    if deep or image.mode == "F":
        kind = "16 bits a colour" if deep else "values with a point"
        raise InputError(f"it has {kind}; 8 bits, or grey of 16 bits, are expected")
    if image.mode.startswith("I"):
        if page is not None and page.white_is_zero:
            raise InputError("its 0 is white, and it has more than 8 bits")
        return np.asarray(image), lossy
    if image.mode in ("P", "PA") or "transparency" in image.info:
        image = image.convert("RGBA")
    if image.mode in ("1", "L"):
        return np.asarray(image.convert("L")), lossy
    if image.mode in ("LA", "La", "RGBA", "RGBa"):
        return _without_hidden(np.asarray(image.convert("RGBA"))), lossy
    return np.asarray(image.convert("RGB")).max(axis=2), lossy


def _without_hidden(pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Return the values of RGBA pixels; ink of one colour on transparent ground counts whole."""
    colours, alpha = pixels[:, :, :3], pixels[:, :, 3]
    values: npt.NDArray[np.uint8] = colours.max(axis=2)
    if alpha.min() == alpha.max():
        return values
    visible = alpha >= _HALF
    if visible.any() and not np.ptp(colours[visible], axis=0).any():
        return alpha
    return np.where(visible, values, np.uint8(0))


def _is_soft(values: npt.NDArray[Any], lossy: bool) -> bool:
    levels, counts = np.unique(values, return_counts=True)
    if lossy or values.dtype != np.uint8 or len(levels) <= FEW_LABELS:
        return lossy
    light, between = counts[levels >= _LIGHT].sum(), counts[(levels > 0) & (levels < _LIGHT)].sum()
    return len(levels) > MOST_LABELS or bool(light > between)


def _defect(values: npt.NDArray[Any], lossy: bool) -> Bools:
    """Tell which values are the defect."""
    low, high = int(values.min()), int(values.max())
    if not _is_soft(values, lossy):
        if low > 0 and low < high:
            raise InputError(f"its values are {low} to {high}: none is 0, the background")
        return values > 0
    if high and high < _LIGHT:
        raise InputError(
            f"its brightest value is {high}, and it is {'a JPEG' if lossy else 'no set of labels'}"
            ": black and white, or labels without loss, are expected"
        )
    if low >= _DARK and low < high:
        raise InputError(f"its darkest value is {low}: a black background is expected")
    between = int(((values >= _DARK) & (values < _LIGHT)).sum())
    if 3 * between > 2 * int((values >= _DARK).sum()):
        raise InputError("it is mostly grey: black and white, or a few labels, are expected")
    return values >= _HALF
