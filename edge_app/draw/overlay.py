"""A picture of why: the frame, heat where it is anomalous, contour, verdict and score."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from zeroline.edge_app.draw.sizes import drawn_size
from zeroline.edge_app.opencv import opencv
from zeroline.runtime.frames import Frame
from zeroline.runtime.framing.view import View
from zeroline.runtime.results import Verdict
from zeroline.runtime.stages.maps import anomaly_map
from zeroline.runtime.stages.threshold import auto_threshold

#: Overlays are drawn with a long side in this range, so that the text can be read.
LEAST_SIDE, MOST_SIDE = 480, 1280
_STRONGEST = 0.6  # the defect must still be seen below the heat
_BAR = 34
_PALE = 110  # what is not looked at is no darker
_COLOURS = {
    "OK": (74, 120, 40), "NG": (38, 38, 190), "UNCERTAIN": (30, 130, 190), "FAULT": (120, 50, 120),
}  # fmt: skip
#: Height and width of the picture of no frame.
_NOTHING = (480, 640)


@dataclass(frozen=True)
class HeatScale:
    """One scale for a whole set, so that colours mean the same on every picture.

    Attributes
    ----------
    low, high : float
        Patch scores, in distance units, at which heat begins and is full.
    """

    low: float
    high: float

    @classmethod
    def of(cls, raw_scores: Any, *, false_alarm_rate: float) -> HeatScale:
        """Fit a scale to the image scores before RsCIN, which are the maxima of the maps.

        Heat begins half way from the median image's highest value to the threshold, so that
        most good images stay clear and near misses show.
        """
        threshold = auto_threshold(raw_scores, false_alarm_rate=false_alarm_rate)
        median = float(np.median(raw_scores))
        low = (median + threshold) / 2
        # a set without defects must not show its least good image in full heat
        return cls(
            low, max(float(np.max(raw_scores)), threshold + 2 * (threshold - median), low + 1e-6)
        )


def is_drawn(draw: str, verdict: Verdict) -> bool:
    """Tell whether a frame gets a picture: `draw` is "all", "none", or "ng" for what is not OK."""
    return draw == "all" or (draw == "ng" and verdict is not Verdict.OK)


def draw_overlay(
    frame: Frame,
    patch_scores: npt.NDArray[np.float32],
    *,
    scale: HeatScale,
    contour_at: float | None,
    verdict: str,
    score: float,
    threshold: float | None,
    recurring: bool = False,
    view: View | None = None,
) -> Frame:
    """Draw one overlay.

    Parameters
    ----------
    frame : array, shape (H, W, 3), uint8
        BGR; not written to.
    patch_scores : array, shape (P,), float32
    scale : HeatScale
    contour_at : float or None
        Patch score, in distance units, that the contour encloses; None: no contour.
    verdict : {"OK", "NG", "UNCERTAIN"}
    score : float
        Of the image, for the caption.
    threshold : float or None
        The same; None while there is none.
    recurring : bool
        Whether the image has a recurring defect, for the caption.
    view : View, optional
        Where in the frame the patches lie; all of it, when not given. What is not looked at is
        drawn paler.

    Returns
    -------
    array, uint8, BGR
        The picture, scaled to a long side of 480 to 1280 pixels, with a caption below it. A
        very long frame is widened, so that no side is thinner than 96 pixels.
    """
    cv2 = opencv("to draw overlays")
    picture = _resized(frame)
    size = (picture.shape[1], picture.shape[0])
    if view is None or view.is_whole:
        side = min(max(size), 512)
        drawn = anomaly_map(patch_scores, size=side)
        heat = cv2.resize(drawn, size, interpolation=cv2.INTER_LINEAR)
    else:
        shape = (size[1], size[0])
        heat = view.laid(patch_scores, size=shape)
        seen = view.marked(patch_scores != 0, size=shape)  # 0 where nothing is looked at
        picture[~seen] = _PALE + (1 - _PALE / 255) * picture[~seen]
    strength = np.clip((heat - scale.low) / (scale.high - scale.low), 0, 1)
    # the upper part of the colour map: yellow over orange to dark red
    shades = cv2.applyColorMap((160 + strength * 80).astype(np.uint8), cv2.COLORMAP_TURBO)
    opacity = (_STRONGEST * np.sqrt(strength))[:, :, None]
    picture = (picture * (1 - opacity) + shades * opacity).astype(np.uint8)

    over = (heat > (np.inf if contour_at is None else contour_at)).astype(np.uint8)
    outlines, _ = cv2.findContours(over, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    cv2.drawContours(picture, outlines, -1, (0, 0, 0), 4, cv2.LINE_AA)
    cv2.drawContours(picture, outlines, -1, (255, 255, 255), 2, cv2.LINE_AA)
    words = (
        f"{verdict} recurring" if recurring else verdict,
        f"score {score:.3f}",
        "" if threshold is None else f"threshold {threshold:.3f}",
    )
    return np.vstack([picture, _caption(size[0], verdict, words)])


def draw_unscored(frame: Frame | None, *, verdict: str, text: str) -> Frame:
    """Draw a frame that has no score, or the lack of one.

    Parameters
    ----------
    frame : array, shape (H, W, 3), uint8, or None
        BGR; not written to. Without one all is dark: what was there before is not shown as if it
        were there now.
    verdict : {"UNCERTAIN", "FAULT", "OK", "NG"}
    text : str
        Why, for the caption.

    Returns
    -------
    array, uint8, BGR
        A picture of the size of an overlay, with a caption below it.
    """
    picture = _resized(np.zeros((*_NOTHING, 3), np.uint8) if frame is None else frame)
    printable = text.encode("ascii", "replace").decode()
    return np.vstack([picture, _caption(picture.shape[1], verdict, (verdict, printable))])


def _resized(frame: Frame) -> Frame:
    cv2 = opencv("to draw overlays")
    height, width = frame.shape[:2]
    factor = min(max(LEAST_SIDE / max(height, width), 1.0), MOST_SIDE / max(height, width))
    method = cv2.INTER_AREA if factor < 1 else cv2.INTER_CUBIC
    size = drawn_size(height, width, factor)
    picture: Frame = cv2.resize(frame, size, interpolation=method)
    return picture


def _caption(width: int, verdict: str, words: tuple[str, ...]) -> Frame:
    """Draw a bar of the picture's width with as much text as there is room for."""
    cv2 = opencv("to draw overlays")
    bar = np.empty((_BAR, width, 3), dtype=np.uint8)
    bar[:] = _COLOURS[verdict]
    left = 10
    for text, weight in zip(words, (2, *[1] * (len(words) - 1)), strict=True):
        extent = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, 0.6, weight)[0][0]
        if left + extent > width:
            break
        cv2.putText(
            bar, text, (left, 23), cv2.FONT_HERSHEY_SIMPLEX, 0.6, (255, 255, 255), weight,
            cv2.LINE_AA,
        )  # fmt: skip
        left += extent + 18
    return bar
