"""The operator's rule: answers to NG parts move the threshold (docs/algorithms.md, "Threshold").

The threshold that is used is m + f·(T − m): m is the median score, T the threshold of the rule.
"False alarm" raises f. Each part that passed since the NG part before lowers it by what the stated
rate of false alarms allows. An NG part that nobody answers restarts the count alone, so partial
answers do not bias it.
"""

from __future__ import annotations

import json
import threading
from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from math import exp, log
from pathlib import Path

from zeroline.edge_app.writing import whole_file

#: Share of an answer in ln f, and the range of f.
STEP = 0.1
RANGE = (0.6, 2.0)
#: NG parts that can still be answered.
REMEMBERED = 10_000


@dataclass
class OperatorFactor:
    """f of one camera and recipe.

    Attributes
    ----------
    factor : float
    since : int
        Parts since the last NG one.
    """

    factor: float = 1.0
    since: int = 0
    _unanswered: OrderedDict[str, int] = field(default_factory=OrderedDict)

    def passed(self, part: str, *, ng: bool) -> None:
        """Take note of a part that was judged."""
        self.since += 1
        if ng:
            self._unanswered[part] = self.since
            self.since = 0
            if len(self._unanswered) > REMEMBERED:
                self._unanswered.popitem(last=False)

    def answered(self, part: str, *, false_alarm: bool, rate: float) -> bool:
        """Take an answer to an NG part, once; tell whether f has changed.

        Parameters
        ----------
        part : str
        false_alarm : bool
            Else it is rightly NG.
        rate : float
            The stated rate of false alarms.
        """
        since = self._unanswered.pop(part, None)
        if since is None:
            return False
        moved = log(self.factor) + STEP * (float(false_alarm) - rate * since)
        before, self.factor = self.factor, min(max(exp(moved), RANGE[0]), RANGE[1])
        return self.factor != before


@dataclass(frozen=True)
class Moved:
    """A factor that an answer has changed.

    Attributes
    ----------
    camera, recipe : str
    before, after : float
    """

    camera: str
    recipe: str
    before: float
    after: float


class OperatorRule:
    """f of every camera and recipe, kept in a file over restarts.

    Parameters
    ----------
    path : Path
        A file of JSON; one that cannot be read counts as none.
    """

    def __init__(self, path: Path) -> None:
        self._path, self._lock = path, threading.Lock()
        self._factors: dict[tuple[str, str], OperatorFactor] = {}
        with suppress(OSError, ValueError, TypeError, AttributeError):
            kept = json.loads(path.read_text(encoding="utf-8"))
            for key, value in kept.items():
                camera, _, recipe = key.partition("/")
                factor = min(max(float(value), RANGE[0]), RANGE[1])
                self._factors[camera, recipe] = OperatorFactor(factor)

    def factor(self, camera: str, recipe: str) -> float:
        """Return f."""
        with self._lock:
            return self._of(camera, recipe).factor

    def passed(self, camera: str, recipe: str, part: str, *, ng: bool) -> None:
        """Take note of a part that was judged OK or NG."""
        with self._lock:
            self._of(camera, recipe).passed(part, ng=ng)

    def answered(
        self, part: str, *, false_alarm: bool, rate: Callable[[str], float]
    ) -> list[Moved]:
        """Take an answer to an NG part; return what has moved.

        Parameters
        ----------
        part : str
        false_alarm : bool
            Else it is rightly NG.
        rate : callable
            Gives the stated rate of false alarms of a recipe.
        """
        moved = []
        with self._lock:
            for (camera, recipe), one in self._factors.items():
                before = one.factor
                if one.answered(part, false_alarm=false_alarm, rate=rate(recipe)):
                    moved.append(Moved(camera, recipe, before, one.factor))
            if moved:
                self._write()
        return moved

    def reset(self) -> list[Moved]:
        """Take all answers back: f is 1 again; return what has moved."""
        with self._lock:
            moved = [Moved(*key, one.factor, 1.0) for key, one in self._factors.items()]
            for one in self._factors.values():
                one.factor = 1.0
            self._write()
        return [one for one in moved if one.before != 1]

    def _of(self, camera: str, recipe: str) -> OperatorFactor:
        return self._factors.setdefault((camera, recipe), OperatorFactor())

    def _write(self) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(self._path) as file:
            json.dump({"/".join(key): one.factor for key, one in self._factors.items()}, file)
