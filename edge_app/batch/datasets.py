"""Labelled folders in the layouts of MVTec AD, VisA and BTAD."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, UnidentifiedImageError

from zeroline.edge_app.errors import InputError
from zeroline.edge_app.images import SUFFIXES, ImageFile

_GOOD = frozenset({"good", "ok"})


@dataclass(frozen=True)
class Sample:
    """A labelled image."""

    file: ImageFile
    defective: bool
    mask: Path | None  # where the defect is; None for good images, or where there is none

    @property
    def kind(self) -> str:
        """Name of its folder: a kind of defect, or what good images are called."""
        return self.file.name.partition("/")[0]


@dataclass(frozen=True)
class Dataset:
    """A folder of labelled images."""

    name: str
    samples: list[Sample]

    @property
    def has_masks(self) -> bool:
        """Whether every defective image has a mask."""
        return all(s.mask is not None for s in self.samples if s.defective)


def find_datasets(folders: Sequence[Path]) -> list[Dataset]:
    """Open labelled folders; one that holds several data sets stands for them all.

    Raises
    ------
    InputError
        If a folder is missing, has no known layout, or two data sets have the same name.
    """
    datasets: list[Dataset] = []
    for folder in folders:
        if not folder.is_dir():
            raise InputError(f'data set "{folder}" is not a folder')
        dataset = _open(folder)
        inside = (
            [dataset] if dataset else [_open(f) for f in sorted(folder.iterdir()) if f.is_dir()]
        )
        known = [d for d in inside if d is not None]
        if not known:
            raise InputError(
                f'data set "{folder}" has no known layout: test/<kind>/ (MVTec AD, BTAD) or '
                "Data/Images/ (VisA) is expected"
            )
        datasets += known
    names = [dataset.name for dataset in datasets]
    for name in names:
        if names.count(name) > 1:
            raise InputError(f'two data sets are called "{name}": evaluate them one by one')
    return datasets


def _open(folder: Path) -> Dataset | None:
    """Open one data set, None where the layout is unknown."""
    if (folder / "test").is_dir():
        samples = _test_folders(folder)
    elif (folder / "Data" / "Images").is_dir():
        samples = _visa(folder)
    else:
        return None
    if not samples:
        raise InputError(f'data set "{folder}" holds no image')
    return Dataset(folder.resolve().name, samples)


def _images_in(folder: Path) -> list[Path]:
    return sorted(
        path
        for path in folder.iterdir()
        if path.suffix.lower() in SUFFIXES and not path.name.startswith(".")
    )


def _masks_by_stem(folder: Path) -> dict[str, Path]:
    """Masks of one kind by the stem of their image (``000_mask.png`` or ``000.png``)."""
    if not folder.is_dir():
        return {}
    return {path.stem.removesuffix("_mask"): path for path in _images_in(folder)}


def _test_folders(folder: Path) -> list[Sample]:
    """MVTec AD (test/good, ground_truth/<kind>/*_mask.png) and BTAD (test/ok, …/*.png)."""
    samples = []
    for kind in sorted(p for p in (folder / "test").iterdir() if p.is_dir()):
        good = kind.name in _GOOD
        masks = {} if good else _masks_by_stem(folder / "ground_truth" / kind.name)
        for path in _images_in(kind):
            name = path.relative_to(folder / "test").as_posix()
            samples.append(Sample(ImageFile(path, name), not good, masks.get(path.stem)))
    return samples


def _visa(folder: Path) -> list[Sample]:
    """VisA as published: Data/Images/{Normal,Anomaly}, Data/Masks/Anomaly.

    Where ``split_csv/1cls.csv`` lies beside the folder, the images of its test split are taken;
    else all.
    """
    folder = folder.resolve()  # the split names the folder and lies beside it
    split = folder.parent / "split_csv" / "1cls.csv"
    wanted: set[str] | None = None
    if split.is_file():
        try:
            with split.open(newline="", encoding="utf-8") as file:
                wanted = {
                    row["image"]
                    for row in csv.DictReader(file)
                    if row["object"] == folder.name and row["split"] == "test"
                }
        except (OSError, ValueError, KeyError, csv.Error) as error:
            raise InputError(
                f'"{split}" cannot be read: {error}; a CSV with the columns '
                "object, split and image is expected"
            ) from error
    masks = _masks_by_stem(folder / "Data" / "Masks" / "Anomaly")
    samples = []
    for kind, defective in (("Anomaly", True), ("Normal", False)):
        images = folder / "Data" / "Images" / kind
        for path in _images_in(images) if images.is_dir() else []:
            if wanted is not None and path.relative_to(folder.parent).as_posix() not in wanted:
                continue
            mask = masks.get(path.stem) if defective else None
            samples.append(Sample(ImageFile(path, f"{kind}/{path.name}"), defective, mask))
    return samples


def read_mask(path: Path | None, *, size: int) -> npt.NDArray[np.bool_]:
    """Read a mask at S×S: any value over 0 is a defect; resized bilinearly and cut at a half.

    Returns
    -------
    array, shape (size, size), bool
        Empty (all False) where there is no mask.
    """
    if path is None:
        return np.zeros((size, size), dtype=bool)
    try:
        with Image.open(path) as image:
            values = np.asarray(image)  # a palette's indices as they are: 0 is background
    except (
        UnidentifiedImageError,
        OSError,
        Image.DecompressionBombError,
        Image.DecompressionBombWarning,
    ) as error:
        raise InputError(f'mask "{path}" cannot be read: {error}') from error
    if values.ndim == 3:
        alpha = values.shape[2] in (2, 4)
        values = values[:, :, : values.shape[2] - alpha].max(axis=2)
    defect = values > 0
    if defect.shape != (size, size):
        grey = Image.fromarray(defect.astype(np.uint8) * 255)
        defect = np.asarray(grey.resize((size, size), Image.Resampling.BILINEAR)) > 127
    return defect
