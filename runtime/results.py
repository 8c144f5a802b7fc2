"""What scoring gives: verdicts with their reasons, scores of frames and of sets."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Any

from zeroline.runtime.arrays import Bools, Float32
from zeroline.runtime.recurring.codegraph import Community
from zeroline.runtime.stages.modes import TwoGroups
from zeroline.runtime.stages.regions import Region

if TYPE_CHECKING:
    from zeroline.runtime.framing.pose import FoundPose
    from zeroline.runtime.framing.view import View


class Verdict(str, Enum):
    """What is said of a part.

    Attributes
    ----------
    OK
        Nothing was found.
    NG
        Not good: a defect was found.
    UNCERTAIN
        The machine works; this part cannot be judged.
    FAULT
        The machine does not work.

    Examples
    --------
    >>> Verdict("NG") is Verdict.NG
    True
    """

    OK = "OK"
    NG = "NG"
    UNCERTAIN = "UNCERTAIN"
    FAULT = "FAULT"


class Reason(str, Enum):
    """Why a verdict is not OK: a closed list, the same in every output.

    Attributes
    ----------
    SCORE, RECURRING
        Of NG: the score lies over the threshold; the part has a known recurring defect.
    WARMING_UP, NEAR_THRESHOLD, NO_PART_FOUND, PART_NOT_WHOLE, OTHER_PRODUCT
        Of UNCERTAIN.
    NO_FRAME, DAMAGED_FRAME, FROZEN, MODEL, LATE, STATION
        Of FAULT.

    Examples
    --------
    >>> Reason.WARMING_UP.value
    'warming_up'
    """

    SCORE = "score"
    RECURRING = "recurring"
    WARMING_UP = "warming_up"
    NEAR_THRESHOLD = "near_threshold"
    NO_PART_FOUND = "no_part_found"
    PART_NOT_WHOLE = "part_not_whole"
    OTHER_PRODUCT = "other_product"
    NO_FRAME = "no_frame"
    DAMAGED_FRAME = "damaged_frame"
    FROZEN = "frozen"
    MODEL = "model"
    LATE = "late"
    STATION = "station"


@dataclass(frozen=True)
class ScoreResult:
    """Scores of a set of N images; all in distance units, higher is more anomalous.

    Attributes
    ----------
    patch_scores : array, shape (N, P), float32
        Mean over layers and degrees; rows of the g·g grid one after the other.
    raw_scores : array, shape (N,), float32
        Maximum of the map at the network's input size, before RsCIN.
    scores : array, shape (N,), float32
        After RsCIN; the raw scores where it is off.
    recurring : array, shape (N,), bool
        Images that have a recurring defect; False where that was not looked for.
    communities : tuple of Community
        The recurring defects, the clearest first (`zeroline.runtime.recurring`).
    matching : str
        The form of matching that was used; see `zeroline.runtime.matching.forms`.
    level : array, shape (P,), float32, or None
        Each place's own level, which the patch scores are less; None where it was not taken off.

    Examples
    --------
    >>> import numpy as np
    >>> tokens = Tokens((np.eye(4, dtype=np.float32)[None].repeat(3, 0),), np.eye(3))
    >>> score_tokens(tokens, size=8, degrees=(1,)).scores.shape
    (3,)
    """

    patch_scores: Any
    raw_scores: Any
    scores: Any
    recurring: Any
    communities: tuple[Community, ...] = ()
    matching: str = "exact"
    level: Any = None


@dataclass(frozen=True)
class FrameScores:
    """The scores of one frame and what they are held against; all in distance units, 0 to 2.

    Attributes
    ----------
    score, raw_score : float
        After and before RsCIN.
    threshold, pixel_threshold : float or None
        For `score`, and for the map; None while there are too few frames to make one.
    patch_scores : array, shape (P,), float32
        0 outside the region of interest.

    Examples
    --------
    >>> import numpy as np
    >>> FrameScores(0.4, 0.4, None, None, np.zeros(4, np.float32)).threshold is None
    True
    """

    score: float
    raw_score: float
    threshold: float | None
    pixel_threshold: float | None
    patch_scores: Float32 = field(compare=False, repr=False)


@dataclass(frozen=True)
class Revision:
    """A frame judged anew after later frames have come.

    Attributes
    ----------
    frame_id : int
        Number of the frame, from 0.
    part_id : str or None
        Name of its part.
    scores : FrameScores or None
        Against the window as it is now; of a frame with a recurring defect, against the frames
        without it, and without thresholds. None where nothing matches.
    verdict : Verdict
        A later look may raise a verdict to NG, and judge a frame that came while the window was
        warming up; it never clears an NG.
    reason : Reason or None
        Why it is not OK.
    first : Verdict
        The verdict before.
    recurring : bool
        Whether the frame has a recurring defect that is known.

    Examples
    --------
    >>> late = Revision(7, "a", None, Verdict.NG, Reason.RECURRING, Verdict.OK, recurring=True)
    >>> late.first.value, late.verdict.value
    ('OK', 'NG')
    """

    frame_id: int
    part_id: str | None
    scores: FrameScores | None
    verdict: Verdict
    reason: Reason | None
    first: Verdict
    recurring: bool = False


def described_place(*, one_place: bool) -> str:
    """Return in words where a recurring defect is."""
    return "one mark at one place" if one_place else "one kind at several places"


@dataclass(frozen=True)
class RecurringDefect:
    """A recurring defect: an alarm of its own, since it means that a tool is broken.

    Attributes
    ----------
    number : int
        From 1; the same defect keeps its number while a frame of the window has it.
    one_place : bool
        Whether it is one mark at one place; else it is a defect of one kind at several places.
    since : int
        The first frame known to have it.
    since_part : str or None
        The name of that frame's part.
    frames : tuple of int
        Frames of the window that have it, ascending.
    share : float
        Their share of the window's frames from the first of them on.
    marks : array, shape (frames, P), bool
        Where they have it.

    Examples
    --------
    >>> import numpy as np
    >>> print(RecurringDefect(1, True, 4, None, (4, 8), 0.25, np.zeros((2, 9), bool)))
    recurring defect 1, one mark at one place, since frame 4: 2 frames, 25% of the frames since then
    """

    number: int
    one_place: bool
    since: int
    since_part: str | None
    frames: tuple[int, ...]
    share: float
    marks: Bools = field(compare=False, repr=False)

    def __str__(self) -> str:
        """Return one line."""
        part = "" if self.since_part is None else f' (part "{self.since_part}")'
        return (
            f"recurring defect {self.number}, {described_place(one_place=self.one_place)}, "
            f"since frame {self.since}{part}: "
            f"{len(self.frames)} frames, {self.share:.0%} of the frames since then"
        )


@dataclass(frozen=True)
class Inspection:
    """A frame's verdict and what it rests on.

    Attributes
    ----------
    frame_id : int
        Number of the frame, from 0.
    part_id : str or None
        Name of the part.
    verdict : Verdict
        OK, NG, UNCERTAIN or FAULT.
    reason : Reason or None
        Why it is not OK; None for OK.
    wall_time, monotonic_time : float
        Seconds, when the frame was captured.
    scores : FrameScores or None
        None where there is no score.
    regions : tuple of Region
        Boxes round what is wrong in an NG frame, in its pixels; the worst first.
    recurring : bool
        Whether the frame has a recurring defect that is known by now.
    near_duplicate : bool
        So like a recent frame that it was scored and not admitted.
    admitted : bool
        Whether the frame is now in the window.
    compared_with : int
        Frames that it was compared with.
    other_in_a_row : int
        Frames of another product one after the other, this one included. Where the reason is not
        `OTHER_PRODUCT`, the window begins anew with this frame.
    unplaced_in_a_row : int
        Frames without a whole part one after the other, this one included.
    revisions : tuple of Revision
        Earlier frames that were judged anew now.
    alarms : tuple of RecurringDefect
        Recurring defects that were found now.
    withdrawn : tuple of RecurringDefect
        Earlier alarms that later frames do not bear out. Parts that were NG stay NG.
    two_groups : TwoGroups or None
        The scores of the window fall into two groups from now on: the threshold is then of no use.
    search_failed : str
        Why a search for recurring defects failed now; empty where none did.
    device_failed : str
        What a person has to be told of the device that failed: with the first frame of a row, and
        where the device is lost. Empty else.
    fault : str
        What is wrong, in words, where the frame could not be scored; empty else.
    view : View or None
        Where in the frame the patches lie; None where that is not known.
    pose : FoundPose or None
        Where the part lies, where it was looked for.
    latency : mapping
        Seconds by stage.

    Examples
    --------
    >>> fault = Inspection(0, None, Verdict.FAULT, Reason.NO_FRAME, 0.0, 0.0, fault="no frame")
    >>> fault.scores is None
    True
    """

    frame_id: int
    part_id: str | None
    verdict: Verdict
    reason: Reason | None
    wall_time: float
    monotonic_time: float
    scores: FrameScores | None = None
    regions: tuple[Region, ...] = ()
    recurring: bool = False
    near_duplicate: bool = False
    admitted: bool = False
    compared_with: int = 0
    other_in_a_row: int = 0
    unplaced_in_a_row: int = 0
    revisions: tuple[Revision, ...] = ()
    alarms: tuple[RecurringDefect, ...] = ()
    withdrawn: tuple[RecurringDefect, ...] = ()
    two_groups: TwoGroups | None = None
    search_failed: str = ""
    device_failed: str = ""
    fault: str = ""
    view: View | None = field(default=None, repr=False)
    pose: FoundPose | None = field(default=None, repr=False)
    latency: Mapping[str, float] = field(default_factory=dict)
