"""Distillation: the student's standardised token maps are drawn to the teacher's.

Three terms per depth. Smooth L1 and cosine on the standardised maps: the whole token. And the
error left after each picture's own mean token is taken away, relative to how much the teacher's
tokens vary within that picture: mutual scoring compares places of near-equal pictures, so a flat
surface with a faint mark must count as much as a street scene.
"""

from __future__ import annotations

import copy
import json
import math
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from tiny.pictures import Pictures
from tiny.student import STUDENTS
from tiny.teacher import Lesson, Teacher

CLASS_CHANNELS = 256
SIZES = ((0.0, 160), (0.3, 192), (0.92, 320))
"""Share of the course from which pictures have a side: small first, the real side at the end."""
SECOND_SIZES = ((0.0, 192), (0.86, 320))
"""The same for a course that begins with a trained student."""
PREFETCHED = 4


@dataclass(frozen=True)
class Series:
    """The first pictures of a series, in batches."""

    count: int
    side: int
    batch: int

    def stacks(self, pictures: Pictures) -> Iterator[NDArray[np.uint8]]:
        """Yield the batches."""
        for start in range(0, self.count, self.batch):
            yield _stack(pictures, range(start, start + self.batch), self.side)


MEASURED = Series(count=1024, side=192, batch=32)
"""What the teacher's channels are measured on."""
HELD_OUT = Series(count=64, side=320, batch=16)
"""What the student is measured on."""


@dataclass(frozen=True)
class Course:
    """What is trained, on what, for how long."""

    student: str = "conv"
    pictures: int = 400_000
    batch: int = 32
    learning_rate: float = 3e-3
    weight_decay: float = 0.02
    warm_up: int = 300
    average: float = 0.998
    seed: int = 0
    bfloat16: bool = False
    second: bool = False

    @property
    def steps(self) -> int:
        """Batches in the whole course."""
        return self.pictures // self.batch

    def side(self, step: int) -> int:
        """Side of the pictures of a step."""
        sizes = SECOND_SIZES if self.second else SIZES
        return next(side for start, side in reversed(sizes) if step >= start * self.steps)

    def short_numbers(self, step: int) -> bool:
        """Whether a step computes in bfloat16, where asked for; the end is always float32."""
        return self.bfloat16 and step < 0.95 * self.steps

    def rate(self, step: int) -> float:
        """Learning rate of a step: a linear rise, then half a cosine."""
        rise = min(1.0, (step + 1) / self.warm_up)
        return self.learning_rate * rise * 0.5 * (1 + math.cos(math.pi * step / self.steps))


@dataclass(frozen=True)
class Scale:
    """Mean and spread of the teacher's channels, and the main axes of its class tokens."""

    means: tuple[Tensor, ...]
    spreads: tuple[Tensor, ...]
    class_axes: Tensor
    """(teacher's D, student's D), orthonormal columns"""

    @classmethod
    def measure(cls, teacher: Teacher, pictures: Pictures) -> Scale:
        """Measure on the first pictures of a series."""
        lessons = [teacher.teach(stack) for stack in MEASURED.stacks(pictures)]
        means, spreads = [], []
        for depth in range(len(lessons[0].tokens)):
            tokens = np.concatenate([lesson.tokens[depth] for lesson in lessons])
            means.append(torch.from_numpy(tokens.mean((0, 2, 3), keepdims=True)))
            spreads.append(torch.from_numpy(tokens.std((0, 2, 3), keepdims=True)))
        classes = np.concatenate([lesson.class_tokens for lesson in lessons])
        axes = np.linalg.svd(classes, full_matrices=False)[2][:CLASS_CHANNELS].T
        return cls(tuple(means), tuple(spreads), torch.from_numpy(axes.copy()))

    def targets(self, lesson: Lesson) -> tuple[list[Tensor], Tensor]:
        """Return the standardised maps and the class tokens along the main axes."""
        maps = [
            (torch.from_numpy(tokens) - mean) / spread
            for tokens, mean, spread in zip(lesson.tokens, self.means, self.spreads, strict=True)
        ]
        return maps, torch.from_numpy(lesson.class_tokens) @ self.class_axes

    def state(self) -> dict[str, Any]:
        """Return what `Scale(**state)` takes."""
        return {"means": self.means, "spreads": self.spreads, "class_axes": self.class_axes}


@dataclass(frozen=True)
class Errors:
    """How far a student's outputs are from the teacher's, means over a batch."""

    smooth: Tensor
    """smooth L1 of standardised maps, both depths"""
    angle: Tensor
    """1 − cosine of tokens, both depths"""
    within: Tensor
    """squared error after each picture's mean token is taken away, as a share of the teacher's
    variation within the picture, both depths"""
    class_angle: Tensor
    """1 − cosine of class tokens"""

    @property
    def loss(self) -> Tensor:
        """What training lessens."""
        return self.smooth + self.angle + self.within + 0.3 * self.class_angle

    def figures(self) -> dict[str, float]:
        """Return the errors as plain numbers."""
        return {name: value.item() for name, value in vars(self).items()}


def errors_of(outputs: tuple[Tensor, ...], targets: tuple[list[Tensor], Tensor]) -> Errors:
    """Compare the student's outputs with the targets."""
    *maps, class_tokens = outputs
    wanted, wanted_class = targets
    smooth, angle, within = [], [], []
    for made, want in zip(maps, wanted, strict=True):
        smooth.append(functional.smooth_l1_loss(made, want))
        angle.append(1 - functional.cosine_similarity(made, want, dim=1).mean())
        made_rest = made - made.mean((2, 3), keepdim=True)
        want_rest = want - want.mean((2, 3), keepdim=True)
        variation = want_rest.square().mean((1, 2, 3))
        error = (made_rest - want_rest).square().mean((1, 2, 3))
        within.append((error / (variation + 0.02)).mean())
    return Errors(
        torch.stack(smooth).sum(),
        torch.stack(angle).sum(),
        torch.stack(within).sum(),
        1 - functional.cosine_similarity(class_tokens, wanted_class, dim=1).mean(),
    )


class Training:
    """A course under way; `run` goes on from the last checkpoint in ``folder``, if any.

    Parameters
    ----------
    course : Course
    teacher : Teacher
    learnt, held_out : Pictures
        What is trained on, and what only measures.
    folder : Path
        Of ``checkpoint.pt`` and ``log.jsonl``.
    begin : Path, optional
        Checkpoint of an earlier course with the same teacher, whose averaged student this course
        begins with; parts that it does not have begin as they are made.
    """

    def __init__(
        self,
        course: Course,
        teacher: Teacher,
        learnt: Pictures,
        held_out: Pictures,
        folder: Path,
        *,
        begin: Path | None = None,
    ) -> None:
        torch.manual_seed(course.seed)
        self.course, self._teacher, self._learnt = course, teacher, learnt
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self._checkpoint = folder / "checkpoint.pt"
        self._held_out = list(HELD_OUT.stacks(held_out))
        self.step, self.seconds = 0, 0.0
        saved = (
            torch.load(self._checkpoint, weights_only=True) if self._checkpoint.exists() else None
        )
        earlier = torch.load(begin, weights_only=True) if begin and not saved else None
        known = saved or earlier
        self.scale = Scale(**known["scale"]) if known else Scale.measure(teacher, learnt)
        channels = (self.scale.means[0].shape[1], self.scale.means[1].shape[1])
        student = STUDENTS[course.student](channels, self.scale.class_axes.shape[1])
        self.student = student.to(memory_format=torch.channels_last)
        if earlier:
            foreign = sorted(set(earlier["average"]) - set(self.student.state_dict()))
            if foreign:
                raise SystemExit(f'"{begin}" is of another student: {foreign[0]} has no place')
            self.student.load_state_dict(earlier["average"], strict=False)
        self.average = copy.deepcopy(self.student).eval()
        self._optimiser = torch.optim.AdamW(
            self.student.parameters(), lr=course.learning_rate, weight_decay=course.weight_decay
        )
        if saved:
            self.student.load_state_dict(saved["student"])
            self.average.load_state_dict(saved["average"])
            self._optimiser.load_state_dict(saved["optimiser"])
            self.step, self.seconds = saved["step"], saved["seconds"]

    def run(self, *, report_every: int = 500) -> None:
        """Train to the end of the course."""
        began = time.monotonic() - self.seconds
        for lesson in self._lessons():
            errors = self._learn(lesson)
            self.step += 1
            if self.step % report_every == 0 or self.step == self.course.steps:
                self.seconds = time.monotonic() - began
                self._save()
                self._report(errors)

    def measure(self) -> dict[str, float]:
        """Return the averaged student's errors on held-out pictures."""
        totals: dict[str, float] = {}
        with torch.no_grad():
            for pictures in self._held_out:
                lesson = self._teacher.teach(pictures)
                outputs = self.average(torch.from_numpy(lesson.images))
                figures = errors_of(outputs, self.scale.targets(lesson)).figures()
                for name, value in figures.items():
                    totals[name] = totals.get(name, 0) + value / len(self._held_out)
        return totals

    def _learn(self, lesson: Lesson) -> Errors:
        self.student.train()
        for group in self._optimiser.param_groups:
            group["lr"] = self.course.rate(self.step)
        with torch.autocast("cpu", torch.bfloat16, enabled=self.course.short_numbers(self.step)):
            outputs = self.student(torch.from_numpy(lesson.images))
        errors = errors_of(tuple(o.float() for o in outputs), self.scale.targets(lesson))
        self._optimiser.zero_grad(set_to_none=True)
        errors.loss.backward()
        nn.utils.clip_grad_norm_(self.student.parameters(), 1.0)
        self._optimiser.step()
        # the average forgets its start at once, then grows slow
        keep = min(self.course.average, self.step / (self.step + 10))
        with torch.no_grad():
            theirs = self.student.state_dict()
            for name, value in self.average.state_dict().items():
                if value.is_floating_point():
                    value.lerp_(theirs[name], 1 - keep)
        return errors

    def _lessons(self) -> Iterator[Lesson]:
        """Yield the remaining batches, made ahead in a thread of their own."""
        with ThreadPoolExecutor(1, thread_name_prefix="teacher") as pool:
            waiting: list[Future[Lesson]] = []
            following = self.step
            while waiting or following < self.course.steps:
                while len(waiting) < PREFETCHED and following < self.course.steps:
                    waiting.append(pool.submit(self._lesson, following))
                    following += 1
                yield waiting.pop(0).result()

    def _lesson(self, step: int) -> Lesson:
        numbers = range(step * self.course.batch, (step + 1) * self.course.batch)
        return self._teacher.teach(_stack(self._learnt, numbers, self.course.side(step)))

    def _save(self) -> None:
        partial = self._checkpoint.with_suffix(".partial")
        state = {
            "kind": self.course.student,
            "student": self.student.state_dict(),
            "average": self.average.state_dict(),
            "optimiser": self._optimiser.state_dict(),
            "scale": self.scale.state(),
            "step": self.step,
            "seconds": self.seconds,
        }
        torch.save(state, partial)
        partial.replace(self._checkpoint)

    def _report(self, errors: Errors) -> None:
        line = {
            "step": self.step,
            "of": self.course.steps,
            "minutes": round(self.seconds / 60, 1),
            "learnt": _rounded(errors.figures()),
            "held_out": _rounded(self.measure()),
        }
        text = json.dumps(line)
        print(text, flush=True)  # noqa: T201
        with (self._folder / "log.jsonl").open("a", encoding="utf-8") as log:
            log.write(text + "\n")


def _rounded(figures: dict[str, float]) -> dict[str, float]:
    return {name: round(value, 4) for name, value in figures.items()}


def _stack(pictures: Pictures, numbers: range, side: int) -> NDArray[np.uint8]:
    return np.stack([pictures.picture(number, size=side) for number in numbers])
