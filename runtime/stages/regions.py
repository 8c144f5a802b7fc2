"""Regions: boxes round what is anomalous, from patch scores to pixels of the frame."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from zeroline.runtime.arrays import Bools, Float32, Float64, to_host
from zeroline.runtime.stages.maps import anomaly_map

#: Side of the map on which regions are found: a patch of a 37×37 grid is seven pixels wide there.
MAP_SIDE = 256


@dataclass(frozen=True)
class Region:
    """A box in the frame, in pixels.

    Attributes
    ----------
    x, y : int
        Its left upper corner.
    width, height : int
        Its sides.
    score : float
        The highest value of the map inside, in distance units.

    Examples
    --------
    >>> Region(10, 20, 30, 40, score=0.7).width
    30
    """

    x: int
    y: int
    width: int
    height: int
    score: float


def regions(
    patch_scores: Any,
    /,
    *,
    above: float,
    frame_size: tuple[int, int],
    to_frame: Callable[[Float64], Float64] | None = None,
) -> tuple[Region, ...]:
    """Return boxes round the connected parts of a map that lie over a threshold.

    Parameters
    ----------
    patch_scores : array, shape (P,), float
    above : float
        The map's threshold, in distance units.
    frame_size : (int, int)
        Height and width of the frame, in pixels.
    to_frame : callable, optional
        Takes points (n, 2) of the unit square, which the map fills, to points (x, y) of the frame.
        Without it the map fills the frame.

    Returns
    -------
    tuple of Region
        The worst first; empty where nothing lies over the threshold. Parts that touch at a corner
        are one.
    """
    drawn = to_host(anomaly_map(patch_scores, size=MAP_SIDE))
    return regions_of_map(drawn, above=above, frame_size=frame_size, to_frame=to_frame)


def regions_of_map(
    drawn: Float32,
    /,
    *,
    above: float,
    frame_size: tuple[int, int],
    to_frame: Callable[[Float64], Float64] | None = None,
) -> tuple[Region, ...]:
    """Return boxes round the connected parts of a map (side, side); see `regions`."""
    height, width = frame_size
    boxes = []
    for rows, starts, stops in connected_runs(drawn > above):
        across, down = np.tile(np.concatenate([starts, stops]), 2), np.tile(rows, 2)
        corners = np.column_stack([across, np.concatenate([down, down + 1])]) / len(drawn)
        corners = corners * (width, height) if to_frame is None else to_frame(corners)
        corners = np.clip(corners, 0, (width, height))
        (left, top), (right, bottom) = corners.min(axis=0), corners.max(axis=0)
        highest = max(
            drawn[row, start:stop].max()
            for row, start, stop in zip(rows, starts, stops, strict=True)
        )
        boxes.append(
            Region(
                *(round(float(left)), round(float(top))),
                *(round(float(right - left)), round(float(bottom - top))),
                float(highest),
            )
        )
    return tuple(sorted(boxes, key=lambda region: -region.score))


def connected_runs(
    marked: Bools,
) -> list[tuple[npt.NDArray[np.intp], npt.NDArray[np.intp], npt.NDArray[np.intp]]]:
    """Return the connected parts of a mask (8 neighbours) as runs along its rows.

    Returns
    -------
    list of (rows, starts, stops)
        One for each part, in the order of its first run; a run goes from `start` to before `stop`.
    """
    padded = np.pad(marked.astype(np.int8), ((0, 0), (1, 1)))
    edges = np.diff(padded, axis=1)
    rows, starts = np.nonzero(edges == 1)
    _, stops = np.nonzero(edges == -1)
    first_of_row = np.searchsorted(rows, np.arange(len(marked) + 1))
    root = list(range(len(rows)))

    def find(run: int) -> int:
        while root[run] != run:
            root[run] = root[root[run]]
            run = root[run]
        return run

    for run, row in enumerate(rows.tolist()):
        if row:
            for above in range(first_of_row[row - 1], first_of_row[row]):
                if starts[above] <= stops[run] and starts[run] <= stops[above]:
                    first, second = sorted((find(above), find(run)))
                    root[second] = first
    labels = np.array([find(run) for run in range(len(rows))], np.intp)
    parts = [np.flatnonzero(labels == label) for label in np.unique(labels)]
    return [(rows[part], starts[part], stops[part]) for part in parts]
