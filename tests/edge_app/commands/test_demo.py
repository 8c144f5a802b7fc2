"""``zeroline demo``: the first thing that a new user sees."""

import csv
import re
import subprocess
import sys

import numpy as np
import pytest
from click.testing import CliRunner

from support.messages import part_of
from zeroline.edge_app.captured import Captured
from zeroline.edge_app.cli import main
from zeroline.edge_app.commands.demo import DemoTable
from zeroline.edge_app.messages import Kind, Message
from zeroline.edge_app.parts import CameraView
from zeroline.edge_app.sim.line import SimulatedLine
from zeroline.edge_app.sim.settings import LineSettings
from zeroline.runtime.results import FrameScores, Inspection, Reason, Verdict


def demo(folder, *arguments):
    return CliRunner().invoke(main, ["demo", "--output", str(folder), *map(str, arguments)])


@pytest.fixture(scope="module")
def two_runs(tmp_path_factory):
    folders = [tmp_path_factory.mktemp("demo") / "out" for _ in range(2)]
    runs = [demo(folder, "--parts", 48, "--defects", 0.25, "--seed", 1) for folder in folders]
    for run in runs:
        assert run.exit_code == 0, run.output
    return folders, [run.output for run in runs]


def table(folder):
    with (folder / "scores.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def last_words(text):
    """The last line on each part, in words: part, verdict, score, threshold, truth, note."""
    lines = [line.split() for line in text.splitlines() if re.match(r"\d{5} ", line)]
    return [line for _, line in sorted({line[0]: line for line in lines}.items())]


def test_the_first_parts_are_judged_later(two_runs):
    _, (text, _) = two_runs
    lines = [line.split() for line in text.splitlines() if re.match(r"\d{5} ", line)]
    assert [line[1] for line in lines[:15]] == ["UNCERTAIN"] * 15
    assert [line[0] for line in lines if line[-1] == "later"][:3] == ["00000", "00001", "00002"]


def test_every_part_has_a_line_with_verdict_score_and_truth(two_runs):
    (folder, _), (text, _) = two_runs
    lines = last_words(text)
    assert [line[0] for line in lines] == [f"{n:05d}" for n in range(48)]
    rows = table(folder)
    for line, row in zip(lines, rows, strict=True):
        assert f"{line[0]}.png" == row["image"]
        assert line[1] == row["verdict"]
        assert float(line[2]) == pytest.approx(float(row["score"]), abs=6e-4)
    assert any(line[4] != "good" for line in lines)


def test_the_confusion_table_adds_up(two_runs):
    _, (text, _) = two_runs
    lines = last_words(text)
    counts = {(bad, verdict): 0 for bad in (False, True) for verdict in ("OK", "NG")}
    for line in lines:
        counts[line[4] != "good", line[1]] += 1
        wrong = (line[4] != "good") != (line[1] == "NG")
        assert (len(line) > 5 and line[5] != "later") == wrong, line
    good = re.search(r"^good +(\d+) +(\d+)$", text, re.M)
    bad = re.search(r"^defective +(\d+) +(\d+)$", text, re.M)
    assert good is not None
    assert bad is not None
    assert [int(n) for n in good.groups()] == [counts[False, "OK"], counts[False, "NG"]]
    assert [int(n) for n in bad.groups()] == [counts[True, "OK"], counts[True, "NG"]]
    assert counts[True, "NG"] >= 0.8 * (counts[True, "NG"] + counts[True, "OK"])
    assert counts[False, "OK"] >= 0.8 * (counts[False, "NG"] + counts[False, "OK"])


def test_the_same_seed_gives_the_same_frames_scores_and_verdicts(two_runs):
    (first, again), texts = two_runs
    for name in ["scores.csv", "frames/truth.csv", *(f"frames/{n:05d}.png" for n in range(48))]:
        assert (first / name).read_bytes() == (again / name).read_bytes(), name
    same = [
        re.sub(r"[0-9.]+ frames/s", "", text.replace(str(folder), ""))
        for text, folder in zip(texts, (first, again), strict=True)
    ]
    assert same[0] == same[1]


def test_it_leaves_overlays_and_a_report(two_runs):
    (folder, _), (text, _) = two_runs
    overlays = sorted(path.name for path in (folder / "overlays").iterdir())
    assert overlays == [f"{n:05d}.png" for n in range(48)]
    report = (folder / "report.html").read_text(encoding="utf-8")
    assert "simulated line, seed 1" in report
    assert "thresholds of the parts, lowest and highest" in report
    assert "of the subsets" not in report
    assert str(folder / "report.html") in text.replace("\n", "")


def test_a_second_run_replaces_the_first(two_runs, tmp_path):
    first = demo(tmp_path, "--parts", 12)
    second = demo(tmp_path, "--parts", 10)
    assert (first.exit_code, second.exit_code) == (0, 0)
    for kind in ("frames", "overlays"):
        assert len(list((tmp_path / kind).glob("*.png"))) == 10
    truth = (tmp_path / "frames" / "truth.csv").read_text().splitlines()
    assert truth[0] == "image,kind"
    assert len(truth) == 11


def test_pictures_that_are_not_the_demos_are_left_alone(tmp_path):
    frames = tmp_path / "frames"
    frames.mkdir()
    (frames / "truth.csv").write_text("filename,label\n00003.png,x\n")
    (frames / "00003.png").write_bytes(b"mine")
    for name in ("truth.csv", "00003.png"):
        done = demo(tmp_path, "--parts", 12)
        assert done.exit_code == 1
        assert f'{name}" is not of an earlier demo: choose another --output' in done.output
        assert (frames / "00003.png").read_bytes() == b"mine"
        (frames / "truth.csv").unlink(missing_ok=True)


def test_the_report_is_told_why_a_part_is_ng(tmp_path):
    """A part with a known defect was NG under its threshold, and the report gave no reason."""
    line = SimulatedLine(LineSettings(parts=10))
    scores = FrameScores(0.2, 0.2, 0.3, 0.3, np.zeros(4, np.float32))
    judged = DemoTable(line, tmp_path)
    for part, reason in enumerate((Reason.RECURRING, Reason.SCORE)):
        recurring = reason is Reason.RECURRING
        inspection = Inspection(
            part, None, Verdict.NG, reason, 0.0, 0.0, scores, recurring=recurring
        )
        view = CameraView("camera", "default", "0", Captured(None, str(part)), inspection)
        judged.take(Message(part, Kind.PART, {}, part=part_of(view)))
    assert [(r.reason, r.recurring) for r in judged.results()] == [
        (Reason.RECURRING, True), (Reason.SCORE, False),
    ]  # fmt: skip


@pytest.mark.parametrize("wrong", ["nan", "2", "-1", "x"])
def test_a_wrong_share_is_told_in_one_line(tmp_path, wrong):
    done = demo(tmp_path, "--defects", wrong)
    assert done.exit_code == 2
    assert len(done.output.splitlines()) == 1


def test_it_ends_when_its_reader_goes(tmp_path):
    process = subprocess.Popen(
        [sys.executable, "-m", "zeroline.edge_app", "demo", "--parts", "1000", "--output", tmp_path,
         "--threads", "1"],
        stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    for _ in range(3):
        process.stdout.readline()
    process.stdout.close()
    assert process.wait(30) == 1
    assert len(list((tmp_path / "frames").glob("*.png"))) < 100
