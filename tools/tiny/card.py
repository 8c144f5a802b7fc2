"""The figures of the model card: measured by the program's own commands, never by hand."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnxruntime
from numpy.typing import NDArray

from zeroline.runtime.network.manifest import Manifest, read_manifest

BEGIN, END = "<!-- figures, made by `ship` -->", "<!-- end of figures -->"
SIMULATED = ("--parts", "240", "--defects", "0.3", "--seed", "11")
_RSCIN = ("--rscin", "1,2,3", "--degrees", "1,3,5")
_COLUMNS = {
    "image_auroc_before_rscin": "image AUROC",
    "image_auroc": "after RsCIN",
    "pixel_auroc": "pixel AUROC",
    "aupro": "AUPRO",
    "pixel_ap": "pixel AP",
}

Row = Sequence[str]


def write_figures(
    card: Path,
    bundle: Path,
    *,
    teacher: Path,
    datasets: Sequence[Path],
    held_out: Mapping[str, float],
) -> None:
    """Measure a bundle beside its teacher and put the tables into the model card.

    Parameters
    ----------
    card : Path
        A Markdown file with the lines `BEGIN` and `END`; what stands between is replaced.
    bundle, teacher : Path
        Bundles.
    datasets : sequence of Path
        Labelled folders; the simulated line is measured as well.
    held_out : mapping
        Errors of the student on held-out pictures, by name.
    """
    bundles = {"tiny": bundle, "teacher": teacher}
    with tempfile.TemporaryDirectory() as temporary:
        line = Path(temporary) / "simulated line"
        _zeroline("sim", "--output", line, *SIMULATED)
        accuracy = {
            name: _accuracy(folder, [*datasets, line], Path(temporary))
            for name, folder in bundles.items()
        }
        kinds = {name: _by_kind(folder, line, Path(temporary)) for name, folder in bundles.items()}
        kinds["mean image"] = _auroc_by_kind(*_mean_image_scores(line))
    cost = frame_costs({name: folder / "model.onnx" for name, folder in bundles.items()})
    manifest = read_manifest(bundle)
    text = "\n\n".join(
        [
            _accuracy_table(accuracy),
            "On the simulated line by kind of defect, image AUROC before RsCIN; *mean image*: the "
            "largest difference to the mean of all frames, slightly blurred.",
            _kinds_table(kinds),
            _cost_table(cost, bundles),
            _parity_table(manifest),
            "Errors of the student's standardised maps on held-out photographs, both depths "
            "added up: " + ", ".join(f"{name} {value:.3f}" for name, value in held_out.items()),
        ]
    )
    before, rest = card.read_text(encoding="utf-8").split(BEGIN)
    after = rest.split(END)[1]
    card.write_text(f"{before}{BEGIN}\n{text}\n{END}{after}", encoding="utf-8")


def frame_costs(networks: Mapping[str, Path], *, rounds: int = 40) -> dict[str, float]:
    """Return the milliseconds of one frame on one core: medians, the networks taking turns."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    sessions: dict[str, Any] = {
        name: onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        for name, path in networks.items()
    }
    image = np.random.default_rng(0).uniform(-1, 1, (1, 3, 320, 320)).astype(np.float32)
    times: dict[str, list[float]] = {name: [] for name in networks}
    for _ in range(rounds):
        for name, session in sessions.items():
            began = time.perf_counter()
            session.run(None, {session.get_inputs()[0].name: image})
            times[name].append(time.perf_counter() - began)
    return {name: 1e3 * float(np.median(taken)) for name, taken in times.items()}


def _zeroline(*arguments: object) -> None:
    """Run a command of the program in a process of its own."""
    command = [str(Path(sys.executable).with_name("zeroline")), *map(str, arguments)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)  # noqa: S603 - our own program


def _accuracy(bundle: Path, datasets: Sequence[Path], temporary: Path) -> dict[str, Any]:
    output = temporary / f"evaluate {bundle.name}"
    _zeroline("evaluate", *datasets, "--model", bundle, "--output", output, *_RSCIN)
    figures: dict[str, Any] = json.loads((output / "metrics.json").read_text(encoding="utf-8"))
    return figures


def _by_kind(bundle: Path, line: Path, temporary: Path) -> dict[str, float]:
    output = temporary / f"score {bundle.name}"
    _zeroline(
        "score", line / "test", "--model", bundle, "--output", output, *_RSCIN, "--overlays", "none"
    )
    with (output / "scores.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    kinds = [row["image"].split("/")[0] for row in rows]
    return _auroc_by_kind(kinds, np.array([float(row["raw_score"]) for row in rows]))


def _mean_image_scores(line: Path) -> tuple[list[str], NDArray[np.float64]]:
    """Score by the plain rival: the difference to the mean image."""
    paths = sorted((line / "test").glob("*/*.png"))
    frames = np.stack([_small_grey(path) for path in paths])
    differences = np.abs(frames - frames.mean(axis=0))
    scores = [float(cv2.GaussianBlur(d, (0, 0), 2).max()) for d in differences]
    return [path.parent.name for path in paths], np.array(scores)


def _small_grey(path: Path) -> NDArray[np.float32]:
    grey = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
    if grey is None:
        raise SystemExit(f'picture "{path}" cannot be read')
    return np.asarray(cv2.resize(grey, (320, 320), interpolation=cv2.INTER_AREA), np.float32)


def _auroc_by_kind(kinds: Sequence[str], scores: NDArray[np.float64]) -> dict[str, float]:
    """Return the image AUROC of each kind of defect against the good ones, and of all."""
    names = np.array(kinds)
    good = scores[names == "good"]

    def auroc(bad: NDArray[np.float64]) -> float:
        higher = (bad[:, None] > good).mean() + (bad[:, None] == good).mean() / 2
        return float(higher)

    found = {"all": auroc(scores[names != "good"])}
    return found | {str(k): auroc(scores[names == k]) for k in np.unique(names) if k != "good"}


def _table(*rows: Row) -> str:
    head, *body = rows
    ruler = ["---"] + ["---:"] * (len(head) - 1)
    return "\n".join("| " + " | ".join(row) + " |" for row in (head, ruler, *body))


def _accuracy_table(accuracy: Mapping[str, Mapping[str, Any]]) -> str:
    sets = list(next(iter(accuracy.values())))
    rows = [
        [f"{dataset}, {name}", *(f"{accuracy[name][dataset][key]:.3f}" for key in _COLUMNS)]
        for dataset in sets
        for name in accuracy
    ]
    return _table(["", *_COLUMNS.values()], *rows)


def _kinds_table(kinds: Mapping[str, Mapping[str, float]]) -> str:
    names = list(next(iter(kinds.values())))
    rows = [[who, *(f"{found[name]:.3f}" for name in names)] for who, found in kinds.items()]
    return _table(["", *names], *rows)


def _cost_table(cost: Mapping[str, float], bundles: Mapping[str, Path]) -> str:
    rows = [
        [
            name,
            f"{cost[name]:.1f} ms",
            f"{cost[name] / cost['teacher']:.2f}",
            f"{(bundles[name] / 'model.onnx').stat().st_size / 2**20:.2f} MiB",
        ]
        for name in bundles
    ]
    return _table(["320×320, one core", "a frame", "of the teacher's", "file"], *rows)


def _parity_table(manifest: Manifest) -> str:
    figures = manifest.parity or {}
    least = "_least_cosine"
    outputs = [name.removesuffix(least) for name in figures if name.endswith(least)]
    rows = [
        [name, f"{1 - figures[name + least]:.1e}", f"{figures[f'{name}_error']:.1e}"]
        for name in outputs
    ]
    return _table(["ONNX against PyTorch", "largest 1 − cosine", "largest error, relative"], *rows)
