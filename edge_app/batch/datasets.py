"""Labelled folders in the layouts of MVTec AD (LOCO and 3D too), VisA and BTAD."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from zeroline.edge_app.batch.visa import read_split
from zeroline.edge_app.errors import ImageError, InputError
from zeroline.edge_app.images import SUFFIXES, ImageFile, read_image
from zeroline.edge_app.masks import (
    EXPECTED,
    FOLDERS,
    masks_among,
    match_masks,
    read_mask,
    read_picture_mask,
)
from zeroline.runtime.framing.view import View

#: Folders of good images, in lower case.
GOOD = ("good", "normal", "ok")


@dataclass(frozen=True)
class Sample:
    """A labelled image.

    Attributes
    ----------
    file : ImageFile
    kind : str
        Its folder: a kind of defect, or what good images are called.
    defective : bool
    masks : tuple of Path
        Where the defect is; none for good images, or where there are none.
    """

    file: ImageFile
    kind: str
    defective: bool
    masks: tuple[Path, ...] = ()

    def mask(self, *, size: int, view: View | None = None) -> npt.NDArray[np.bool_]:
        """Read all masks as one, at size×size, of the picture or of a view; see `read_mask`."""
        defect = read_mask(None, size=size)
        if view is not None:
            for path in self.masks:
                defect = defect | view.cut(read_picture_mask(path, shape=view.size), side=size)
            return defect
        if self.masks:
            shape = _shape(self.file.path)
            for path in self.masks:
                defect = defect | read_mask(path, size=size, shape=shape)
        return defect


def _shape(path: Path) -> tuple[int, int] | None:
    """Return height and width of a picture; None if it cannot be read, which is told later."""
    try:
        height, width = read_image(path).shape[:2]
    except ImageError:
        return None
    return height, width


@dataclass(frozen=True)
class Dataset:
    """A folder of labelled images.

    Attributes
    ----------
    name : str
    samples : list of Sample
    remarks : list of str
        What of the folder was not read, or looks wrong.
    """

    name: str
    samples: list[Sample]
    remarks: list[str] = field(default_factory=list)

    @property
    def without_mask(self) -> list[Sample]:
        """The defective images that have no mask."""
        return [s for s in self.samples if s.defective and not s.masks]

    @property
    def has_masks(self) -> bool:
        """Whether there are defective images, and every one has a mask."""
        return any(s.defective for s in self.samples) and not self.without_mask


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
    real = folder.resolve()  # the split of VisA names the folder and lies beside it
    test, data = _inside(folder, "test"), _inside(real, "Data", "Images")
    if test is not None:
        found = _test_folders(folder, test)
    elif data is not None:
        found = _visa(real, data)
    else:
        return None
    if not found.samples:
        raise InputError(f'data set "{folder}" holds no image')
    found.tell_of_labels()
    return Dataset(real.name, found.samples, found.remarks)


def _inside(folder: Path, *names: str) -> Path | None:
    """Return the folder below a folder, whatever the case of its names; None without one."""
    for name in names:
        if (folder / name).is_dir():
            folder = folder / name
            continue
        inner = (p for p in sorted(folder.iterdir()) if p.name.lower() == name.lower())
        found = next((path for path in inner if path.is_dir()), None)
        if found is None:
            return None
        folder = found
    return folder


def _images_in(folder: Path) -> list[Path]:
    return sorted(
        path
        for path in folder.iterdir()
        if path.suffix.lower() in SUFFIXES and not path.name.startswith(".") and path.is_file()
    )


def _with_images(folder: Path, above: frozenset[Path] = frozenset()) -> Iterator[Path]:
    """Yield a folder and those inside it, but for folders of masks; a link back is not followed."""
    yield folder
    above = above | {folder.resolve()}
    for path in sorted(folder.iterdir()):
        known = path.name.startswith(".") or path.name.lower() in FOLDERS
        if path.is_dir() and not known and path.resolve() not in above:
            yield from _with_images(path, above)


@dataclass
class _Found:
    """What was found in a folder so far.

    Attributes
    ----------
    root : Path
        Of the names in results.
    samples, remarks
        See `Dataset`.
    masks : dict
        Whether a mask has an image, by its path.
    """

    root: Path
    samples: list[Sample] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)
    masks: dict[Path, bool] = field(default_factory=dict)

    def take(self, folder: Path, *, defective: bool, masks: Sequence[Path]) -> None:
        """Take the images of one folder; its masks lie in other folders, or beside them."""
        images = _images_in(folder)
        beside = masks_among(images, [folder] * len(images))
        pictures = [path for path in images if path not in beside]
        found: dict[Path, tuple[Path, ...]] = {}
        if defective and pictures:
            places = [(folder, sorted(beside)), *((place, _masks_in(place)) for place in masks)]
            for place, files in places:
                matched, left = match_masks(pictures, files, place)
                for mask in left:
                    self.masks.setdefault(mask, False)
                for path, some in matched.items():
                    found[path] = (*found.get(path, ()), *some)
                    self.masks.update(dict.fromkeys(some, True))
        kind = folder.relative_to(self.root).as_posix()
        for path in pictures:
            file = ImageFile(path, path.relative_to(self.root).as_posix())
            self.samples.append(Sample(file, kind, defective, found.get(path, ())))

    def tell_of_labels(self) -> None:
        """Say which labels and masks are missing, or fit nothing."""
        bad = [sample for sample in self.samples if sample.defective]
        kinds = _few(list(dict.fromkeys(sample.kind for sample in self.samples)))
        if len(bad) == len(self.samples):
            self.remarks.append(
                f"no good image: all folders are defects ({kinds}); good ones lie in a folder "
                f"called {', '.join(GOOD[:-1])} or {GOOD[-1]}"
            )
        if not bad:
            self.remarks.append(f"no defective image: all folders are good ({kinds})")
        without = [sample.file.name for sample in bad if not sample.masks]
        if without:
            self.remarks.append(
                f"masks are missing for {len(without)} of {len(bad)} defective images "
                f"({_few(without)}), no pixel metrics"
            )
        unmatched = [str(path) for path, has_image in self.masks.items() if not has_image]
        if unmatched:
            self.remarks.append(
                f"{len(unmatched)} mask(s) match no image ({_few(unmatched)}): {EXPECTED}"
            )


def _few(names: Sequence[str], most: int = 3) -> str:
    return ", ".join(names[:most]) + (", …" if len(names) > most else "")


def _masks_in(folder: Path) -> list[Path]:
    """List the masks of a folder, and those in the folders of single images inside it."""
    inner = [p for p in sorted(folder.iterdir()) if p.is_dir() and not p.name.startswith(".")]
    return [*_images_in(folder), *(path for place in inner for path in _images_in(place))]


def _test_folders(folder: Path, test: Path) -> _Found:
    """MVTec AD (test/good, ground_truth/<kind>/*_mask.png) and BTAD (test/ok, …/*.png).

    MVTec LOCO has several masks for an image, ground_truth/<kind>/000/*.png. MVTec 3D has them
    beside the images, test/<kind>/gt. Kinds may lie in folders of their own.
    """
    found = _Found(test)
    truths = [p for p in sorted(folder.iterdir()) if p.name.lower() in FOLDERS and p.is_dir()]
    for place in _with_images(test):
        parts = place.relative_to(test).parts
        if not parts:
            loose = [path.name for path in _images_in(test)]
            if loose:
                found.remarks.append(
                    f"{len(loose)} image(s) of no kind were not read ({_few(loose)}): "
                    "test/<kind>/ is expected"
                )
            continue
        near = [p for above in (place, place.parent) if above != test for p in _named(above)]
        masks = [*near, *(p for truth in truths if (p := _inside(truth, *parts)) is not None)]
        defective = not any(part.lower().strip() in GOOD for part in parts)
        found.take(place, defective=defective, masks=masks)
    return found


def _named(folder: Path) -> list[Path]:
    """List the folders of masks inside a folder."""
    return [p for p in sorted(folder.iterdir()) if p.name.lower() in FOLDERS and p.is_dir()]


def _visa(folder: Path, images: Path) -> _Found:
    """VisA as published: Data/Images/{Normal,Anomaly}, Data/Masks/Anomaly.

    Where ``split_csv/1cls.csv`` lies beside the folder, the images of its test split are taken;
    else all.
    """
    found = _Found(images)
    masks = _inside(folder, "Data", "Masks", "Anomaly")
    for kind in sorted(p for p in images.iterdir() if p.is_dir() and not p.name.startswith(".")):
        defective = kind.name.lower() not in GOOD
        found.take(kind, defective=defective, masks=[masks] if defective and masks else [])
    split = read_split(folder.parent / "split_csv" / "1cls.csv", folder.name)
    if split is not None:
        names = {s.file.path.relative_to(folder.parent).as_posix(): s for s in found.samples}
        absent = sorted(split - set(names))
        if absent:
            found.remarks.append(
                f"{len(absent)} image(s) of the test split are not there ({_few(absent)})"
            )
        found.samples = [sample for name, sample in names.items() if name in split]
        if not found.samples:
            raise InputError(f'data set "{folder}": no image is in the test split ({_few(absent)})')
    return found
