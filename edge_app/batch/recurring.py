"""Recurring defects for people: which images, where in them, and a picture of both."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from zeroline.edge_app.draw.sheet import MOST_SHOWN, outlined
from zeroline.edge_app.errors import ImageError
from zeroline.edge_app.images import ImageFile, read_image
from zeroline.edge_app.opencv import opencv
from zeroline.runtime.framing.view import View
from zeroline.runtime.results import described_place

_JPEG_QUALITY = 85


@dataclass(frozen=True)
class SetDefect:
    """A defect that several images share.

    Attributes
    ----------
    files : tuple of ImageFile
        Those that show it, in the order in which they were given.
    marks : array, shape (files, P), bool
        Where.
    among : tuple of ImageFile
        All images of the set.
    one_place : bool
        Whether it is one mark at one place; else it is a defect of one kind at several places.
    views : tuple of View
        Where in each file the patches lie; empty: the whole picture.
    """

    files: tuple[ImageFile, ...]
    marks: npt.NDArray[np.bool_]
    among: tuple[ImageFile, ...]
    one_place: bool
    views: tuple[View, ...] = ()

    @property
    def share(self) -> float:
        """Share of the set's images that show it."""
        return len(self.files) / len(self.among)

    def __str__(self) -> str:
        """Return one line."""
        return (
            f"recurring defect, {described_place(one_place=self.one_place)}, in "
            f"{len(self.files)} of {len(self.among)} images ({self.share:.0%}), the first: "
            f"{self.files[0].name}"
        )

    def places(self) -> list[bool]:
        """Tell for each image of the set, in order, whether it shows the defect."""
        members = set(self.files)
        return [file in members for file in self.among]


def pictures_of(defect: SetDefect, *, white_level: int | None) -> dict[str, bytes]:
    """Return JPEG files of some images, the marked patches outlined, by the images' names.

    Images that cannot be read any more are left out.
    """
    cv2 = opencv("to draw recurring defects")
    count = min(MOST_SHOWN, len(defect.files))
    chosen = np.unique(np.linspace(0, len(defect.files) - 1, count).round().astype(int))
    pictures = {}
    for place in chosen.tolist():
        file = defect.files[place]
        try:
            frame = read_image(file.path, white_level=white_level)
        except ImageError:  # `write_overlays` tells
            continue
        view = defect.views[place] if defect.views else None
        picture = outlined(cv2, frame, defect.marks[place], view)
        quality = [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY]
        pictures[file.name] = cv2.imencode(".jpg", picture, quality)[1].tobytes()
    return pictures
