"""Recurring defects in what a user sees: the command's line, the table, the report."""

import csv
import json

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from zeroline.edge_app.batch.recurring import SetDefect, pictures_of
from zeroline.edge_app.cli import main
from zeroline.edge_app.draw.sheet import MOST_SHOWN, outlined, sheet
from zeroline.edge_app.images import ImageFile
from zeroline.edge_app.opencv import opencv


@pytest.fixture
def marked_folder(tmp_path, paint):
    """Fifty parts; a stuck tool has marked every third, from the twentieth on."""
    folder = tmp_path / "parts"
    folder.mkdir()
    for number in range(50):
        frame = paint(number)
        if number >= 20 and number % 3 == 0:
            frame[40:52, 60:72] = np.random.default_rng(number).integers(225, 255)
        Image.fromarray(frame[:, :, ::-1]).save(folder / f"{number:02d}.png")
    return folder


def run(folder, output, *options):
    command = ["score", str(folder), "--model", "tiny", "--degrees", "fused", "--output"]
    done = CliRunner().invoke(main, [*command, str(output), *options])
    assert done.exit_code == 0, done.output
    with (output / "scores.csv").open(newline="") as file:
        return done.stdout, list(csv.DictReader(file))


def test_marked_parts_are_ng_and_shown(marked_folder, tmp_path):
    text, rows = run(marked_folder, tmp_path / "o")
    marked = [f"{n:02d}.png" for n in range(21, 50, 3)]
    assert [row["image"] for row in rows if row["recurring"] == "true"] == marked
    assert all(row["verdict"] == "NG" for row in rows if row["recurring"] == "true")
    assert (
        "recurring defect, one mark at one place, in 10 of 50 images (20%), the first: 21.png"
        in text
    )
    report = (tmp_path / "o" / "report.html").read_text()
    assert "Recurring defect: 10 of 50 images (20 %)" in report
    assert "from 21.png to 48.png" in report
    assert report.count('alt="recurring defect, ') == 8
    assert report.count('width="0.8"') == 10  # one stroke for each of them
    assert "looked for" in report


def test_who_does_not_want_it_gets_none(marked_folder, tmp_path):
    text, rows = run(marked_folder, tmp_path / "o", "--no-codegraph")
    assert {row["recurring"] for row in rows} == {"false"}
    assert "recurring" not in text
    report = (tmp_path / "o" / "report.html").read_text()
    assert "Recurring defect:" not in report
    assert "not looked for" in report


def test_some_of_many_are_shown_with_their_marks(marked_folder):
    files = tuple(ImageFile(path, path.name) for path in sorted(marked_folder.glob("*.png")))
    marks = np.zeros((20, 100), bool)
    marks[:, 44] = True
    defect = SetDefect(files[:20], marks, files, one_place=True)
    assert defect.share == pytest.approx(20 / 50)
    assert defect.places() == [True] * 20 + [False] * 30
    shown = pictures_of(defect, white_level=None)
    assert len(shown) == MOST_SHOWN
    assert next(iter(shown)) == "00.png"
    assert list(shown)[-1] == "19.png"
    frame = np.full((200, 100, 3), 90, np.uint8)
    picture = outlined(opencv("to test"), frame, marks[0])
    assert picture.shape == (320, 160, 3)
    red = np.argwhere(picture[:, :, 2] > 150)
    top, left = red.min(axis=0)
    bottom, right = red.max(axis=0)
    assert abs(top - 128) <= 2  # the fifth of ten rows, and its end
    assert abs(bottom - 160) <= 2
    assert abs(left - 64) <= 2
    assert abs(right - 80) <= 2


def test_a_line_tells_of_a_stuck_tool(marked_folder, tmp_path):
    done = CliRunner().invoke(
        main,
        ["run", "--source", str(marked_folder), "--degrees", "fused", "--rscin", "off",
         "--overlays", str(tmp_path / "o")],
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    (alarm,) = [line for line in lines if "alarm" in line]
    assert alarm["alarm"] == "recurring defect"
    assert (alarm["defect"], alarm["since"]) == (1, 21)
    marked = set(range(21, 50, 3))
    assert set(alarm["frames"]) <= marked
    assert (
        'ALARM: recurring defect 1, one mark at one place, since frame 21 (part "21.png"): '
        in done.stderr
    )
    frames = {line["frame"]: line for line in lines if "frame" in line}
    recognised = {number for number, line in frames.items() if line["recurring"]}
    assert set(alarm["frames"]) | recognised == marked
    assert set(alarm["frames"]) == {
        line["revision_of"] for line in lines if "revision_of" in line and line["recurring"]
    }
    assert all(frames[number]["verdict"] == "NG" for number in recognised)
    assert frames[30]["recurring"] == (30 in recognised)
    (picture,) = (tmp_path / "o").glob("*-recurring-*.png")
    assert picture.name == f"{lines[0]['run_id']}-camera-recurring-1-since-00000021.png"
    place = lines.index(alarm)
    assert "frame" in lines[place - 1]  # told with the frame that brought it


def test_a_sheet_shows_frames_side_by_side():
    cv2 = opencv("to test")
    frame = np.full((120, 160, 3), 90, np.uint8)
    marks = np.zeros(100, bool)
    marks[44] = True
    shown = [(f"frame {number}", frame, marks, None) for number in range(11)]
    one, two = (sheet(cv2, some, title="recurring defect") for some in (shown[:4], shown))
    assert one.shape == (40 + 350, 4 * 326 - 6, 3)
    assert two.shape == (40 + 2 * 350, 4 * 326 - 6, 3)
    red = (two[:, :, 2] > 150) & (two[:, :, 1] < 100)
    for top in (40, 390):
        for left in range(0, 4 * 326, 326):
            assert red[top : top + 320, left : left + 320].any()
