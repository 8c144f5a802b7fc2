"""Train `tiny`: ``python -m zeroline.export.tiny --help``."""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path

import cv2
import torch

from zeroline.export.tiny.distil import Course, Training
from zeroline.export.tiny.pictures import Pictures, read_photographs
from zeroline.export.tiny.student import STUDENTS
from zeroline.export.tiny.teacher import Teacher

HELD_OUT = 50
"""Photographs, the last ones by name, that are never trained on."""


def main() -> None:
    """Read the command line and train."""
    options = _options()
    torch.set_num_threads(options.threads)
    cv2.setNumThreads(1)
    photographs = read_photographs(options.photographs)
    course = Course(
        student=options.student,
        pictures=options.pictures,
        seed=options.seed,
        bfloat16=options.bfloat16,
    )
    if options.learning_rate:
        course = dataclasses.replace(course, learning_rate=options.learning_rate)
    training = Training(
        course,
        Teacher(options.teacher),
        Pictures(photographs[:-HELD_OUT], seed=options.seed),
        Pictures(photographs[-HELD_OUT:], seed=options.seed + 1),
        options.folder,
    )
    training.run()


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m zeroline.export.tiny", description=__doc__)
    parser.add_argument("--teacher", type=Path, required=True, help="ONNX file of the teacher")
    parser.add_argument(
        "--photographs", type=Path, required=True, help="folder of training photographs"
    )
    parser.add_argument(
        "--folder", type=Path, required=True, help="for checkpoint and log; goes on from there"
    )
    parser.add_argument("--student", choices=sorted(STUDENTS), default="conv")
    parser.add_argument(
        "--pictures", type=int, default=Course.pictures, help="length of the course"
    )
    parser.add_argument("--learning-rate", type=float)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--bfloat16",
        action="store_true",
        help="short numbers but for the end; faster where the CPU has AVX-512 BF16",
    )
    parser.add_argument("--threads", type=int, default=1)
    return parser.parse_args()


if __name__ == "__main__":
    main()
