"""The rolling inspector: each frame is scored when it comes, against the window of frames before.

docs/algorithms.md, "Rolling window", has the rules.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from zeroline.runtime.arrays import to_host
from zeroline.runtime.errors import ScoringError, ZerolineError
from zeroline.runtime.frames import Frame
from zeroline.runtime.line.copies import is_copy, place_distances
from zeroline.runtime.line.reference import Reference, read_reference, write_reference
from zeroline.runtime.line.tracker import DefectTracker, KnownDefect, SearchResult
from zeroline.runtime.line.window import Matches, Shape, Window
from zeroline.runtime.matching.measure import chosen_precision, scoring_arrays
from zeroline.runtime.results import Inspection, RecurringDefect, Revision, ScoreResult, Verdict
from zeroline.runtime.stages.degrees import Degrees, finest_degree
from zeroline.runtime.stages.maps import map_maximum
from zeroline.runtime.stages.rscin import rscin as rescore
from zeroline.runtime.stages.threshold import ThresholdRule
from zeroline.runtime.tokens import Tokens, joined
from zeroline.runtime.workers import WorkerPool

if TYPE_CHECKING:
    from zeroline.runtime.network.model import Bundle

Float32 = npt.NDArray[np.float32]
Bools = npt.NDArray[np.bool_]

#: Frames whose scores are looked at again with each push, in turn, for the threshold.
REFRESHED = 4
#: Frames back in which a copy is looked for.
RECENT = 8


@dataclass
class _Held:
    """A frame in the window."""

    frame_id: int
    part_id: str | None
    tokens: Tokens
    pinned: bool = False
    raw_score: float = float("nan")
    verdict: Verdict = Verdict.UNCERTAIN
    settled: bool = False
    consistent: bool = False


@dataclass
class _Clock:
    """Seconds by stage of one push."""

    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        began = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - began


class RollingInspector:
    """Scores frames as they come, against the last frames of the line.

    Parameters
    ----------
    bundle : Bundle
        From `load_bundle`; its manifest has the defaults of what is not given here.
    window : int
        W, the number of frames compared with.
    min_window : int
        Frames before the first verdict; UNCERTAIN until then.
    degrees, rscin, interval
        See `score_tokens`.
    threshold : ThresholdRule
        For the image score; on the raw scores it gives the map's threshold.
    band : float
        Scores nearer to the threshold than this are UNCERTAIN.
    exclusion : int
        Frames of the last `exclusion` pushes do not match each other: one part seen several times.
    settle : int or None
        After so many later frames a frame is scored once more; None: never.
    roi : array, shape (P,), bool, optional
        Patches that count. The others neither score nor match, and cost nothing.
    admit_copies : bool
        Let near-duplicates of recent frames into the window as well.
    codegraph : bool
        Look for recurring defects (`zeroline.runtime.line.tracker`).
    precision : str
        "fp32"; "screened", "fp16", or one of their forms (`matching.bank`); or "auto":
        the quickest by a short measurement, so that two machines, or two runs, may differ.
        `shape.precision` says which it is. With "fp16" the window lies on the CUDA device, as
        with "auto" where the network runs on one and CuPy is there.
    threads : int or None
        Worker threads; None takes all cores.

    Raises
    ------
    ScoringError
        For options out of range.

    Attributes
    ----------
    shape : Shape
        Sizes of the window.
    window : Window
        The slots, to be looked at.

    Notes
    -----
    A context manager; one inspector for each line. It may be used by one thread at a time.
    Memory is taken at the start: `memory` bytes, and W frames' tokens.
    """

    def __init__(
        self,
        bundle: Bundle,
        /,
        *,
        window: int = 64,
        min_window: int = 16,
        degrees: Degrees | None = None,
        rscin: Sequence[int] | None = None,
        interval: tuple[float, float] | None = None,
        threshold: ThresholdRule | None = None,
        band: float = 0.0,
        exclusion: int = 0,
        settle: int | None = None,
        roi: Bools | None = None,
        admit_copies: bool = False,
        codegraph: bool = True,
        precision: str = "fp32",
        threads: int | None = None,
    ) -> None:
        if not 2 <= min_window <= window:
            raise ScoringError(f"min_window is {min_window}, 2 to {window} is expected")
        if exclusion < 0 or band < 0 or (settle is not None and settle < 1):
            raise ScoringError(
                f"exclusion {exclusion}, band {band}, settle {settle}: numbers from 0 on, and "
                "for settle from 1 on, are expected"
            )
        defaults = bundle.manifest.defaults
        chosen = defaults.degrees if degrees is None else degrees
        self._roi = _checked_roi(roi, bundle.patches)
        counted = int(self._roi.sum())
        self._xp = scoring_arrays(precision, bundle.session.device)
        found = chosen_precision(precision, patches=counted, channels=bundle.channels, xp=self._xp)
        self.shape = Shape(
            window,
            bundle.patches,
            bundle.channels,
            chosen if isinstance(chosen, str) else tuple(chosen),
            found,
            counted,
        )
        self._bundle = bundle
        self._neighbours = tuple(defaults.rscin if rscin is None else rscin)
        self._rule = threshold or ThresholdRule()
        self._band, self._exclusion, self._settle = band, exclusion, settle
        self._least, self._admit_copies = min_window, admit_copies
        self._pool = WorkerPool(1 if self.shape.cuda else threads)
        self.window = Window(
            self.shape,
            self._pool,
            interval=defaults.interval if interval is None else interval,
            roi=self._roi,
            xp=self._xp,
        )
        _, blur = finest_degree(self.shape.degrees)
        self._watch = DefectTracker(self.window, roi=self._roi, blur=blur) if codegraph else None
        self._parts_of_defects: dict[int, str | None] = {}  # the first part of each
        self._held: list[_Held | None] = [None] * window
        self._order: list[int] = []  # slots, the one filled first in front
        self._turn = 0
        self._count = 0

    @property
    def memory(self) -> int:
        """Bytes of the window."""
        return self.shape.memory

    @property
    def capacity(self) -> int:
        """W, the slots of the window."""
        return self.shape.capacity

    @property
    def frame_ids(self) -> list[int]:
        """The frames in the window, the oldest first."""
        return [held.frame_id for _, held in self._in_order()]

    @property
    def recurring(self) -> tuple[RecurringDefect, ...]:
        """Recurring defects that frames of the window have."""
        known = () if self._watch is None else self._watch.known
        return tuple(self._described(one) for one in known)

    @property
    def rule(self) -> ThresholdRule:
        """How thresholds are found; may be changed while it runs."""
        return self._rule

    @rule.setter
    def rule(self, rule: ThresholdRule) -> None:
        self._rule = rule

    def push(
        self, frame: Frame, *, part_id: str | None = None, ignore: Bools | None = None
    ) -> Inspection:
        """Score a frame, and let it into the window.

        Parameters
        ----------
        frame : array, shape (H, W, 3), uint8
            BGR; sizes may differ.
        part_id : str, optional
            Frames of one part do not match each other.
        ignore : array, shape (P,), bool, optional
            Patches of this frame that nobody may match.

        Returns
        -------
        Inspection
            FAULT where the frame is none, the model fails, or gives NaN: the window is then as
            it was.
        """
        clock = _Clock()
        try:
            with clock.stage("prepare"):
                image = self._bundle.prepare(frame)[None]
            with clock.stage("network"):
                tokens = self._bundle.embed(image)
        except ZerolineError as error:
            return self.fault(str(error), part_id=part_id, _clock=clock)
        return self.push_tokens(tokens, part_id=part_id, ignore=ignore, _clock=clock)

    def push_tokens(
        self,
        tokens: Tokens,
        *,
        part_id: str | None = None,
        ignore: Bools | None = None,
        _clock: _Clock | None = None,
    ) -> Inspection:
        """Score a frame whose tokens are known; see `push`.

        Parameters
        ----------
        tokens : Tokens
            Of one frame.
        part_id, ignore
            See `push`.
        """
        clock = _clock or _Clock()
        if not tokens.finite().all():
            return self.fault(
                "the model gives NaN or inf for this frame", part_id=part_id, _clock=clock
            )
        tokens = self._placed(tokens)
        arrived = time.time(), time.monotonic()
        if ignore is not None and np.shape(ignore) != self._roi.shape:
            raise ScoringError(
                f"ignore has shape {np.shape(ignore)}, {self._roi.shape} is expected"
            )
        number = self._count
        self._count += 1
        with clock.stage("match"):
            features = self.window.features_of([layer[0] for layer in tokens.layers])
            matches = self.window.match(features, ignore=ignore, apart=self._apart(number, part_id))
        with clock.stage("score"):
            slot = self._next_slot()
            original = None if self._admit_copies else self._original(matches)
            left_out = slot if original is None else original
            patch_scores = self.window.score(matches, without=left_out)
            told = None if self._watch is None else self._watch.recognise(features, matches)
        admitted = original is None
        if admitted:
            with clock.stage("admit"):
                held = _Held(number, part_id, tokens, consistent=told is not None)
                self._take(slot, matches, held)
                if self._watch is not None and told is not None:
                    self._watch.carries(slot, *told)
        with clock.stage("verdict"):
            made = self._judged(patch_scores, tokens, slot if admitted else None, matches, left_out)
            if told is not None:
                made = self._consistent(made, slot if admitted else None)
            revisions = self._settled(number)
        with clock.stage("recurring"):
            if self._watch is not None and made.verdict is Verdict.NG and admitted and told is None:
                assert made.patch_scores is not None  # noqa: S101 - it has a verdict
                self._watch.not_good(slot, int(made.patch_scores.argmax()))
            found, alarms = self._recurring(number)
        return replace(
            made,
            frame_id=number,
            part_id=part_id,
            near_duplicate=original is not None,
            admitted=admitted,
            revisions=revisions + found,
            alarms=alarms,
            wall_time=arrived[0],
            monotonic_time=arrived[1],
            latency=clock.seconds,
        )

    def fault(
        self, reason: str, *, part_id: str | None = None, _clock: _Clock | None = None
    ) -> Inspection:
        """Give a frame that never came, or cannot be scored, its number and its verdict.

        Parameters
        ----------
        reason : str
            Why there is no score.
        part_id : str, optional
        """
        number = self._count
        self._count += 1
        return Inspection(
            number,
            part_id,
            Verdict.FAULT,
            fault=reason,
            wall_time=time.time(),
            monotonic_time=time.monotonic(),
            latency=(_clock or _Clock()).seconds,
        )

    def scores(self) -> tuple[list[int], ScoreResult]:
        """Score all frames of the window anew, each against all others.

        Returns
        -------
        frame_ids : list of int
            The oldest first.
        ScoreResult
            As `score_images` on exactly these frames; patches outside the region of interest
            are 0 and do not count.

        Raises
        ------
        ScoringError
            If the window holds fewer than two frames that match.
        """
        held = self._in_order()
        rows = [self.window.patch_scores(slot) for slot, _ in held]
        if len(rows) < 2 or any(row is None for row in rows):
            raise ScoringError(f"{len(rows)} frame(s) in the window: mutual scoring needs 2")
        patch_scores = np.stack([row for row in rows if row is not None])
        raw = map_maximum(patch_scores, size=self._bundle.size)
        for (_, frame), score in zip(held, raw, strict=True):
            frame.raw_score = float(score)
        scores = self._rescored(raw, [frame for _, frame in held])
        return [frame.frame_id for _, frame in held], ScoreResult(
            patch_scores, raw, scores, np.zeros(len(raw), bool)
        )

    def save_reference(self, path: Path) -> int:
        """Write the frames of the window to a file, as known-good parts for another start.

        Returns
        -------
        int
            How many frames it holds.

        Raises
        ------
        ScoringError
            If the window is empty.
        """
        held = [frame for _, frame in self._in_order()]
        if not held:
            raise ScoringError("the window is empty, there is nothing to save")
        tokens = joined(_on_host(frame.tokens) for frame in held)
        write_reference(path, Reference(tokens, self._bundle.manifest.name, self._network()))
        return len(held)

    def load_reference(self, path: Path, *, pinned: bool = True) -> int:
        """Fill the window from a file.

        Parameters
        ----------
        path : Path
        pinned : bool
            Keep these frames; else they leave as others do.

        Returns
        -------
        int
            How many frames were taken: the newest, where there are more than fit.

        Raises
        ------
        ReferenceFileError
            If the file is damaged, of another version, or of another bundle.
        ScoringError
            If pinned frames would leave no slot for the line.
        """
        reference = read_reference(path, network=self._network())
        count = len(reference.tokens)
        room = self.shape.capacity - sum(h.pinned for _, h in self._in_order())
        if pinned and count >= room:
            raise ScoringError(
                f'reference "{path}" holds {count} frames, {room - 1} can be pinned in a window '
                f"of {self.shape.capacity}"
            )
        for number in range(max(0, count - self.shape.capacity), count):
            tokens = self._placed(reference.tokens.select(slice(number, number + 1)))
            features = self.window.features_of([layer[0] for layer in tokens.layers])
            matches = self.window.match(features)
            self._take(self._next_slot(), matches, _Held(-1, None, tokens, pinned, settled=True))
        return min(count, self.shape.capacity)

    def close(self) -> None:
        """End the threads; more than once does no harm."""
        if self._watch is not None:
            self._watch.close()
        self._pool.close()

    def __enter__(self) -> RollingInspector:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _placed(self, tokens: Tokens) -> Tokens:
        """Return tokens where they are needed: layers beside the window, class tokens here."""
        if self._xp is np:
            return _on_host(tokens)
        layers = tuple(self._xp.asarray(layer, dtype=np.float32) for layer in tokens.layers)
        return Tokens(layers, to_host(tokens.class_tokens))

    def _network(self) -> str:
        manifest = self._bundle.manifest
        return manifest.files[manifest.model]

    def _in_order(self) -> list[tuple[int, _Held]]:
        return [(slot, held) for slot in self._order if (held := self._held[slot]) is not None]

    def _apart(self, number: int, part_id: str | None) -> Bools:
        """Tell which slots hold the same part."""
        apart = np.zeros(self.shape.capacity, bool)
        for slot, held in self._in_order():
            near = held.frame_id >= 0 and number - held.frame_id <= self._exclusion
            apart[slot] = near or (part_id is not None and held.part_id == part_id)
        return apart

    def _next_slot(self) -> int:
        """Return the slot that the next frame takes: an empty one, or that of the oldest."""
        if len(self._order) < self.shape.capacity:
            return next(slot for slot, held in enumerate(self._held) if held is None)
        return next(slot for slot, held in self._in_order() if not held.pinned)

    def _take(self, slot: int, matches: Matches, held: _Held) -> None:
        if slot in self._order:
            self._order.remove(slot)
        self.window.admit(slot, matches)
        self._held[slot] = held
        self._order.append(slot)
        if self._watch is not None:
            self._watch.entered(slot, held.frame_id, reference=held.frame_id < 0)

    def _original(self, matches: Matches) -> int | None:
        """Return the slot of the recent frame that this one is a copy of."""
        recent = [slot for slot in self._order[::-1] if self.window.filled[slot]][:RECENT]
        if not recent:
            return None
        theirs = [self.window.features_in(slot) for slot in recent]
        distances = place_distances(matches.features, theirs)
        nearest = int(np.argmin(distances))
        others = self.window.score(matches, without=recent[nearest])
        typical = None if others is None else float(np.median(others[self._roi]))
        return recent[nearest] if is_copy(float(distances[nearest]), typical) else None

    def _judged(
        self,
        patch_scores: Float32 | None,
        tokens: Tokens,
        slot: int | None,
        matches: Matches,
        left_out: int,
    ) -> Inspection:
        """Return scores, thresholds and verdict of the frame that was just scored."""
        compared = to_host(self._xp.isfinite(matches.to_slots[0]).any(axis=1))
        compared[left_out] = False
        fill = int(compared.sum())
        if patch_scores is None:
            return Inspection(0, None, Verdict.UNCERTAIN, fill=fill)
        raw = float(map_maximum(patch_scores[None], size=self._bundle.size)[0])
        if slot is not None:
            held = self._held[slot]
            assert held is not None  # noqa: S101 - it was just taken
            held.raw_score = raw
        self._refresh()
        score = self._rescored_one(raw, tokens, slot)
        frames = [held for _, held in self._in_order() if np.isfinite(held.raw_score)]
        if self._rule.calibrated:
            frames = [held for held in frames if held.frame_id < 0]
        if len(frames) < 2 or fill + 1 < self._least:
            made = Inspection(0, None, Verdict.UNCERTAIN, raw, score, fill=fill)
            return replace(made, patch_scores=patch_scores)
        frames = _usual(frames)
        raws = np.array([held.raw_score for held in frames], np.float32)
        sizes = {"fill": len(self._order), "capacity": self.shape.capacity}
        pixel = self._rule.value(raws.tolist(), **sizes)
        threshold = self._rule.value(self._rescored(raws, frames).tolist(), **sizes)
        verdict = Verdict.NG if score > threshold else Verdict.OK
        if abs(score - threshold) < self._band:
            verdict = Verdict.UNCERTAIN
        if slot is not None and (held := self._held[slot]) is not None:
            held.verdict = verdict
        return Inspection(0, None, verdict, raw, score, threshold, pixel, patch_scores, fill=fill)

    def _refresh(self) -> None:
        """Score some frames of the window anew, in turn; all of them while they are few."""
        held = self._in_order()
        few = len(held) <= self._least
        for step in range(len(held) if few else REFRESHED):
            self._score_held(held[step if few else (self._turn + step) % len(held)][0])
        self._turn += REFRESHED

    def _score_held(self, slot: int) -> Float32 | None:
        """Score a frame of the window anew."""
        held, row = self._held[slot], self.window.patch_scores(slot)
        if held is None or row is None:
            return None
        held.raw_score = float(map_maximum(row[None], size=self._bundle.size)[0])
        return row

    def _rescored(self, raw: Any, frames: Sequence[_Held]) -> Float32:
        """Return scores after RsCIN of frames in the window."""
        if not self._neighbours:
            return np.asarray(raw, np.float32)
        tokens = np.concatenate([frame.tokens.class_tokens for frame in frames])
        found = rescore(
            np.asarray(raw, np.float32), tokens, neighbours=self._neighbours, normalise=False
        )
        return np.asarray(found, np.float32)

    def _rescored_one(self, raw: float, tokens: Tokens, slot: int | None) -> float:
        """Return one frame's score after RsCIN; its neighbours are scored anew first."""
        held = [(s, frame) for s, frame in self._in_order() if s != slot]
        most = max(self._neighbours, default=1) - 1
        if most < 1 or not held:
            return raw
        theirs = np.concatenate([frame.tokens.class_tokens for _, frame in held])
        nearest = np.argsort(-(theirs @ tokens.class_tokens[0]), kind="stable")[:most]
        chosen = [held[place] for place in nearest]
        for neighbour, _ in chosen:
            self._score_held(neighbour)
        known = [frame for _, frame in chosen if np.isfinite(frame.raw_score)]
        both = [_Held(-1, None, tokens), *known]
        return float(self._rescored([raw, *(frame.raw_score for frame in known)], both)[0])

    def _consistent(self, made: Inspection, slot: int | None) -> Inspection:
        """Return the verdict on a frame that has a known recurring defect: NG at any score."""
        if slot is not None and (held := self._held[slot]) is not None:
            held.verdict = Verdict.NG
        return replace(made, verdict=Verdict.NG, consistent=True)

    def _recurring(self, number: int) -> tuple[tuple[Revision, ...], tuple[RecurringDefect, ...]]:
        """Take what the watch has found: frames that are NG after all, and new defects."""
        revisions: list[Revision] = []
        alarms = []
        for found in [] if self._watch is None else self._watch.step(number):
            revisions += self._revised(found)
            if found.new:
                first = next(h for _, h in self._in_order() if h.frame_id == found.known.since)
                self._parts_of_defects[found.known.number] = first.part_id
                alarms.append(self._described(found.known))
        return tuple(revisions), tuple(alarms)

    def _revised(self, found: SearchResult) -> list[Revision]:
        """Score frames without those that share their defect, and call them NG."""
        twins = tuple(found.known.carriers)
        held = {slot: frame for slot in found.slots if (frame := self._held[slot]) is not None}
        for slot, frame in held.items():
            frame.consistent = True
            row = self.window.patch_scores(slot, without=twins)
            if row is not None:
                frame.raw_score = float(map_maximum(row[None], size=self._bundle.size)[0])
        everyone = [frame for _, frame in self._in_order() if np.isfinite(frame.raw_score)]
        scores = self._rescored(np.array([frame.raw_score for frame in everyone]), everyone)
        score_of = {id(frame): float(score) for frame, score in zip(everyone, scores, strict=True)}
        revisions = []
        for frame in held.values():
            score = score_of.get(id(frame), frame.raw_score)
            revisions.append(
                Revision(
                    frame.frame_id,
                    frame.part_id,
                    frame.raw_score,
                    score,
                    Verdict.NG,
                    first=frame.verdict,
                    consistent=True,
                )
            )
            frame.verdict = Verdict.NG
        return sorted(revisions, key=lambda revision: revision.frame_id)

    def _described(self, known: KnownDefect) -> RecurringDefect:
        carriers = {
            held.frame_id: known.carriers[slot]
            for slot, held in self._in_order()
            if slot in known.carriers
        }
        frames = tuple(sorted(carriers))
        since = sum(held.frame_id >= frames[0] for _, held in self._in_order())
        return RecurringDefect(
            known.number,
            known.since,
            self._parts_of_defects[known.number],
            frames,
            len(frames) / since,
            np.stack([carriers[frame].marks for frame in frames]),
        )

    def _settled(self, number: int) -> tuple[Revision, ...]:
        """Score frames once more that have waited long enough."""
        if self._settle is None:
            return ()
        due = [
            (slot, held)
            for slot, held in self._in_order()
            if not held.settled and number - held.frame_id >= self._settle
        ]
        revisions = []
        for slot, held in due:
            held.settled = True
            if self._score_held(slot) is None:
                continue
            frames = [frame for _, frame in self._in_order() if np.isfinite(frame.raw_score)]
            raws = np.array([frame.raw_score for frame in frames], np.float32)
            scores = self._rescored(raws, frames)
            score = float(scores[next(i for i, f in enumerate(frames) if f is held)])
            usual = {id(frame) for frame in _usual(frames)}
            threshold = self._rule.value(
                [float(s) for s, f in zip(scores, frames, strict=True) if id(f) in usual],
                fill=len(self._order),
                capacity=self.shape.capacity,
            )
            first = held.verdict
            held.verdict = Verdict.NG if score > threshold else first
            revisions.append(
                Revision(held.frame_id, held.part_id, held.raw_score, score, held.verdict, first)
            )
        return tuple(revisions)


def _usual(frames: list[_Held]) -> list[_Held]:
    """Return the frames that tell what good ones score: not those with a recurring defect."""
    usual = [frame for frame in frames if not frame.consistent]
    return usual if len(usual) >= 2 else frames


def _checked_roi(roi: Bools | None, patches: int) -> Bools:
    """Return the region of interest, all patches where none is given."""
    if roi is None:
        return np.ones(patches, bool)
    roi = np.asarray(roi, bool).reshape(-1)
    if roi.shape != (patches,) or not roi.any():
        raise ScoringError(
            f"roi has {roi.size} patches, {int(roi.sum())} of them set: {patches}, "
            "with at least 1 set, are expected"
        )
    return roi


def _on_host(tokens: Tokens) -> Tokens:
    return Tokens(tuple(to_host(layer) for layer in tokens.layers), to_host(tokens.class_tokens))
