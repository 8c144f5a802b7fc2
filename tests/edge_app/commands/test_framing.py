"""Crop, mask and aspect as settings of the commands; boxes and overlays in the picture's pixels."""

import csv
import json

import cv2
import numpy as np
import pytest
from click.testing import CliRunner

from zeroline.edge_app.cli import main
from zeroline.edge_app.images import read_image
from zeroline.runtime import (
    FrameError,
    RollingInspector,
    load_bundle,
    score_images,
    score_tokens,
)
from zeroline.runtime.framing.framing import Framing
from zeroline.runtime.framing.geometry import rectangle
from zeroline.runtime.tokens import joined

HEIGHT, WIDTH = 120, 200
#: Where parts are defective, in a plate that is looked at, and beside it.
INSIDE, OUTSIDE = (90, 50), (170, 60)
CROP = "40,20,100,80"


@pytest.fixture(scope="module")
def pictures():
    """Plates with stripes; one has a spot on the plate, one beside it."""
    made = []
    for number in range(18):
        rng = np.random.default_rng(number)
        stripes = 120 + 40 * np.sin(np.arange(WIDTH) / 3)
        picture = stripes + rng.normal(0, 3, (HEIGHT, WIDTH))
        if number in (16, 17):
            x, y = INSIDE if number == 16 else OUTSIDE
            picture[y - 7 : y + 7, x - 7 : x + 7] = 10
        made.append(np.repeat(picture.clip(0, 255).astype(np.uint8)[..., None], 3, axis=2))
    return made


@pytest.fixture
def folder(tmp_path, pictures):
    (tmp_path / "set").mkdir()
    for number, picture in enumerate(pictures):
        cv2.imwrite(str(tmp_path / "set" / f"{number:02}.png"), picture)
    return tmp_path / "set"


def zeroline(*arguments):
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def scored(folder, *options):
    output = folder.parent / "results"
    outcome = zeroline("score", folder, "--output", output, "--rscin", "off", *options)
    assert outcome.exit_code == 0, outcome.output
    with (output / "scores.csv").open() as file:
        rows = {row["image"]: row["verdict"] for row in csv.DictReader(file)}
    return [name for name, verdict in rows.items() if verdict == "NG"], output


def test_what_lies_outside_is_not_looked_at(folder, tmp_path):
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    mask[20:100, 40:112] = 255
    cv2.imwrite(str(tmp_path / "mask.png"), mask)
    assert scored(folder)[0] == ["16.png", "17.png"]
    assert scored(folder, "--crop", CROP)[0] == ["16.png"]
    assert scored(folder, "--crop", "40,20 140,20 140,100 40,100")[0] == ["16.png"]
    assert scored(folder, "--ignore", "115,0,85,120")[0] == ["16.png"]
    assert scored(folder, "--mask", tmp_path / "mask.png")[0] == ["16.png"]
    assert scored(folder, "--aspect", "fit")[0] == ["16.png", "17.png"]
    both = ("--ignore", "115,0,85,120", "--ignore", "30,0,100,120")
    assert scored(folder, *both)[0] == []


@pytest.mark.parametrize("options", [(), ("--crop", CROP), ("--crop", CROP, "--aspect", "fit")])
def test_overlays_show_the_defect_where_it_is(folder, options):
    _, output = scored(folder, *options)
    for _ in range(2):
        overlay = read_image(output / "overlays" / "16.png")
        factor = overlay.shape[1] / WIDTH
        hue = np.ptp(overlay[: round(HEIGHT * factor)].astype(int), axis=2)  # heat has a colour
        y, x = np.nonzero(hue > 60)
        place = np.array([x.mean(), y.mean()]) / factor
        np.testing.assert_allclose(place, INSIDE, atol=5)
        again = zeroline(
            "threshold", output, "--threshold", "0.5", "--draw", "all"
        )  # drawn anew, by what was kept
        assert again.exit_code == 0, again.output
    assert "Looked at" in (output / "report.html").read_text()


def test_figures_of_pixels_are_of_what_is_looked_at(folder, tmp_path):
    kinds = {"good": range(16), "spot": [16]}
    for kind, numbers in kinds.items():
        (tmp_path / "data/test" / kind).mkdir(parents=True)
        for n in numbers:
            (folder / f"{n:02}.png").rename(tmp_path / "data/test" / kind / f"{n:02}.png")
    (tmp_path / "data/ground_truth/spot").mkdir(parents=True)
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    mask[43:57, 83:97] = 255
    cv2.imwrite(str(tmp_path / "data/ground_truth/spot/16_mask.png"), mask)
    for options in ((), ("--crop", CROP), ("--aspect", "fit")):
        output = tmp_path / "results"
        outcome = zeroline("evaluate", tmp_path / "data", "--output", output, *options)
        assert outcome.exit_code == 0, outcome.output
        figures = json.loads((output / "metrics.json").read_text())["data"]
        assert figures["image_auroc"] == 1
        assert figures["pixel_auroc"] > 0.98


def line(folder, tmp_path, *options, code=0):
    verdicts = tmp_path / "line.jsonl"
    verdicts.unlink(missing_ok=True)
    outcome = zeroline(
        "run", "--source", folder, "--window", 16, "--min-window", 8, "--rscin", "off",
        "--verdicts", verdicts, *options,
    )  # fmt: skip
    assert outcome.exit_code == code, outcome.output
    lines = verdicts.read_text().splitlines() if verdicts.exists() else []
    frames = [json.loads(text) for text in lines]
    return [frame for frame in frames if "frame" in frame], outcome.output


def test_a_line_has_its_boxes_in_the_picture(folder, tmp_path):
    frames, _ = line(folder, tmp_path)
    assert [f["frame"] for f in frames if f["verdict"] == "NG"] == [16, 17]
    fitted = ("--crop", CROP, "--aspect", "fit")
    for options in (("--crop", CROP), ("--ignore", "115,0,85,120"), fitted):
        frames, _ = line(folder, tmp_path, *options)
        assert len(frames) == 18  # the first one was looked at for its size, and is not lost
        assert [f["frame"] for f in frames if f["verdict"] == "NG"] == [16]
        x, y, width, height = frames[16]["regions"][0]
        assert x < INSIDE[0] < x + width
        assert y < INSIDE[1] < y + height
        np.testing.assert_allclose((x + width / 2, y + height / 2), INSIDE, atol=20)


def test_a_frame_of_another_size_is_a_fault(folder, tmp_path):
    small = read_image(folder / "05.png")[:100]
    cv2.imwrite(str(folder / "05.png"), small)
    frames, _ = line(folder, tmp_path, "--crop", CROP)
    (fault,) = [frame for frame in frames if frame["verdict"] == "FAULT"]
    assert fault["frame"] == 5
    assert fault["fault"] == (
        "the picture has 200×100 pixels, the framing is drawn on 200×120"
    )  # fmt: skip
    outcome = zeroline("score", folder, "--crop", CROP, "--output", tmp_path / "results")
    assert outcome.exit_code == 1
    assert "left out: 05.png: the picture has 200×100 pixels" in outcome.output


def test_a_reference_set_keeps_its_framing(folder, tmp_path):
    reference = tmp_path / "good.npz"
    for name in ("16.png", "17.png"):
        (folder / name).rename(tmp_path / name)
    outcome = zeroline(
        "reference", "build", folder, "--output", reference, "--crop", CROP, "--degrees", "1,3,5"
    )
    assert outcome.exit_code == 0, outcome.output
    assert "looks at crop 40,20 140,20 140,100 40,100" in zeroline(
        "reference", "show", reference
    ).output  # fmt: skip
    for name in ("16.png", "17.png"):
        (tmp_path / name).rename(folder / name)
    for options in ((), ("--crop", CROP)):  # the line looks at what the set does
        frames, _ = line(folder, tmp_path, "--reference", reference, *options)
        assert [f["verdict"] for f in frames][16:] == ["NG", "OK"]
    for options in (("--crop", "40,20,100,70"), ("--aspect", "fit")):
        _, told = line(folder, tmp_path, "--reference", reference, *options, code=1)
        assert "was made with another framing (crop 40,20 140,20" in told


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--crop", "150,0,100,100"], "leaves the picture of 200×120 pixels"),
        (["--crop", "10,10,0,50"], "'10,10,0,50': a rectangle"),
        (["--crop", "1,2 3,4"], "a rectangle \"x,y,width,height\" or the corners of a polygon"),
        (["--ignore", "0,0,200,120"], "leave nothing to look at"),
        (["--mask", "none.png"], 'mask "none.png" cannot be read'),
        (["--mask", "small.png"], "the mask has 50×60 pixels, the picture has 200×120"),
        (["--mask", "black.png"], "the mask ignores the whole picture"),
        (["--aspect", "round"], "'round' is not one of"),
    ],
)  # fmt: skip
def test_bad_settings_get_one_clear_line(folder, tmp_path, monkeypatch, options, message):
    monkeypatch.chdir(tmp_path)
    cv2.imwrite("small.png", np.full((60, 50), 255, np.uint8))
    cv2.imwrite("black.png", np.zeros((HEIGHT, WIDTH), np.uint8))
    commands = (
        ["score", folder, "--output", tmp_path / "results"],
        ["run", "--source", folder],
        ["reference", "build", folder, "--output", tmp_path / "good.npz"],
    )
    for command in commands:
        outcome = zeroline(*command, *options)
        assert outcome.exit_code in (1, 2)
        (error,) = [text for text in outcome.output.splitlines() if text.startswith("Error: ")]
        assert message in error
    assert not (tmp_path / "results").exists()


def test_a_whole_picture_scores_as_without_a_framing_byte_for_byte(folder, pictures):
    whole = ("--aspect", "stretch", "--align", "off", "--tiles", "1x1", "--matching", "exact")
    _, output = scored(folder, "--threads", 1, *whole)
    with load_bundle("tiny", device="cpu", threads=1) as bundle:
        tokens = joined(bundle.embed(bundle.prepare(picture)[None]) for picture in pictures)
        size, degrees = bundle.size, bundle.manifest.defaults.degrees
        with RollingInspector(
            bundle, min_window=2, matching="exact", threads=1, framing=Framing()
        ) as framed, RollingInspector(
            bundle, min_window=2, matching="exact", threads=1
        ) as plain:  # fmt: skip
            for number, picture in enumerate(pictures[:6]):
                one = plain.push_tokens(tokens.select(slice(number, number + 1))).scores
                other = framed.push(picture).scores
                assert one == other
                if one is not None and other is not None:
                    assert one.patch_scores.tobytes() == other.patch_scores.tobytes()
    result = score_tokens(tokens, size=size, degrees=degrees, rscin=(), threads=1)
    with np.load(output / "scores.npz") as kept:
        assert kept["patch_scores"].tobytes() == result.patch_scores.astype(np.float16).tobytes()
        assert kept["scores"].tobytes() == result.scores.tobytes()


@pytest.mark.parametrize(
    "settings", [{"crop": rectangle(40, 20, 100, 80)}, {"tiles": (1, 2)}, {"aspect": "fit"}]
)
def test_python_scores_a_framing_as_the_command_does(folder, pictures, settings):
    options = {"crop": ("--crop", CROP), "tiles": ("--tiles", "1x2"), "aspect": ("--aspect", "fit")}
    _, output = scored(folder, "--threads", 1, "--no-codegraph", *options[next(iter(settings))])
    with load_bundle("tiny", device="cpu", threads=1) as bundle:
        framing = Framing(size=(HEIGHT, WIDTH), **settings)
        result = score_images(pictures, bundle, framing=framing, rscin=(), threads=1)
        with pytest.raises(FrameError, match="the picture has 100×120 pixels"):
            score_images([p[:, :100] for p in pictures], bundle, framing=framing)
    with np.load(output / "scores.npz") as kept:
        np.testing.assert_allclose(kept["scores"], result.scores, atol=1e-6)
