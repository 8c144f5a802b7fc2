"""Parts that lie anywhere: found, laid upright, judged; what shows no part is told."""

import csv
import json

import cv2
import numpy as np
import pytest
from click.testing import CliRunner

from zeroline.edge_app.cli import main
from zeroline.edge_app.images import read_image
from zeroline.edge_app.sim.line import SimulatedLine
from zeroline.edge_app.sim.settings import settings_from
from zeroline.runtime import RollingInspector, load_bundle
from zeroline.runtime.framing.files import read_framing
from zeroline.runtime.framing.framer import Framer
from zeroline.runtime.framing.framing import Framing
from zeroline.runtime.reference.files import read_reference

SIZE = 240
GOOD = 22
#: Parts out of place, each named for what is wrong with it.
ODD = {"defect": 21, "empty": None, "half": None}


def parts(query):
    return SimulatedLine(settings_from(f"sim://parts?size={SIZE}&seed=3&{query}"))


@pytest.fixture(scope="module")
def pictures():
    """Plates anywhere within ±5 % and ±12°, one of them with a spot; a belt; half a plate."""
    line = parts("place=0.05&turn=12&defects=0&parts=30")
    frames = [line.part(number) for number in range(GOOD + 2)]
    made = {f"{n:02}": frame.image for n, frame in enumerate(frames[:GOOD])}
    spotted = frames[GOOD].image.copy()
    x, y = frames[GOOD].to_picture @ (75, 160, 1)
    cv2.circle(spotted, (round(x), round(y)), 5, (60, 60, 60), -1, cv2.LINE_AA)
    made["90"] = spotted
    empty = next(f.image for f in parts("empty=0.5&parts=9") if f.kind == "empty")
    made["91"] = empty
    made["92"] = np.roll(frames[GOOD + 1].image, SIZE // 2, axis=1)
    made["92"][:, : SIZE // 2] = empty[:, : SIZE // 2]
    return made, (x, y)


@pytest.fixture(scope="module")
def taught():
    return parts("defects=0&parts=2").part(0).image


@pytest.fixture
def folder(tmp_path, pictures, taught):
    (tmp_path / "set").mkdir()
    for name, picture in pictures[0].items():
        cv2.imwrite(str(tmp_path / "set" / f"{name}.png"), picture)
    cv2.imwrite(str(tmp_path / "taught.png"), taught)
    return tmp_path / "set"


def zeroline(*arguments):
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def rows_of(output):
    with (output / "scores.csv").open() as file:
        return {row["image"]: row for row in csv.DictReader(file)}


def ng_of(rows):
    """Names of the NG images, the worst first."""
    ng = [row for row in rows.values() if row["verdict"] == "NG"]
    return [row["image"] for row in sorted(ng, key=lambda row: -float(row["score"]))]


@pytest.mark.parametrize("by", ["pattern", "outline", "tiles"])
def test_a_faint_spot_is_found_on_parts_that_lie_anywhere(folder, tmp_path, pictures, by):
    options = ("--align", by) if by != "tiles" else ("--align", "pattern", "--tiles", "2x2")
    output = tmp_path / "results"
    arguments = ["score", folder, "--output", output, "--draw", "all"]
    assert zeroline(*arguments).exit_code == 0
    assert rows_of(output)["90.png"]["verdict"] == "OK"
    assert rows_of(output)["91.png"]["verdict"] in ("OK", "NG")  # an empty belt is a picture too
    outcome = zeroline(*arguments, *options, "--taught", tmp_path / "taught.png")
    assert outcome.exit_code == 1
    rows = rows_of(output)
    assert ng_of(rows)[0] == "90.png"
    assert len(ng_of(rows)) <= 2
    unplaced = {name: row for name, row in rows.items() if row["verdict"] == "UNCERTAIN"}
    assert sorted(unplaced) == ["91.png", "92.png"]
    assert {row["score"] for row in unplaced.values()} == {""}
    assert "left out: 91.png: no part was found: quality" in outcome.output
    assert "left out: 92.png: " in outcome.output
    assert "less each place&#39;s own level" in (output / "report.html").read_text()
    overlay = read_image(output / "overlays" / "90.png")
    factor = overlay.shape[1] / SIZE
    hue = np.ptp(overlay[: round(SIZE * factor)].astype(int), axis=2)  # heat has a colour
    y, x = np.nonzero(hue > 60)
    np.testing.assert_allclose(np.array([x.mean(), y.mean()]) / factor, pictures[1], atol=6)
    plain = cv2.resize(pictures[0]["90"], None, fx=factor, fy=factor)
    paler = overlay[: len(plain)].astype(int).mean(axis=2) - plain.mean(axis=2) > 20
    assert paler[5, 5]  # the ground is not looked at, and all of the part is, under its level too
    assert paler.mean() < 0.5
    again = zeroline("threshold", output, "--false-alarm-rate", "0.01")  # by what was kept
    assert again.exit_code == 0, again.output
    assert rows_of(output) == rows


def test_without_a_taught_picture_the_most_typical_one_teaches(folder, tmp_path):
    output = tmp_path / "results"
    outcome = zeroline("score", folder, "--output", output, "--align", "pattern", "--draw", "none")
    assert "note: taught from " in outcome.output
    assert "the part is found whole in " in outcome.output
    assert ng_of(rows_of(output))[0] == "90.png"


def test_evaluate_ranks_what_shows_no_part_above_all_others(folder, tmp_path):
    for kind, names in (
        ("good", [*(f"{n:02}" for n in range(GOOD)), "91"]),
        ("spot", ["90", "92"]),
    ):
        (tmp_path / "data/test" / kind).mkdir(parents=True)
        for name in names:
            (folder / f"{name}.png").rename(tmp_path / "data/test" / kind / f"{name}.png")
    output = tmp_path / "results"
    zeroline(
        "evaluate",
        tmp_path / "data",
        "--output",
        output,
        "--align",
        "pattern",
        "--taught",
        tmp_path / "taught.png",
    )
    figures = json.loads((output / "metrics.json").read_text())["data"]
    assert figures["image_auroc"] == pytest.approx(1 - 1.5 / (2 * (GOOD + 1)))
    verdicts = json.loads((output / "verdicts.json").read_text())["data"]
    assert verdicts["no_whole_part"] == {"good": 1, "defective": 1}
    assert (verdicts["good"], verdicts["found"]) == (GOOD, 1)


def line_of(source, *options):
    outcome = zeroline(
        "run", "--source", source, "--window", 24, "--min-window", 10, "--exclusion", 0, *options
    )
    lines = [json.loads(text) for text in outcome.output.splitlines() if text.startswith("{")]
    return [text for text in lines if "frame" in text and "event" not in text], lines, outcome


def test_a_line_says_what_it_does_not_inspect(folder, tmp_path, pictures):
    (folder / "05.png").rename(folder / "93.png")  # a good one after those
    (folder / "91.png").rename(folder / "91a.png")
    cv2.imwrite(str(folder / "91b.png"), pictures[0]["91"])
    frames, lines, outcome = line_of(
        folder, "--align", "pattern", "--taught", tmp_path / "taught.png"
    )
    assert outcome.exit_code == 0, outcome.output
    ends = {frame["source"]: frame for frame in frames[GOOD - 1 :]}
    assert {n: (f["verdict"], f["reason"]) for n, f in ends.items()} == {
        "90.png": ("NG", "score"),
        "91a.png": ("UNCERTAIN", "no_part_found"),
        "91b.png": ("UNCERTAIN", "no_part_found"),
        "92.png": ("UNCERTAIN", ends["92.png"]["reason"]),
        "93.png": ("OK", None),
    }
    assert ends["92.png"]["reason"] in ("no_part_found", "part_not_whole")
    for name in ("91a.png", "91b.png", "92.png"):
        assert not ends[name]["admitted"]
        assert ends[name]["score"] is None
        assert ends[name]["fault"]
    told = [text for text in lines if text.get("event") == "part.not_found"]
    assert [event["frame"] for event in told] == [ends["91a.png"]["frame"]]  # once for a row
    assert "It is not inspected" in outcome.output
    pose = ends["93.png"]["pose"]
    assert pose["quality"] > 0.8
    assert pose["in_view"] > 0.95
    x, y, width, height = ends["90.png"]["regions"][0]
    np.testing.assert_allclose((x + width / 2, y + height / 2), pictures[1], atol=10)


def test_a_reference_set_keeps_the_taught_picture(folder, tmp_path):
    reference, taught = tmp_path / "good.npz", ("--taught", tmp_path / "taught.png")
    for name in ("90.png", "91.png", "92.png"):
        (folder / name).rename(tmp_path / name)
    build = ("reference", "build", folder, "--output", reference)
    outcome = zeroline(*build, "--align", "pattern", *taught)
    assert outcome.exit_code == 0, outcome.output
    for name in ("90.png", "91.png", "92.png"):
        (tmp_path / name).rename(folder / name)
    for options in (("--align", "pattern"), ("--align", "pattern", *taught)):
        frames, _, outcome = line_of(folder, "--reference", reference, *options)
        assert outcome.exit_code == 0, outcome.output
        assert [frame["verdict"] for frame in frames[-3:]] == ["NG", "UNCERTAIN", "UNCERTAIN"]
    kept = read_reference(reference)
    assert 6 < max(abs(frame.turn) for frame in kept.frames) <= 13
    with (
        load_bundle("tiny", threads=1) as bundle,
        RollingInspector(bundle, framing=kept.framing, threads=1) as line,
    ):
        line.load_reference(reference)
        line.save_reference(tmp_path / "again.npz")
    again = {frame.name: frame.turn for frame in read_reference(tmp_path / "again.npz").frames}
    assert again == {frame.name: frame.turn for frame in kept.frames}
    _, _, outcome = line_of(folder, "--reference", reference, "--align", "outline", *taught)
    assert outcome.exit_code == 1
    assert "was made with another framing (the part, found by its pattern)" in outcome.output


def test_teach_writes_what_the_other_commands_take(folder, tmp_path, taught):
    file = tmp_path / "plate.framing"
    outcome = zeroline(
        "teach", tmp_path / "taught.png", "--output", file, "--ignore", "30,115,90,90"
    )
    assert outcome.exit_code == 0, outcome.output
    assert "the ground tells the part: contrast" in outcome.output
    assert "looks alike in 4 poses: its detail decides" in outcome.output
    assert read_image(tmp_path / "plate.png").shape[2] == 3
    framing = read_framing(file)
    assert framing.align == "pattern"
    np.testing.assert_array_equal(framing.taught, taught)
    output = tmp_path / "results"
    zeroline("score", folder, "--output", output, "--framing", file, "--draw", "none")
    rows = rows_of(output)  # the spot lies in the ignored area, which moves with the part
    assert rows["90.png"]["verdict"] == "OK"
    outcome = zeroline("score", folder, "--framing", file, "--crop", "1,1,90,90")
    assert outcome.exit_code == 1
    assert "give --framing, or the other options" in outcome.output
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(bytes(content))
    outcome = zeroline("score", folder, "--framing", file)
    assert outcome.exit_code == 1
    assert f'framing "{file}" is damaged' in outcome.output.replace("\n", "")


def test_what_leaves_the_picture_is_ignored_and_the_rest_is_not(taught):
    framing = Framing(size=(SIZE, SIZE), align="pattern", taught=taught)
    with load_bundle("tiny") as bundle:
        framer = Framer(framing, bundle.manifest.input, patches=bundle.patches)
        whole = framer.look(taught)
        moved = np.roll(taught, -34, axis=1)  # a strip of the plate's left side is lost
        moved[:, -34:] = moved[:, -35:-34]
        cut = framer.look(moved)
        side = round(bundle.patches**0.5)
    assert whole.absent is None
    assert not whole.problem
    assert cut.absent is not None
    columns = np.asarray(cut.absent.reshape(side, side).any(axis=0))
    assert columns[:3].all()
    assert not columns[6:].any()
    here = whole.images[0].astype(int)[:, side * 6 :]
    there = cut.images[0].astype(int)[:, side * 6 :]
    assert np.abs(here - there).mean() < 2  # the part lies where it lay


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--align", "pattern", "--taught", "none.png"], '"none.png"'),
        (["--align", "pattern", "--taught", "belt.png"], "the taught picture shows no part"),
        (["--align", "pattern", "--taught", "small.png"], "the framing is drawn on 120×120"),
        (["--taught", "taught.png"], 'align is "off"'),
        (["--align", "sideways"], "'sideways' is not one of"),
    ],
)
def test_bad_settings_get_one_clear_line(folder, tmp_path, monkeypatch, options, message):
    monkeypatch.chdir(tmp_path)
    (folder / "91.png").rename(tmp_path / "belt.png")
    cv2.imwrite("small.png", cv2.resize(read_image(tmp_path / "taught.png"), (120, 120)))
    outcome = zeroline("score", folder, "--output", "results", *options)
    assert outcome.exit_code in (1, 2)
    assert message in outcome.output
    assert "Traceback" not in outcome.output


def test_a_line_never_learns_from_its_first_frame(folder):
    _, _, outcome = line_of(folder, "--align", "pattern")
    assert outcome.exit_code == 1
    assert "--align pattern needs a picture of a good part, as --taught PICTURE" in outcome.output
