"""``zeroline score`` as a user runs it: in a process of its own where that matters."""

import csv
import json
import os
import re
import resource
import struct
import subprocess
import sys

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from zeroline.edge_app.batch.scoring import random_subsets
from zeroline.edge_app.cli import main
from zeroline.edge_app.masks import read_mask
from zeroline.edge_app.memory import available_memory


def zeroline(*arguments):
    return CliRunner().invoke(main, [str(a) for a in arguments])


def rows(folder):
    with (folder / "scores.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.fixture
def out(tmp_path):
    return tmp_path / "results"


def test_scores_overlays_report_and_maps(image_folder, bundle_folder, out):
    outcome = zeroline("score", image_folder, "--model", bundle_folder, "--output", out, "--maps")
    assert outcome.exit_code == 0, outcome.output
    table = rows(out)
    assert list(table[0]) == [
        "image",
        "score",
        "raw_score",
        "threshold",
        "verdict",
        "copy_of",
        "recurring",
    ]
    names = [row["image"] for row in table]
    assert names == ["bad/07.png", *(f"good/{n:02d}.png" for n in range(10) if n != 7)]
    by_raw = max(table, key=lambda row: float(row["raw_score"]))
    assert by_raw["image"] == "bad/07.png"
    assert all(row["recurring"] == "false" for row in table)
    for row in table:
        over = float(row["score"]) > float(row["threshold"])
        assert row["verdict"] == ("NG" if over else "OK")
    flat = [name.replace("/", "__") for name in names]
    assert sorted(p.name for p in (out / "overlays").iterdir()) == sorted(flat)
    maps = {p.name: np.load(p) for p in (out / "maps").iterdir()}
    assert set(maps) == {f"{name}.npy" for name in flat}
    assert all(m.shape == (8, 8) and m.dtype == np.float32 for m in maps.values())
    report = (out / "report.html").read_text(encoding="utf-8")
    assert report.count("data:image/jpeg;base64,") == 10
    assert not re.search(r'(src|href)="(?!data:)', report)  # needs nothing but itself
    assert report.index("bad/07.png") < report.index("good/00.png")  # worst first
    assert f"{len(table)} images" in outcome.output


def test_the_overlay_shows_heat_and_contour_on_the_defect_only(image_folder, bundle_folder, out):
    arguments = ["--model", bundle_folder, "--output", out, "--rscin", "off"]
    assert zeroline("score", image_folder, *arguments).exit_code == 0
    picture = np.asarray(Image.open(out / "overlays" / "bad__07.png")).astype(int)
    assert picture.shape == (480 + 34, 480, 3)  # scaled up so that the caption can be read
    red_over_blue = picture[:480, :, 0] - picture[:480, :, 2]
    scratch, corner = red_over_blue[230:270, 130:230], red_over_blue[:60, -60:]
    assert scratch.mean() > 40
    assert abs(corner.mean()) < 15
    assert (picture[:480].min(axis=2) == 255).sum() > 100  # the white contour
    caption = picture[-30:, :5].mean(axis=(0, 1))
    assert caption[0] > 150 > caption[1]  # red for NG


def test_images_that_cannot_be_used_are_named_and_the_rest_is_scored(
    image_folder, bundle_folder, out
):
    good = image_folder / "good"
    whole = Image.open(good / "00.png").convert("RGB")
    whole.save(image_folder / "cut.jpg")
    data = (image_folder / "cut.jpg").read_bytes()
    (image_folder / "cut.jpg").write_bytes(data[: len(data) // 2])
    (image_folder / "empty.png").touch()
    (image_folder / "text.png").write_text("not a picture")
    Image.new("L", (1, 1)).save(image_folder / "dot.png")
    Image.new("RGB", (96, 96)).save(image_folder / "black.png")  # the model gives NaN for it
    # nothing wrong with these
    whole.convert("RGBA").save(image_folder / "rgba.png")
    whole.convert("L").resize((50, 200)).save(image_folder / "grey.png")
    Image.fromarray(np.asarray(whole.convert("L")).astype(np.uint16) * 257).save(
        image_folder / "deep.png"
    )
    outcome = zeroline("score", image_folder, "--model", bundle_folder, "--output", out)
    assert outcome.exit_code == 1
    assert len(rows(out)) == 13
    reasons = {
        "cut.jpg": "truncated",
        "empty.png": "the file is empty",
        "text.png": "not an image",
        "dot.png": "1×1 pixels",
        "black.png": "the model gives NaN or inf for it",
    }
    report = (out / "report.html").read_text(encoding="utf-8")
    for name, reason in reasons.items():
        assert re.search(rf"left out: {name}: .*{reason}", outcome.output)
        assert name in report
    assert "5 image(s) left out" in outcome.output


@pytest.mark.parametrize("count", [2, 4])
def test_few_images_work_with_a_warning(image_folder, bundle_folder, out, count):
    files = sorted((image_folder / "good").iterdir())[:count]
    outcome = zeroline("score", *files, "--model", bundle_folder, "--output", out)
    assert outcome.exit_code == 0
    assert f"warning: {count} images in a set" in outcome.output
    assert [row["image"] for row in rows(out)] == [file.name for file in files]


def test_subsets_cover_every_image_once(image_folder, bundle_folder, out):
    arguments = ["--model", bundle_folder, "--output", out, "--subset", "4"]
    outcome = zeroline("score", image_folder, *arguments)
    assert outcome.exit_code == 0
    first = rows(out)
    assert len(first) == 10
    assert len({row["threshold"] for row in first}) == 3
    assert zeroline("score", image_folder, *arguments).exit_code == 0
    assert rows(out) == first  # the same seed
    assert zeroline("score", image_folder, *arguments, "--seed", "1").exit_code == 0
    assert rows(out) != first


def test_a_subset_left_with_one_usable_image_finds_company(image_folder, bundle_folder, out):
    """Good images whose partner could not be read were once left out themselves."""
    for number in range(3):
        (image_folder / f"broken{number}.png").write_text("no image")
    arguments = ["--model", bundle_folder, "--output", out, "--subset", "2"]
    for seed in range(3):
        outcome = zeroline("score", image_folder, *arguments, "--seed", seed)
        assert outcome.exit_code == 1
        assert outcome.output.count("left out: broken") == 3
        assert "3 image(s) left out" in outcome.output
        assert len(rows(out)) == 10
        assert "images in a set: with so few" in outcome.output


@pytest.mark.parametrize(("count", "size"), [(3000, 200), (7, 3), (5, 2), (3, 2), (10, 50)])
def test_random_subsets(count, size):
    subsets = random_subsets(count, size, seed=0)
    assert sorted(place for subset in subsets for place in subset) == list(range(count))
    assert min(map(len, subsets)) >= 2
    assert max(map(len, subsets)) <= max(size, 3)  # three images cannot be cut into pairs


def test_a_given_threshold(image_folder, bundle_folder, out):
    arguments = ["--model", bundle_folder, "--output", out, "--threshold"]
    assert zeroline("score", image_folder, *arguments, "0").exit_code == 0
    assert {row["verdict"] for row in rows(out)} == {"NG"}
    assert zeroline("score", image_folder, *arguments, "2").exit_code == 0
    assert {row["verdict"] for row in rows(out)} == {"OK"}


def test_ng_overlays_only_and_a_second_run_leaves_nothing_old(image_folder, bundle_folder, out):
    arguments = ["score", image_folder, "--model", bundle_folder, "--output", out]
    assert zeroline(*arguments).exit_code == 0
    assert len(list((out / "overlays").iterdir())) == 10
    assert zeroline(*arguments, "--draw", "ng").exit_code == 0
    ng = {row["image"].replace("/", "__") for row in rows(out) if row["verdict"] == "NG"}
    assert {p.name for p in (out / "overlays").iterdir()} == ng
    assert zeroline(*arguments, "--draw", "none").exit_code == 0
    assert not list((out / "overlays").iterdir())


def test_photographs_are_never_replaced_by_results(image_folder, bundle_folder, tmp_path):
    """An output folder that held the photographs in "overlays" once lost them all."""
    photos = image_folder.parent / "shots" / "overlays"
    photos.parent.mkdir()
    image_folder.rename(photos)
    before = sorted(photos.rglob("*.png"))
    options = ["--model", bundle_folder, "--output", photos.parent, "--maps"]
    outcome = zeroline("score", photos, *options)
    assert outcome.exit_code == 1
    assert "whose files are replaced by results: choose another --output" in outcome.output
    (photos / "mine.png").write_bytes((photos / "bad" / "07.png").read_bytes())
    outcome = zeroline("score", photos, "--model", bundle_folder, "--output", tmp_path / "out")
    assert outcome.exit_code == 0
    assert sorted(photos.rglob("*.png")) == sorted([*before, photos / "mine.png"])


def test_a_folder_can_hold_its_own_results(image_folder, bundle_folder):
    """The second run once scored the overlays of the first."""
    options = ["--model", bundle_folder, "--maps"]
    (image_folder / "overlays").mkdir()
    (image_folder / "overlays" / "keep.txt").write_text("mine")
    for folder in (image_folder, image_folder / "results"):
        for _ in range(2):
            outcome = zeroline("score", image_folder, *options, "--output", folder)
            assert outcome.exit_code == 0, outcome.output
            assert len(rows(folder)) == 10
    assert (image_folder / "overlays" / "keep.txt").exists()


def test_other_files_are_counted(image_folder, bundle_folder, out):
    (image_folder / "notes.txt").write_text("x")
    (image_folder / "clip.mp4").write_text("x")
    outcome = zeroline("score", image_folder, "--model", bundle_folder, "--output", out)
    assert outcome.exit_code == 0
    assert "do not end like images were not read: 1 .mp4, 1 .txt" in outcome.output


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["{tmp}/nowhere"], 1, 'nowhere" does not exist'),
        (["{tmp}/empty"], 1, "no image in"),
        (["{images}/bad/07.png"], 1, "1 usable image(s) of 1: mutual scoring compares"),
        (["{images}", "--model", "{tmp}/empty"], 1, "is not a model bundle"),
        (["{images}", "--output", "{images}/bad/07.png/x"], 1, "cannot be written"),
        (["{images}", "--output", "/proc/zeroline"], 1, "cannot be written"),
        (["{images}", "--degrees", "2"], 2, "different odd numbers from 1 to 99"),
        (["{images}", "--degrees", "1,x"], 2, "'1,x'"),
        (["{images}", "--rscin", "0"], 2, 'whole numbers from 1 to 1000, with commas, or "off"'),
        (["{images}", "--threshold", "high"], 2, '"auto" or a number'),
        (["{images}", "--threshold", "nan"], 2, '"auto" or a number from 0 to 2'),
        (["{images}", "--threshold", "3"], 2, '"auto" or a number from 0 to 2'),
        (["{images}", "--false-alarm-rate", "nan"], 2, "0<x<=0.5"),
        (["{images}", "--degrees", "1,1"], 2, "different odd numbers"),
        (["{images}", "--seed", "-1"], 2, "0<=x"),
        (["{images}", "--threads", "99999999999"], 2, "1<=x<=256"),
        (["{images}", "--subset", "x"], 2, "'x'"),
        (["{images}", "--false-alarm-rate", "0.9"], 2, "0<x<=0.5"),
        (["{images}", "--subset", "1"], 2, "x>=2"),
        (["{images}", "--bogus"], 2, "No such option"),
        ([], 2, "Missing argument"),
    ],
)
def test_refuses_in_one_line(image_folder, bundle_folder, tmp_path, arguments, code, message):
    (tmp_path / "empty").mkdir()
    filled = [a.format(tmp=tmp_path, images=image_folder) for a in arguments]
    if "--model" not in filled:
        filled += ["--model", str(bundle_folder)]
    if "--output" not in filled:
        filled += ["--output", str(tmp_path / "results")]
    outcome = zeroline("score", *filled)
    assert outcome.exit_code == code, outcome.output
    last = outcome.output.strip().splitlines()[-1]
    assert last.startswith("Error: ")
    assert len([line for line in outcome.output.splitlines() if line]) == 1
    assert message in last
    assert "Traceback" not in outcome.output


def test_debug_shows_the_traceback(bundle_folder, tmp_path):
    for arguments in (["--debug", "score", "none"], ["score", "none", "--debug"]):
        run = subprocess.run(
            [sys.executable, "-m", "zeroline.edge_app", *arguments],
            capture_output=True,
            text=True,
            check=False,
            cwd=tmp_path,
        )
        assert run.returncode == 1
        assert "Traceback" in run.stderr
        assert 'InputError: "none" does not exist' in run.stderr


def test_a_picture_that_is_too_large_gets_one_line(image_folder, bundle_folder, out):
    """Pillow warns of a size over 89 million pixels, in two lines of its own."""
    header = struct.pack(
        "<2sIHHIIiiHHIIiiII", b"BM", 54, 0, 0, 54, 40, 11000, 11000, 1, 24, *[0] * 6
    )
    (image_folder / "huge.bmp").write_bytes(header)
    arguments = ["score", image_folder, "--model", bundle_folder, "--output", out]
    run = subprocess.run(
        [sys.executable, "-m", "zeroline.edge_app", *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 1
    assert "Warning" not in run.stdout + run.stderr
    (told,) = [line for line in (run.stdout + run.stderr).splitlines() if "huge.bmp" in line]
    assert "11000×11000 pixels, at most 80 million are read" in told


def test_more_memory_than_there_is_is_refused_before_the_start(own_bundle, tmp_path, monkeypatch):
    """A thousand large images would take 60 GB and more; none of them is read."""
    folder = tmp_path / "many"
    folder.mkdir()
    for number in range(60):
        (folder / f"{number}.png").write_text("never opened")
    monkeypatch.setattr("zeroline.edge_app.memory.available_memory", lambda: 2_000_000)
    outcome = zeroline("score", folder, "--model", own_bundle, "--output", tmp_path / "out")
    assert outcome.exit_code == 1
    assert re.search(
        r'scoring 60 images as one set with "bundle" takes 0\.0 GiB, 0\.0 GiB are free: '
        r"use --subset \d+",
        outcome.output,
    )
    assert not (tmp_path / "out" / "scores.csv").exists()
    monkeypatch.undo()
    assert 2**20 < available_memory() < 2**50


def test_a_full_disk_leaves_no_half_csv(image_folder, bundle_folder, out):
    """The file size limit of the process stands in for the disk: both fail the write itself."""
    arguments = ["score", image_folder, "--model", bundle_folder, "--output", out]
    assert zeroline(*arguments).exit_code == 0
    before = (out / "scores.csv").read_bytes()
    run = subprocess.run(
        [sys.executable, "-m", "zeroline.edge_app", *map(str, arguments), "--threshold", "1"],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "NUMBA_DISABLE_JIT": "0"},
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (200, 200)),
    )
    assert run.returncode == 1
    assert re.search(r'Error: ".*scores.csv" could not be written: File too large', run.stderr)
    assert (out / "scores.csv").read_bytes() == before
    assert not [p for p in out.iterdir() if p.name.endswith(".part")]


def test_evaluate_reads_three_layouts(bundle_folder, tmp_path, paint):
    def save(frame, path):
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(frame).save(path)

    mask = np.zeros((96, 96), np.uint8)
    mask[48:54, 24:48] = 255
    root = tmp_path / "sets"
    for n in range(8):
        bad = n < 2
        frame = paint(n, scratch=bad)
        save(frame, root / "mvtec" / "test" / ("scratch" if bad else "good") / f"{n}.png")
        save(frame, root / "btad" / "test" / ("ko" if bad else "ok") / f"{n}.bmp")
        visa = root / "visa" / "Data"
        save(frame, visa / "Images" / ("Anomaly" if bad else "Normal") / f"{n}.JPG")
        if bad:
            save(mask, root / "mvtec" / "ground_truth" / "scratch" / f"{n}_mask.png")
            save(mask, root / "btad" / "ground_truth" / "ko" / f"{n}.png")
            save(mask // 255, visa / "Masks" / "Anomaly" / f"{n}.png")  # VisA's masks are 0 and 1
    out = tmp_path / "out"
    arguments = ["--model", bundle_folder, "--output", out, "--rscin", "off"]
    outcome = zeroline("evaluate", root, *arguments)
    assert outcome.exit_code == 0, outcome.output
    metrics = json.loads((out / "metrics.json").read_text())
    assert set(metrics) == {"mvtec", "btad", "visa"}
    assert list(metrics["mvtec"]) == [
        "image_auroc", "image_f1max", "image_ap", "pixel_auroc", "pixel_f1max", "pixel_ap",
        "aupro", "image_auroc_before_rscin", "image_ap_before_rscin",
    ]  # fmt: skip
    assert metrics["mvtec"] == pytest.approx(metrics["btad"])
    for figures in metrics.values():
        assert figures["image_auroc"] == 1
        assert figures["pixel_auroc"] > 0.9
    verdicts = json.loads((out / "verdicts.json").read_text())
    assert verdicts["mvtec"]["good"] == 6
    assert verdicts["mvtec"]["defective"] == 2
    assert all(name in outcome.output for name in metrics)

    (root / "mvtec" / "ground_truth" / "scratch" / "0_mask.png").unlink()
    outcome = zeroline("evaluate", root / "mvtec", *arguments, "--draw", "all")
    pictures = list((out / "overlays" / "mvtec").iterdir())
    assert len(pictures) == len(list((root / "mvtec" / "test").glob("*/*.png")))
    assert outcome.exit_code == 0
    assert "mvtec: masks are missing" in outcome.output
    figures = json.loads((out / "metrics.json").read_text())["mvtec"]
    assert figures["pixel_auroc"] is None
    assert figures["image_auroc"] == 1


@pytest.mark.parametrize("spelling", ["absolute", "dot", "link"])
def test_visa_takes_the_test_split(bundle_folder, tmp_path, paint, monkeypatch, spelling):
    images = tmp_path / "pcb" / "Data" / "Images"
    listed = []
    for n in range(6):
        kind = "Anomaly" if n == 0 else "Normal"
        (images / kind).mkdir(parents=True, exist_ok=True)
        Image.fromarray(paint(n, scratch=n == 0)).save(images / kind / f"{n}.JPG")
        split = "train" if n == 5 else "test"
        listed.append(f"pcb,{split},{kind.lower()},pcb/Data/Images/{kind}/{n}.JPG,")
    (tmp_path / "split_csv").mkdir()
    (tmp_path / "split_csv" / "1cls.csv").write_text(
        "object,split,label,image,mask\n" + "\n".join(listed) + "\n"
    )
    out = tmp_path / "out"
    folder = tmp_path / "pcb"
    if spelling == "dot":
        monkeypatch.chdir(folder)
        folder = "."
    elif spelling == "link":
        folder = tmp_path / "link"
        folder.symlink_to(tmp_path / "pcb")
    outcome = zeroline("evaluate", folder, "--model", bundle_folder, "--output", out)
    assert outcome.exit_code == 0, outcome.output
    assert json.loads((out / "verdicts.json").read_text())["pcb"]["good"] == 4


@pytest.mark.parametrize("mode", ["L", "1", "P", "RGB", "RGBA", "I;16"])
def test_masks_of_any_mode(tmp_path, mode):
    """Only a value over 0 counts; a dark colour or palette entry was once taken for background."""
    truth = np.zeros((8, 8), bool)
    truth[2:5, 3:6] = True
    if mode == "P":
        mask = Image.fromarray(truth.astype(np.uint8), "P")
        mask.putpalette([0, 0, 0, 0, 0, 1])
    elif mode == "I;16":
        mask = Image.fromarray(truth.astype(np.uint16))
    elif mode in ("RGB", "RGBA"):
        colour = np.zeros((8, 8, len(mode)), np.uint8)
        colour[..., 2] = truth
        colour[..., 3:] = 255
        mask = Image.fromarray(colour, mode)
    else:
        mask = Image.fromarray(truth.astype(np.uint8) * (255 if mode == "1" else 1)).convert(mode)
    mask.save(tmp_path / "mask.png")
    np.testing.assert_array_equal(read_mask(tmp_path / "mask.png", size=8), truth)
    assert read_mask(tmp_path / "mask.png", size=16).sum() == pytest.approx(36, abs=8)
    assert not read_mask(None, size=8).any()


def test_evaluate_refuses(bundle_folder, tmp_path, paint):
    folder = tmp_path / "visa" / "pcb" / "Data" / "Images" / "Normal"
    folder.mkdir(parents=True)
    Image.fromarray(paint(0)).save(folder / "0.png")
    (tmp_path / "visa" / "split_csv").mkdir()
    for content in (b"a,b\n1,2\n", b"object,split,image\n\xff\xfe,,\n"):
        (tmp_path / "visa" / "split_csv" / "1cls.csv").write_bytes(content)
        outcome = zeroline("evaluate", tmp_path / "visa" / "pcb", "--model", bundle_folder)
        assert outcome.exit_code == 1
        assert "columns object, split and image is expected" in outcome.output
    test = tmp_path / "set" / "test"
    for kind in ("good", "bad"):
        (test / kind).mkdir(parents=True)
        Image.fromarray(paint(1)).save(test / kind / "0.png")
    (tmp_path / "set" / "ground_truth" / "bad").mkdir(parents=True)
    (tmp_path / "set" / "ground_truth" / "bad" / "0_mask.png").write_text("no mask")
    outcome = zeroline("evaluate", tmp_path / "set", "--model", bundle_folder)
    assert outcome.exit_code == 1
    assert '0_mask.png" cannot be read' in outcome.output
    outcome = zeroline("evaluate", tmp_path / "set" / "test", "--model", bundle_folder)
    assert outcome.exit_code == 1
    assert "has no known layout" in outcome.output
    outcome = zeroline("evaluate", tmp_path / "no", "--model", bundle_folder)
    assert outcome.exit_code == 1
    assert "is not a folder" in outcome.output
