"""Tiles as a setting of the commands: found, drawn, boxed, kept, told and refused."""

import csv
import json
import re

import cv2
import numpy as np
import pytest
from click.testing import CliRunner

from zeroline.edge_app.cli import main
from zeroline.edge_app.images import read_image
from zeroline.edge_app.memory import check_memory, check_window
from zeroline.runtime import load_bundle

HEIGHT, WIDTH = 200, 300
SPOTS = {16: (150, 60), 17: (70, 140)}
TILES = ("--tiles", "2x3")


@pytest.fixture(scope="module")
def pictures():
    made = []
    for number in range(18):
        rng = np.random.default_rng(number)
        stripes = 120 + 40 * np.sin(np.arange(WIDTH) / 3)
        picture = stripes + rng.normal(0, 3, (HEIGHT, WIDTH))
        if number in SPOTS:
            x, y = SPOTS[number]
            picture[y - 6 : y + 6, x - 6 : x + 6] = 10
        made.append(np.repeat(picture.clip(1, 255).astype(np.uint8)[..., None], 3, axis=2))
    return made


@pytest.fixture
def folder(tmp_path, pictures):
    (tmp_path / "set").mkdir()
    for number, picture in enumerate(pictures):
        cv2.imwrite(str(tmp_path / "set" / f"{number:02}.png"), picture)
    return tmp_path / "set"


def zeroline(bundle_folder, command, *arguments):
    model = ["--model", bundle_folder] if command != "threshold" else []
    return CliRunner().invoke(main, [str(a) for a in (command, *arguments, *model)])


@pytest.fixture
def scored(folder, bundle_folder):
    """Score the pictures in tiles; with maps."""

    def score(*options):
        output = folder.parent / "results"
        outcome = zeroline(
            bundle_folder, "score", folder, "--output", output, "--rscin", "off", "--maps", *options
        )
        assert outcome.exit_code == 0, outcome.output
        with (output / "scores.csv").open() as file:
            verdicts = {row["image"]: row["verdict"] for row in csv.DictReader(file)}
        return [n for n, verdict in verdicts.items() if verdict == "NG"], output, outcome.output

    return score


def test_small_defects_are_found_and_drawn_where_they_are(scored, bundle_folder):
    ng, output, told = scored(*TILES)
    assert ng == ["16.png", "17.png"]
    assert np.load(output / "maps" / "16.png.npy").shape == (2, 3, 8, 8)
    report = (output / "report.html").read_text()
    assert "2×3 tiles" in report
    assert "fused" in report
    line = next(text for text in told.splitlines() if text.startswith("2×3 tiles of 107×105 pix"))
    assert re.search(r": \d+ MiB, about [\d.e-]+ s for a frame \(measured: network", line)
    for again in range(2):
        for number, spot in SPOTS.items():
            overlay = read_image(output / "overlays" / f"{number}.png")
            factor = overlay.shape[1] / WIDTH
            hue = np.ptp(overlay[: round(HEIGHT * factor)].astype(int), axis=2)
            y, x = np.nonzero(hue > 60)
            place = np.array([np.median(x), np.median(y)]) / factor
            np.testing.assert_allclose(place, spot, atol=12)
        if not again:  # drawn anew by what was kept
            outcome = zeroline(
                bundle_folder, "threshold", output, "--draw", "all", "--false-alarm-rate", 0.02
            )
            assert outcome.exit_code == 0, outcome.output


def test_degrees_are_fused_if_nobody_chooses_others(scored):
    report = (scored(*TILES, "--degrees", "1,3")[1] / "report.html").read_text()
    assert "1, 3" in report


def test_the_smallest_defect_says_how_many_tiles(scored):
    _, output, told = scored("--smallest-defect", "12px")
    assert "\n2×3 tiles of 107×105 pixels" in f"\n{told}"  # 8 patches of 16 pixels to a tile
    assert "2×3 tiles" in (output / "report.html").read_text()
    _, _, told = scored("--smallest-defect", "12px", "--crop", "0,0,100,100")
    assert "tiles" not in told


def test_a_picture_smaller_than_the_networks_input_is_told(scored):
    assert "note: tiles have fewer pixels than the network's input" in scored("--tiles", "4x3")[2]


def test_figures_of_pixels_are_of_all_tiles(folder, tmp_path, bundle_folder):
    for kind, numbers in {"good": range(16), "spot": SPOTS}.items():
        (tmp_path / "data/test" / kind).mkdir(parents=True)
        for n in numbers:
            (folder / f"{n:02}.png").rename(tmp_path / "data/test" / kind / f"{n:02}.png")
    (tmp_path / "data/ground_truth/spot").mkdir(parents=True)
    for n, (x, y) in SPOTS.items():
        mask = np.zeros((HEIGHT, WIDTH), np.uint8)
        mask[y - 6 : y + 6, x - 6 : x + 6] = 255
        cv2.imwrite(str(tmp_path / f"data/ground_truth/spot/{n}_mask.png"), mask)
    for options in (TILES, (*TILES, "--crop", "20,10,260,180", "--aspect", "fit")):
        output = tmp_path / "results"
        outcome = zeroline(
            bundle_folder, "evaluate", tmp_path / "data", "--output", output, *options
        )
        assert outcome.exit_code == 0, outcome.output
        figures = json.loads((output / "metrics.json").read_text())["data"]
        assert figures["image_auroc"] == 1
        assert figures["pixel_auroc"] > 0.98


def line(folder, tmp_path, bundle_folder, *options, code=0):
    verdicts = tmp_path / "line.jsonl"
    verdicts.unlink(missing_ok=True)
    outcome = zeroline(
        bundle_folder, "run", "--source", folder, "--window", 16, "--min-window", 8,
        "--verdicts", verdicts, "--threads", 1, *options,
    )  # fmt: skip
    assert outcome.exit_code == code, outcome.output
    lines = verdicts.read_text().splitlines() if verdicts.exists() else []
    frames = [json.loads(text) for text in lines]
    return [frame for frame in frames if "frame" in frame], outcome.output


def test_a_line_has_its_boxes_in_the_picture_and_tells_the_cost(folder, tmp_path, bundle_folder):
    frames, told = line(folder, tmp_path, bundle_folder, *TILES, "--overlays", tmp_path / "drawn")
    assert [f["frame"] for f in frames if f["verdict"] == "NG"] == [16, 17]
    for number, spot in SPOTS.items():
        x, y, width, height = frames[number]["regions"][0]
        np.testing.assert_allclose((x + width / 2, y + height / 2), spot, atol=16)
    assert "2×3 tiles of 107×105 pixels: " in told
    assert "match with 16 frames" in told
    assert list((tmp_path / "drawn").rglob("*.png"))


def test_a_reference_set_keeps_its_tiles(folder, tmp_path, bundle_folder):
    reference = tmp_path / "good.npz"
    for number in SPOTS:
        (folder / f"{number}.png").rename(tmp_path / f"{number}.png")
    outcome = zeroline(bundle_folder, "reference", "build", folder, "--output", reference, *TILES)
    assert outcome.exit_code == 0, outcome.output
    shown = CliRunner().invoke(main, ["reference", "show", str(reference)]).output
    assert "looks at 2×3 tiles" in shown
    assert "degrees fused" in shown
    for number in SPOTS:
        (tmp_path / f"{number}.png").rename(folder / f"{number}.png")
    for options in ((), TILES):  # the line looks at what the set does
        frames, _ = line(folder, tmp_path, bundle_folder, "--reference", reference, *options)
        assert [f["verdict"] for f in frames][16:] == ["NG", "NG"]
    _, told = line(
        folder, tmp_path, bundle_folder, "--reference", reference, "--tiles", "3x3", code=1
    )
    assert "was made with another framing (2×3 tiles), this line has 3×3 tiles" in told


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--tiles", "0x3"], "'0x3': rows and columns are expected, 1x1 to 16x16"),
        (["--tiles", "17x1"], "1x1 to 16x16"),
        (["--tiles", "big"], "'big': rows and columns"),
        (["--smallest-defect", "small"], "'small': pixels are expected, such as 12px"),
        (["--smallest-defect", "nan"], "pixels are expected"),
        (["--smallest-defect", "1px"], "of at most 11 pixels, 16×16 are allowed"),
        (["--tiles", "2x2", "--smallest-defect", "9"], "exclude each other"),
        (["--tiles", "9x9", "--crop", "0,0,40,40"], "Tiles smaller than a patch"),
    ],
)
def test_bad_settings_get_one_clear_line(folder, tmp_path, bundle_folder, options, message):
    for command in (
        ["score", folder, "--output", tmp_path / "results"],
        ["run", "--source", folder],
    ):
        outcome = zeroline(bundle_folder, *command, *options)
        assert outcome.exit_code in (1, 2)
        (error,) = [text for text in outcome.output.splitlines() if text.startswith("Error: ")]
        assert message in error


def test_what_does_not_fit_in_memory_is_refused(bundle_folder, monkeypatch):
    from zeroline.edge_app import memory
    from zeroline.edge_app.errors import MemoryLimitError

    with load_bundle(bundle_folder, device="cpu", threads=1) as bundle:
        one = check_memory(bundle, 100, threads=1)
        nine = check_memory(bundle, 100, threads=1, tiles=9)
        assert one < nine < 9 * one
        window = check_window(bundle, 32, degrees="fused")
        assert 5 * window < check_window(bundle, 32, degrees="fused", tiles=(3, 3)) < 9 * window
        monkeypatch.setattr(memory, "available_memory", lambda: 2 * one)
        with pytest.raises(MemoryLimitError, match="scoring 400 images of 9 tiles as one set"):
            check_memory(bundle, 400, threads=1, tiles=9)
        monkeypatch.setattr(memory, "available_memory", lambda: 3 * window)
        with pytest.raises(MemoryLimitError, match="a window of 32 frames of 9 tiles"):
            check_window(bundle, 32, degrees="fused", tiles=(3, 3))
