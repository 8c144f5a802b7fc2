"""Train the bundled backbone and make its bundle: ``python -m tiny --help``."""

from __future__ import annotations

import argparse
import dataclasses
import json
import tempfile
from pathlib import Path

import cv2
import numpy as np
import torch

from tiny.card import write_figures
from tiny.distil import Course, Training
from tiny.pictures import Pictures, read_photographs
from tiny.ship import SIDE, ship
from tiny.student import STUDENTS
from tiny.teacher import Teacher, as_input
from zeroline.export.wrap import InputRules, wrap_onnx
from zeroline.runtime.network.manifest import Defaults, Source

HELD_OUT = 50
"""Photographs, the last ones by name, that are never trained on."""
PARITY_PICTURES = 16


def main() -> None:
    """Read the command line; train, or make the bundle of what was trained."""
    options = _options()
    torch.set_num_threads(options.threads)
    cv2.setNumThreads(1)
    photographs = read_photographs(options.photographs)
    held_out = Pictures(photographs[-HELD_OUT:], seed=options.seed + 1)
    if options.step == "train":
        _train(options, Pictures(photographs[:-HELD_OUT], seed=options.seed), held_out)
    else:
        _ship(options, held_out)


def _train(options: argparse.Namespace, learnt: Pictures, held_out: Pictures) -> None:
    course = Course(
        student=options.student,
        pictures=options.pictures,
        seed=options.seed,
        bfloat16=options.bfloat16,
        second=options.begin is not None,
    )
    if options.learning_rate:
        course = dataclasses.replace(course, learning_rate=options.learning_rate)
    Training(
        course,
        Teacher(options.teacher),
        learnt,
        held_out,
        options.folder,
        begin=options.begin,
    ).run()


def _ship(options: argparse.Namespace, held_out: Pictures) -> None:
    """Make the bundle, and renew the figures of the model card in its folder."""
    pictures = [held_out.picture(number, size=SIDE) for number in range(PARITY_PICTURES)]
    log = (options.folder / "log.jsonl").read_text(encoding="utf-8").splitlines()
    with tempfile.TemporaryDirectory() as temporary:
        made, teacher = Path(temporary) / "tiny", Path(temporary) / "teacher"
        ship(
            options.folder / "checkpoint.pt",
            made,
            images=as_input(np.stack(pictures)),
            # RsCIN costs accuracy with these class tokens, see the model card
            defaults=Defaults(rscin=()),
            source=Source(
                architecture="convolutional student, tools/tiny/student.py",
                weights="distilled from MobileNetV2, see README.md beside it",
                licence="Apache-2.0",
            ),
        )
        wrap_onnx(
            options.teacher,
            teacher,
            rules=InputRules(size=SIDE, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5)),
        )
        options.bundle.mkdir(parents=True, exist_ok=True)
        for file in made.iterdir():
            (options.bundle / file.name).write_bytes(file.read_bytes())
        write_figures(
            options.bundle / "README.md",
            options.bundle,
            teacher=teacher,
            datasets=options.datasets,
            held_out=json.loads(log[-1])["held_out"],
        )


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tiny", description=__doc__)
    steps = parser.add_subparsers(dest="step", required=True)
    train = steps.add_parser("train", help="train; goes on from the folder's checkpoint, if any")
    train.add_argument("--student", choices=sorted(STUDENTS), default="conv")
    train.add_argument("--pictures", type=int, default=Course.pictures, help="length of the course")
    train.add_argument("--learning-rate", type=float)
    train.add_argument(
        "--begin", type=Path, help="checkpoint of an earlier course whose student this one takes on"
    )
    train.add_argument(
        "--bfloat16",
        action="store_true",
        help="short numbers but for the end; faster where the CPU has AVX-512 BF16",
    )
    bundle = steps.add_parser("ship", help="make the bundle and measure it beside the teacher")
    bundle.add_argument(
        "--bundle", type=Path, required=True, help="folder with the model card, README.md"
    )
    bundle.add_argument("datasets", type=Path, nargs="*", help="labelled folders to measure on")
    for step in (train, bundle):
        step.add_argument("--teacher", type=Path, required=True, help="ONNX file of the teacher")
        step.add_argument("--photographs", type=Path, required=True, help="folder of photographs")
        step.add_argument("--folder", type=Path, required=True, help="of checkpoint and log")
        step.add_argument("--seed", type=int, default=0)
        step.add_argument("--threads", type=int, default=1)
    return parser.parse_args()


if __name__ == "__main__":
    main()
