"""Image files: which ones there are, what they are called in results, and their pixels."""

from __future__ import annotations

import hashlib
import re
import stat
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from zeroline.edge_app.decoding.pictures import decode, refused_kind
from zeroline.edge_app.errors import ImageError, InputError
from zeroline.edge_app.masks import masks_among
from zeroline.runtime.frames import Frame

# fmt: off
SUFFIXES = frozenset({
    ".bmp", ".gif", ".jfif", ".jpe", ".jpeg", ".jpg", ".pbm", ".pgm", ".png", ".ppm", ".tif",
    ".tiff", ".webp",
})
# fmt: on
_LONGEST_NAME = 240  # bytes
_NUMBERS = re.compile(r"(\d+)", re.ASCII)
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
#: What a line has drawn begins with its run (`outputs.pictures`); frames end in .raw.png.
_DRAWN = re.compile(r"\d{8}T\d{6}Z-[0-9a-f]{4}-.+(?<!\.raw)\.png", re.ASCII)
#: The first line of the table that `score` writes; overlays beside it are no input.
RESULTS_HEADER = "image,score,raw_score,threshold,verdict,copy_of,recurring"


@dataclass(frozen=True)
class ImageFile:
    """An image file and the name that results give it."""

    path: Path
    name: str


@dataclass(frozen=True)
class FoundImages:
    """What was found.

    Attributes
    ----------
    files : list of ImageFile
    others : Counter
        How many other files the folders hold, by suffix.
    masks : list of Path
        Masks that lie among the images; see `masks_among`.
    """

    files: list[ImageFile]
    others: Counter[str]
    masks: list[Path] = field(default_factory=list)

    @property
    def note(self) -> str:
        """What is to be told of masks, in one line; empty where there are none."""
        if not self.masks:
            return ""
        return (
            f'{len(self.masks)} files were not taken: they are masks, such as "{self.masks[0]}" '
            "(pictures come in pairs of one name, or a folder is called as those of masks)"
        )


def find_images(paths: Sequence[Path], *, output: Path | None = None) -> FoundImages:
    """List the images of files and folders (searched through), in the order given.

    In a folder, files count whose suffix is in `SUFFIXES`; names that start with a dot do not;
    links are followed, after all else. A file named directly always counts. A file reached twice is
    listed once. Numbers in names count as numbers: 2 comes before 10. Overlays of an earlier run
    are none, be it of `score` or of a line. Masks that lie beside their images are none.

    Parameters
    ----------
    paths : sequence of Path
    output : Path, optional
        The folder of the results. It is not searched either, and no image may lie in its
        folders of overlays and maps, since their files are replaced.

    Returns
    -------
    FoundImages
        Names are relative to the folder given, with /; where two would be the same, folders'
        names are put in front until they differ. Control characters, and what is not UTF-8,
        are escaped in them.

    Raises
    ------
    InputError
        If a path does not exist, a folder cannot be read, nothing is found, or an image lies
        where results are written.
    """
    places_by_file: dict[Path, _Place] = {}
    others: Counter[str] = Counter()
    for given in paths:
        if given.is_dir():
            for real, path in _images_in(given, output, others):
                places_by_file.setdefault(real, _Place(path, given))
        elif given.exists() or given.is_symlink():
            places_by_file.setdefault(given.resolve(), _Place(given, given.parent))
        else:
            raise InputError(f'"{given}" does not exist')
    if not places_by_file:
        where = ", ".join(f"{str(p)!r}" for p in paths)
        if any(_DRAWN.fullmatch(path.name) for p in paths if p.is_dir() for path in p.iterdir()):
            raise InputError(
                f"no image in {where}, only what a line has drawn: zeroline run --keep all keeps "
                "frames as they come"
            )
        raise InputError(f"no image in {where} (files ending in {' '.join(sorted(SUFFIXES))})")
    for replaced in [(output / name).resolve() for name in ("overlays", "maps")] if output else []:
        for real, place in places_by_file.items():
            if replaced in real.parents:
                raise InputError(
                    f'image "{place.path}" lies in "{replaced}", whose files are replaced by '
                    "results: choose another --output"
                )
    places = list(places_by_file.values())
    searched = [place for place in places if place.root in paths]
    masks = masks_among([place.path for place in searched], [place.root for place in searched])
    places = [place for place in places if place.path not in masks]
    if not places:
        raise InputError(f"no image in {', '.join(f'{str(p)!r}' for p in paths)}, only masks")
    return FoundImages(
        [
            ImageFile(place.path, _printable(name))
            for place, name in zip(places, _distinct_names(places), strict=True)
        ],
        others,
        sorted(masks),
    )


def _images_in(folder: Path, output: Path | None, others: Counter[str]) -> list[tuple[Path, Path]]:
    """Return real paths and paths of the images in a folder, in order; count the other files."""
    found: dict[Path, Path] = {}
    for path in _walk(folder, {output.resolve()} if output else set()):
        if path.suffix.lower() in SUFFIXES:
            found.setdefault(path.resolve(), path)
        else:
            others[path.suffix.lower()] += 1
    return sorted(found.items(), key=lambda item: natural_order(item[1]))


def _printable(name: str) -> str:
    name = name.encode("utf-8", "backslashreplace").decode()
    return _CONTROL.sub(lambda match: f"\\x{ord(match[0]):02x}", name)


@dataclass(frozen=True)
class _Place:
    path: Path
    root: Path


def natural_order(path: Path) -> tuple[Any, ...]:
    """Return a key by which paths are sorted as people count: 2 before 10.

    Folder by folder, a folder's files and folders by their names, then by their extensions. Runs
    of digits are compared as numbers, and a name comes before a longer one that begins with it.
    Names that differ in leading zeros alone keep the order of their characters.
    """
    key = []
    for part in path.parts:
        stem, extension = Path(part).stem, Path(part).suffix
        words = [("0", int(t)) if t.isdigit() else (t, 0) for t in _NUMBERS.split(stem) if t]
        key.append((words, extension, part))
    return tuple(key)


def _walk(folder: Path, seen: set[Path]) -> Iterator[Path]:
    """Yield the files below a folder. What links lead to comes last: own names are met first.

    A folder that was seen is not entered again: a link may lead back.
    """
    links: list[Path] = []
    yield from _walk_without_links(folder, seen, links)
    for path in links:  # grows meanwhile
        if not path.is_dir():
            yield path
        elif path.resolve() not in seen:
            yield from _walk_without_links(path, seen, links)


def _walk_without_links(folder: Path, seen: set[Path], links: list[Path]) -> Iterator[Path]:
    seen.add(folder.resolve())
    try:
        entries = sorted(folder.iterdir())
    except OSError as error:
        raise InputError(f'folder "{folder}" cannot be read: {error.strerror}') from error
    for path in entries:
        if path.name.startswith(".") or _is_earlier_overlays(path) or _DRAWN.fullmatch(path.name):
            continue
        if path.is_symlink():
            links.append(path)
        elif not path.is_dir():
            yield path
        elif path.resolve() not in seen:
            yield from _walk_without_links(path, seen, links)


def _is_earlier_overlays(folder: Path) -> bool:
    """Tell whether `score` made this folder."""
    table = folder.parent / "scores.csv"
    if folder.name != "overlays" or not table.is_file():
        return False
    with table.open("rb") as file:
        return file.readline().strip() == RESULTS_HEADER.encode()


def _distinct_names(places: Sequence[_Place]) -> list[str]:
    """Names relative to each file's root, lengthened at the front where they clash."""
    names = [place.path.relative_to(place.root).as_posix() for place in places]
    whole = [place.path.absolute().parts for place in places]
    for _ in range(max(map(len, whole))):
        counts = Counter(names)
        if max(counts.values()) == 1:
            break
        for number, parts in enumerate(whole):
            if counts[names[number]] > 1:
                longer = parts[-names[number].count("/") - 2 :]
                names[number] = "/".join(part.strip("/") for part in longer)
    return names


def flat_names(names: Iterable[str], *, suffix: str) -> list[str]:
    """Return one file name for each result name: / becomes __, and all differ.

    `suffix` is appended unless the name ends in it already.
    """
    taken: set[str] = set()
    flat = []
    for name in names:
        base = name.replace("/", "__").removesuffix(suffix)
        if len((base + suffix).encode()) > _LONGEST_NAME:  # file systems allow 255 bytes
            tail = base.encode()[-_LONGEST_NAME // 2 :].decode(errors="ignore")
            base = f"{hashlib.sha256(base.encode()).hexdigest()[:12]}_{tail}"
        candidate, number = base + suffix, 2
        while candidate.casefold() in taken:
            candidate, number = f"{base}_{number}{suffix}", number + 1
        taken.add(candidate.casefold())
        flat.append(candidate)
    return flat


def unread_kind(path: Path) -> str:
    """Return why no decoder here takes a file, by its first bytes; empty where one does."""
    with path.open("rb") as file:
        return refused_kind(file, path.name)


def read_image(path: Path, *, white_level: int | None = None) -> Frame:
    """Read a file as uint8 BGR; see `zeroline.edge_app.decoding.pictures.decode`.

    Raises
    ------
    ImageError
        With the reason, if the file is empty or no file, or `decode` refuses it.
    """
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise ImageError("not a regular file")
        if status.st_size == 0:
            raise ImageError("the file is empty (0 bytes)")
        with path.open("rb") as file:
            return decode(file, name=path.name, white_level=white_level)
    except OSError as error:
        raise ImageError(f"cannot be read: {error.strerror}") from error


def first_size(files: Iterable[ImageFile]) -> tuple[int, int] | None:
    """Return height and width of the first file that can be read; None where none can."""
    for file in files:
        try:
            height, width = read_image(file.path).shape[:2]
        except ImageError:  # it is named when it is scored
            continue
        return height, width
    return None
