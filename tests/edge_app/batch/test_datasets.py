"""Labelled folders: which images are good, which masks are theirs, and what is told."""

import json
import re
import shutil

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from zeroline.edge_app.batch.datasets import find_datasets
from zeroline.edge_app.cli import main
from zeroline.edge_app.errors import InputError

SIZE = 32


def save(path, *, marked=False, shape=(24, 32), **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.full(shape, 90, np.uint8) + np.arange(shape[1], dtype=np.uint8)
    pixels[8:16, 8:16] += 100 * marked
    Image.fromarray(pixels).save(path, **options)


def save_mask(path, place=(slice(8, 16), slice(8, 16)), shape=(24, 32)):
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.zeros(shape, np.uint8)
    pixels[place] = 255
    Image.fromarray(pixels).save(path)


@pytest.fixture
def folder(tmp_path):
    """Layout of MVTec AD: three good images, two scratches, one hole."""
    root = tmp_path / "set"
    for number in range(3):
        save(root / "test" / "good" / f"{number}.png")
    for name in ("scratch/0", "scratch/1", "hole/0"):
        save(root / "test" / f"{name}.png", marked=True)
        save_mask(root / "ground_truth" / f"{name}_mask.png")
    return root


def opened(folder):
    (dataset,) = find_datasets([folder])
    return dataset


def check(dataset, *, remarks=()):
    """Compare a data set with the folder of the fixture."""
    assert [s.defective for s in dataset.samples].count(False) == 3
    bad = [s for s in dataset.samples if s.defective]
    assert len(bad) == 3
    assert all(sample.mask(size=SIZE).sum() > 60 for sample in bad)
    assert dataset.has_masks
    assert len(dataset.remarks) == len(remarks)
    for remark, pattern in zip(dataset.remarks, remarks, strict=True):
        assert re.search(pattern, remark)


@pytest.mark.parametrize("name", ["good", "Good", "GOOD", "OK", "ok", "Normal", "normal"])
def test_good_is_good_in_any_case(folder, name):
    """test/Good counted as defective: "false alarms 0/0", and no word of it."""
    (folder / "test" / "good").rename(folder / "test" / name)
    check(opened(folder))


def test_names_of_folders_in_any_case(folder):
    (folder / "test").rename(folder / "Test")
    (folder / "Test" / "scratch").rename(folder / "Test" / "Scratch")
    (folder / "ground_truth").rename(folder / "Ground_Truth")
    check(opened(folder))


@pytest.mark.parametrize(
    "name", ["{}.png", "{}_gt.png", "{}_GT.bmp", "{}-label.png", "mask_{}.png", "{}/000.png"]
)
def test_other_names_of_masks(folder, name):
    for path in list((folder / "ground_truth").rglob("*.png")):
        stem = path.stem.removesuffix("_mask")
        path.rename(path.with_name("moved"))
        (path.parent / name.format(stem)).parent.mkdir(exist_ok=True)
        (path.parent / "moved").rename(path.parent / name.format(stem))
    check(opened(folder))


def test_masks_that_match_nothing_are_told_with_the_names_that_do(folder):
    truth = folder / "ground_truth" / "scratch"
    (truth / "0_mask.png").rename(truth / "first.png")
    dataset = opened(folder)
    assert not dataset.has_masks
    missing, unmatched = dataset.remarks
    assert missing == (
        "masks are missing for 1 of 3 defective images (scratch/0.png), no pixel metrics"
    )
    assert f"1 mask(s) match no image ({truth / 'first.png'}): 000_mask.png, 000_gt" in unmatched


def test_several_masks_of_an_image_are_one(folder):
    """As MVTec LOCO has them."""
    truth = folder / "ground_truth" / "hole"
    (truth / "0").mkdir()
    (truth / "0_mask.png").rename(truth / "0" / "000.png")
    one = opened(folder).samples[3].mask(size=SIZE).sum()
    save_mask(truth / "0" / "001.png", (slice(18, 22), slice(20, 28)))
    check(opened(folder))
    sample = next(s for s in opened(folder).samples if s.kind == "hole")
    assert len(sample.masks) == 2
    assert sample.mask(size=SIZE).sum() > one + 30


def test_kinds_in_folders_of_their_own(folder):
    """They were dropped without a word."""
    for root in (folder / "test", folder / "ground_truth"):
        (root / "defect").mkdir()
        for kind in ("scratch", "hole"):
            (root / kind).rename(root / "defect" / kind)
    (folder / "test" / "good" / "monday").mkdir()
    (folder / "test" / "good" / "0.png").rename(folder / "test" / "good" / "monday" / "0.png")
    (folder / "test" / "good" / "monday" / "back").symlink_to(folder / "test" / "good")
    dataset = opened(folder)
    check(dataset)
    assert {s.kind for s in dataset.samples if s.defective} == {"defect/scratch", "defect/hole"}


@pytest.mark.parametrize("beside", ["0.png", "gt/0.png"])
def test_masks_beside_their_images_are_no_images(folder, beside):
    shutil.rmtree(folder / "ground_truth")
    for kind in ("scratch", "hole"):
        for path in list((folder / "test" / kind).iterdir()):
            with Image.open(path) as image:
                image.convert("RGB").save(path.with_suffix(".jpg"))
            path.unlink()
            save_mask(path.parent / beside.replace("0", path.stem))
    check(opened(folder))


def test_images_of_no_kind_are_told(folder):
    save(folder / "test" / "loose.png")
    check(opened(folder), remarks=[r"1 image\(s\) of no kind were not read \(loose.png\)"])


def test_a_turned_picture_and_its_mask(folder):
    exif = Image.Exif()
    exif[0x0112] = 6
    save(folder / "test" / "hole" / "0.png", marked=True, shape=(32, 24), exif=exif)
    check(opened(folder))
    save_mask(folder / "ground_truth" / "hole" / "0_mask.png", shape=(32, 24))
    with pytest.raises(InputError, match="has 24×32 pixels, its picture 32×24"):
        check(opened(folder))


def test_a_set_without_good_or_without_bad_images_says_so(folder):
    whole = folder / "test"
    (whole / "good").rename(whole / "perfect")
    (remark, missing) = opened(folder).remarks
    assert remark == (
        "no good image: all folders are defects (hole, perfect, scratch); "
        "good ones lie in a folder called good, normal or ok"
    )
    assert missing.startswith("masks are missing for 3 of 6")
    (whole / "perfect").rename(whole / "ok")
    for kind in ("scratch", "hole"):
        shutil.rmtree(whole / kind)
    assert opened(folder).remarks == ["no defective image: all folders are good (ok)"]


@pytest.fixture
def visa(tmp_path):
    """VisA: an image of each kind for the training, others for the test."""
    listed = []
    for number in range(6):
        kind = "Anomaly" if number < 2 else "Normal"
        name = f"plate/Data/Images/{kind}/{number}.JPG"
        save(tmp_path / name, marked=number < 2, format="JPEG")
        split = "train" if number == 5 else "test"
        listed.append(["plate", split, kind.lower(), name, ""])
        if number < 2:
            save_mask(tmp_path / "plate" / "Data" / "Masks" / kind / f"{number}.png")
    (tmp_path / "split_csv").mkdir()

    def write(change=lambda text: text, separator=",", encoding="utf-8"):
        rows = [["object", "split", "label", "image", "mask"], *listed]
        text = "".join(separator.join(row) + "\r\n" for row in rows)
        path = tmp_path / "split_csv" / "1cls.csv"
        path.write_bytes(change(text).encode(encoding))
        return tmp_path / "plate"

    return write


@pytest.mark.parametrize(
    "saved",
    [
        {},
        {"encoding": "utf-8-sig"},
        {"encoding": "utf-16"},
        {"separator": ";"},
        {"separator": "\t"},
        {"change": lambda text: text.replace("/", "\\")},
        {"change": lambda text: text.replace("plate/D", "./plate/D")},
        {"change": lambda text: text.replace("object,split", "Object, Split")},
    ],
)
def test_the_split_of_visa_as_spreadsheets_save_it(visa, saved):
    dataset = opened(visa(**saved))
    assert [s.defective for s in dataset.samples] == [True, True, False, False, False]
    assert dataset.has_masks
    assert dataset.remarks == []


def test_a_split_that_does_not_fit_is_told(visa):
    dataset = opened(visa(lambda text: text.replace("/4.JPG", "/4.png")))
    assert len(dataset.samples) == 4
    (remark,) = dataset.remarks
    assert "1 image(s) of the test split are not there (plate/Data/Images/Normal/4.png)" in remark
    with pytest.raises(InputError, match='no image of "plate" in its test split, only of board'):
        opened(visa(lambda text: text.replace("plate,", "board,")))
    with pytest.raises(InputError, match="no image is in the test split"):
        opened(visa(lambda text: text.replace(".JPG", ".bmp")))
    for content in ("", "object,split,image", "a,b\n1,2\n", "object,split,image\nplate,test"):
        with pytest.raises(InputError, match=r"1cls\.csv"):
            opened(visa(lambda text, content=content: content))


def test_evaluate_says_why_a_figure_is_missing(bundle_folder, paint, tmp_path):
    root = tmp_path / "line"
    for number in range(6):
        path = root / "test" / ("scratch" if number < 2 else "Fine") / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(paint(number, scratch=number < 2)).save(path)

    def evaluate():
        arguments = ["evaluate", root, "--model", bundle_folder, "--output", tmp_path / "out"]
        done = CliRunner().invoke(main, [*map(str, arguments)])
        assert done.exit_code == 0, done.output
        return done.stderr, json.loads((tmp_path / "out" / "metrics.json").read_text())["line"]

    told, figures = evaluate()
    assert "warning: line: no good image: all folders are defects (Fine, scratch)" in told
    assert 'line: "-": 0 good and 6 defective images were scored, metrics compare both' in told
    assert figures["image_auroc"] is None
    (root / "test" / "Fine").rename(root / "test" / "ok")
    told, figures = evaluate()
    assert "masks are missing for 2 of 2 defective images (scratch/0.png, scratch/1.png)" in told
    assert "good image" not in told
    assert '"-"' not in told
    assert figures["image_auroc"] is not None
    assert figures["pixel_auroc"] is None
    save_mask(root / "ground_truth" / "scratch" / "0.png", (slice(0, 96),) * 2, (96, 96))
    save_mask(root / "ground_truth" / "scratch" / "1.png", (slice(0),) * 2, (96, 96))
    told, _ = evaluate()
    assert "1 mask(s) of defective images are empty, such as of scratch/1.png" in told
    assert "1 mask(s) cover over 90% of the image, such as of scratch/0.png" in told
