"""A picture counts once, in `score` and `evaluate`."""

import csv
import json

import cv2
import numpy as np
import pytest
from click.testing import CliRunner

from zeroline.edge_app.batch.copies import score_with_copies
from zeroline.edge_app.cli import main
from zeroline.edge_app.sim.line import SimulatedLine
from zeroline.edge_app.sim.settings import LineSettings
from zeroline.runtime import Tokens
from zeroline.runtime.stages.maps import map_maximum

GOOD = 20


@pytest.fixture(scope="module")
def parts():
    """Good plates of one line, and another plate with a defect."""
    line = SimulatedLine(LineSettings(seed=3, parts=GOOD, defects=0.0))
    struck = SimulatedLine(LineSettings(seed=3, parts=GOOD + 1, defects=1.0, strength=2.0))
    return [line.part(n).image for n in range(GOOD)], struck.part(GOOD).image


def write(folder, pictures):
    for name, picture in pictures.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        assert cv2.imwrite(str(folder / name), picture)


def score(folder, *options):
    """Return the rows of the table by image, and what was printed."""
    output = folder.with_name(f"{folder.name}-results")
    arguments = ["score", str(folder), "--output", str(output), "--draw", "none", *options]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 0, result.output
    with (output / "scores.csv").open() as file:
        return {row["image"]: row for row in csv.DictReader(file)}, result.output


def numbers(rows, names):
    return [[rows[n][key] for key in ("score", "raw_score", "threshold")] for n in names]


@pytest.mark.parametrize("rscin", ["off", "1,2,3"])
def test_copies_change_no_score(tmp_path, parts, rscin):
    good, bad = parts
    pictures = {f"{n:03}.png": picture for n, picture in enumerate(good)} | {"bad.png": bad}
    write(tmp_path / "alone", pictures)
    again = {"copy.bmp": bad, "copy.tif": bad, "third/copy.png": bad}
    write(tmp_path / "more", pictures | again)
    alone, _ = score(tmp_path / "alone", "--rscin", rscin)
    more, told = score(tmp_path / "more", "--rscin", rscin)
    assert alone["bad.png"]["verdict"] == "NG"
    assert numbers(more, alone) == numbers(alone, alone)
    assert [more[n]["copy_of"] for n in (*again, "000.png")] == ["bad.png"] * 3 + [""]
    assert numbers(more, again) == numbers(alone, ["bad.png"] * 3)
    assert {more[n]["verdict"] for n in again} == {"NG"}
    assert "3 files show the picture of another file" in told
    assert "bad.png = copy.bmp = copy.tif = third/copy.png" in told
    assert "3 left out as a copy" in told
    report = (tmp_path / "more-results/report.html").read_text()
    assert "copy of bad.png" in report


def test_a_near_copy_is_compared_with_all_but_its_own(tmp_path, parts):
    good, bad = parts
    pictures = {f"{n:03}.png": picture for n, picture in enumerate(good)} | {"bad.png": bad}
    encoded = cv2.imencode(".jpg", bad, [cv2.IMWRITE_JPEG_QUALITY, 95])[1]
    recompressed = cv2.imdecode(encoded, cv2.IMREAD_COLOR)
    struck = good[4].copy()  # a good picture, and a defect that is drawn into it
    cv2.circle(struck, (150, 160), 12, (20, 20, 20), -1)
    write(tmp_path / "alone", pictures)
    write(tmp_path / "more", pictures | {"bad2.png": recompressed, "struck.png": struck})
    write(tmp_path / "instead", {n: p for n, p in pictures.items() if n != "004.png"}
          | {"004.png": struck})  # fmt: skip
    for rscin in ("off", "1,2,3"):
        alone, _ = score(tmp_path / "alone", "--rscin", rscin)
        more, _ = score(tmp_path / "more", "--rscin", rscin)
        instead, _ = score(tmp_path / "instead", "--rscin", rscin)
        assert numbers(more, alone) == numbers(alone, alone)
        assert (more["bad2.png"]["copy_of"], more["bad2.png"]["verdict"]) == ("bad.png", "NG")
        assert (more["struck.png"]["copy_of"], more["struck.png"]["verdict"]) == ("004.png", "NG")
        both = [float(rows["score"]) for rows in (more["struck.png"], instead["004.png"])]
        if rscin == "off":  # as if it stood in its original's place
            assert both[0] == pytest.approx(both[1], abs=1e-5)


def test_four_copies_of_a_defect_are_no_recurring_defect(tmp_path, parts):
    good, bad = parts
    write(tmp_path / "set", {f"{n:03}.png": picture for n, picture in enumerate(good)}
          | {f"bad{n}.png": bad for n in range(5)})  # fmt: skip
    rows, told = score(tmp_path / "set")
    assert {row["recurring"] for row in rows.values()} == {"false"}
    assert {rows[f"bad{n}.png"]["verdict"] for n in range(5)} == {"NG"}
    assert "recurring" not in told


def test_another_threshold_counts_a_picture_once_too(tmp_path, parts):
    good, bad = parts
    write(tmp_path / "set", {f"{n:03}.png": picture for n, picture in enumerate(good)}
          | {"bad.png": bad, "bad2.png": bad})  # fmt: skip
    rows, _ = score(tmp_path / "set")
    output = tmp_path / "set-results"
    result = CliRunner().invoke(main, ["threshold", str(output), "--false-alarm-rate", "0.01"])
    assert result.exit_code == 0, result.output
    with (output / "scores.csv").open() as file:
        assert {row["image"]: row for row in csv.DictReader(file)} == rows


def test_a_folder_with_one_picture_is_refused(tmp_path, parts):
    write(tmp_path / "set", dict.fromkeys(("a.png", "b.png", "c.bmp"), parts[0][0]))
    arguments = ["score", str(tmp_path / "set"), "--output", str(tmp_path / "results")]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 1
    assert "3 images show one picture, as a.png does" in result.output


def test_evaluate_counts_a_picture_once(tmp_path, parts):
    good, bad = parts
    write(tmp_path / "set/test/good", {f"{n:03}.png": picture for n, picture in enumerate(good)})
    write(tmp_path / "set/test/dent", {"0.png": bad, "1.png": bad})
    arguments = ["evaluate", str(tmp_path / "set"), "--output", str(tmp_path / "results")]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 0, result.output
    verdicts = json.loads((tmp_path / "results/verdicts.json").read_text())["set"]
    assert (verdicts["copies"], verdicts["found"], verdicts["defective"]) == (1, 2, 2)
    assert "set: 1 file shows the picture of another file" in result.output


def test_photographs_of_one_part_are_not_compared(tmp_path, parts):
    """Two views of a part with the same defect would vouch for each other."""
    good, bad = parts
    moved = np.roll(bad, 48, axis=1)
    pictures = {f"{n // 2:02}_{'ab'[n % 2]}.png": picture for n, picture in enumerate(good)}
    write(tmp_path / "set", pictures | {"90_a.png": bad, "90_b.png": moved})
    plain, _ = score(tmp_path / "set")
    apart, _ = score(tmp_path / "set", "--group-by", r"(\d+)_[ab]")
    write(tmp_path / "alone", pictures | {"90_a.png": bad})
    wanted, _ = score(tmp_path / "alone")
    raw = [float(rows["90_a.png"]["raw_score"]) for rows in (plain, apart, wanted)]
    assert raw[0] < raw[1] == pytest.approx(raw[2], rel=0.02)


@pytest.mark.parametrize(
    ("pattern", "told"),
    [
        ("(", "is no regular expression"),
        (r"\d+", "a group is expected"),
        (r"(\d{9})", '"000.png" does not match --group-by'),
    ],
)
def test_a_pattern_that_cannot_be_is_refused(tmp_path, parts, pattern, told):
    write(tmp_path / "set", {f"{n:03}.png": picture for n, picture in enumerate(parts[0][:3])})
    arguments = ["score", str(tmp_path / "set"), "--group-by", pattern]
    result = CliRunner().invoke(main, [*arguments, "--output", str(tmp_path / "results")])
    assert result.exit_code in (1, 2)
    assert told in result.output


@pytest.mark.parametrize("variation", [0.05, 1.0])
def test_different_parts_of_one_mould_are_no_copies(tmp_path, variation):
    line = SimulatedLine(LineSettings(seed=5, parts=40, defects=0.0, variation=variation))
    write(tmp_path / "set", {f"{n:03}.png": line.part(n).image for n in range(40)})
    rows, told = score(tmp_path / "set")
    assert {row["copy_of"] for row in rows.values()} == {""}
    assert "the picture of another" not in told


def test_a_near_copy_in_tiles_is_less_its_places_levels():
    """Four tiles of 3×3 patches are no square of 6×6: each tile has a map of its own."""
    rng = np.random.default_rng(5)
    rows = rng.normal(size=(1, 36, 8)) + 0.3 * rng.normal(size=(12, 36, 8))
    rows = np.concatenate([rows, rows[3:4] + 0.01 * rng.normal(size=(1, 36, 8))]).astype(np.float32)
    tokens = Tokens((rows,), np.ones((13, 1), np.float32), (2, 2))
    of = np.array([*range(12), 3], np.intp)
    result = score_with_copies(
        tokens, of, same=list(range(13)), size=32, degrees=(1,), rscin=(), own_level=True
    )
    wanted = map_maximum(result.patch_scores, size=32, tiles=(2, 2))
    np.testing.assert_allclose(result.raw_scores, wanted, atol=1e-6)
