"""``zeroline threshold``: another threshold on the scores that `score` kept."""

import csv
import json
import re
import shutil

import click
import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from zeroline.edge_app.batch.embedding import Problem
from zeroline.edge_app.batch.kept import read_scores
from zeroline.edge_app.cli import main
from zeroline.edge_app.commands.told import end_without_pictures
from zeroline.edge_app.errors import InputError


def zeroline(*arguments):
    return CliRunner().invoke(main, [str(a) for a in arguments])


def rows(folder):
    with (folder / "scores.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.fixture
def score(image_folder, bundle_folder, tmp_path):
    def run(name, *options):
        arguments = ["--model", bundle_folder, "--output", tmp_path / name, *options]
        done = zeroline("score", image_folder, *arguments)
        assert done.exit_code == 0, done.output
        return tmp_path / name, done.stdout

    return run


@pytest.fixture
def results(score):
    return score("results")[0]


@pytest.mark.parametrize("setting", [("--false-alarm-rate", "0.05"), ("--threshold", "0.2")])
@pytest.mark.parametrize("sets", [(), ("--subset", "4"), ("--subset", "3", "--seed", "2")])
def test_verdicts_are_those_of_scoring_with_that_setting(score, setting, sets):
    direct, direct_text = score("direct", *setting, *sets)
    later, _ = score("later", *sets)
    assert rows(later) != rows(direct)
    done = zeroline("threshold", later, *setting)
    assert done.exit_code == 0, done.output
    assert (later / "scores.csv").read_bytes() == (direct / "scores.csv").read_bytes()
    assert done.stdout.replace(str(later), "") == direct_text.replace(str(direct), "")
    for name in sorted(path.name for path in (direct / "overlays").iterdir()):
        pictures = [np.asarray(Image.open(f / "overlays" / name)) for f in (direct, later)]
        # maps have passed through float16, so an outline may move by a pixel
        assert (np.abs(np.subtract(*pictures, dtype=int)).max(axis=2) > 8).mean() < 0.005, name
    reports = [(folder / "report.html").read_text("utf-8") for folder in (direct, later)]
    settings, again = (re.findall(r'<tr><td class="soft">(.*?)</td></tr>', r) for r in reports)
    assert settings == again


def test_an_image_that_joined_another_set_keeps_its_threshold(
    image_folder, bundle_folder, tmp_path
):
    for number in range(3):
        (image_folder / f"broken{number}.png").write_text("no image")
    folders = [tmp_path / "direct", tmp_path / "later"]
    arguments = ["--model", bundle_folder, "--subset", "2", "--draw", "none"]
    for seed in range(4):
        for folder, rate in zip(folders, ("0.05", "0.01"), strict=True):
            options = [*arguments, "--seed", seed, "--false-alarm-rate", rate, "--output", folder]
            assert zeroline("score", image_folder, *options).exit_code == 1
        assert zeroline("threshold", folders[1], "--false-alarm-rate", "0.05").exit_code == 0
        assert rows(folders[0]) == rows(folders[1])
        sets = read_scores(folders[1]).sets
        assert sorted(place for scored in sets for place in scored.places) == list(range(10))


def test_scores_are_kept_as_they_were(score, bundle_folder):
    folder, _ = score("results", "--maps", "--draw", "ng")
    with np.load(folder / "scores.npz", allow_pickle=False) as content:
        assert content["patch_scores"].dtype == np.float16
        assert content["scores"].dtype == content["raw_scores"].dtype == np.float32
    kept = read_scores(folder)
    (scored,) = kept.sets
    table = rows(folder)
    assert [file.name for file in scored.files] == [row["image"] for row in table]
    assert all(file.path.is_file() for file in scored.files)
    assert [f"{score:.6f}" for score in scored.scores] == [row["score"] for row in table]
    for file, patch_scores in zip(scored.files, scored.patch_scores, strict=True):
        whole = np.load(folder / "maps" / f"{file.name.replace('/', '__')}.npy")
        np.testing.assert_allclose(patch_scores, whole.ravel(), atol=6e-4)
    assert kept.draw == "ng"
    assert kept.settings["Threshold"] == "auto, false-alarm rate 0.01"
    maps = sorted((folder / "maps").iterdir())
    assert zeroline("threshold", folder, "--threshold", "2").exit_code == 0
    assert sorted((folder / "maps").iterdir()) == maps  # they depend on no threshold
    assert list((folder / "overlays").iterdir()) == []  # nothing is NG, and --draw was ng
    assert zeroline("threshold", folder, "--threshold", "0", "--draw", "all").exit_code == 0
    assert len(list((folder / "overlays").iterdir())) == 10
    assert {row["verdict"] for row in rows(folder)} == {"NG"}


def test_pictures_that_are_gone_are_told_and_the_table_is_written(results, image_folder):
    (image_folder / "bad" / "07.png").unlink()
    (image_folder / "good" / "03.png").write_text("no image")
    done = zeroline("threshold", results, "--threshold", "0")
    assert done.exit_code == 1
    assert "no picture: bad/07.png: " in done.stderr
    assert "no picture: good/03.png: not an image" in done.stderr
    assert "2 image(s) without a picture" in done.stderr
    assert len(done.stderr.splitlines()) == 3
    assert [row["verdict"] for row in rows(results)] == ["NG"] * 10
    overlays = {path.name for path in (results / "overlays").iterdir()}
    assert len(overlays) == 8
    assert "bad__07.png" not in overlays
    report = (results / "report.html").read_text("utf-8")
    assert report.count("data:image/jpeg;base64,") == 8
    assert "<td>bad/07.png</td>" in report  # without a picture, in the list


def test_a_folder_that_was_moved_is_told_in_a_few_lines(capsys):
    with pytest.raises(click.exceptions.Exit) as ended:
        end_without_pictures([Problem(f"{n}.png", "gone") for n in range(3000)])
    assert ended.value.exit_code == 1
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 11
    assert lines[-1] == "3000 image(s) without a picture"
    end_without_pictures([])


def test_images_that_were_left_out_stay_in_the_report(image_folder, bundle_folder, tmp_path):
    (image_folder / "text.png").write_text("not a picture")
    done = zeroline("score", image_folder, "--model", bundle_folder, "--output", tmp_path / "o")
    assert done.exit_code == 1
    assert zeroline("threshold", tmp_path / "o", "--threshold", "1").exit_code == 0
    assert "<td>text.png</td>" in (tmp_path / "o" / "report.html").read_text("utf-8")


def test_recurring_defects_are_kept(tmp_path, paint):
    folder = tmp_path / "parts"
    folder.mkdir()
    for number in range(40):
        frame = paint(number)
        if number >= 10 and number % 3 == 0:
            frame[40:52, 60:72] = np.random.default_rng(number).integers(225, 255)
        Image.fromarray(frame[:, :, ::-1]).save(folder / f"{number:02d}.png")
    out = tmp_path / "o"
    arguments = ["--model", "tiny", "--degrees", "fused", "--output", out, "--draw", "none"]
    done = zeroline("score", folder, *arguments, "--threshold", "1.5")
    assert done.exit_code == 0, done.output
    before = (out / "report.html").read_text("utf-8")
    again = zeroline("threshold", out, "--threshold", "1.5")
    assert again.exit_code == 0, again.output
    assert "recurring defect, one mark at one place, in 10 of 40 images" in again.stdout
    assert again.stdout == done.stdout
    after = (out / "report.html").read_text("utf-8")
    pictures = [
        re.findall(r'src="(data:[^"]*)" alt="recurring defect', text) for text in (before, after)
    ]
    assert len(pictures[0]) == 8
    assert pictures[0] == pictures[1]
    assert {row["verdict"] for row in rows(out) if row["recurring"] == "true"} == {"NG"}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([], "one of --threshold and --false-alarm-rate is expected"),
        (["--threshold", "1", "--false-alarm-rate", "0.1"], "one of --threshold and"),
        (["--threshold", "auto"], "'auto': a number from 0 to 2 is expected"),
        (["--threshold", "nan"], "a number from 0 to 2 is expected"),
        (["--false-alarm-rate", "0.6"], "0<x<=0.5"),
    ],
)
def test_exactly_one_setting_is_taken(results, options, message):
    done = zeroline("threshold", results, *options)
    assert done.exit_code == 2
    assert message in done.output
    assert len(done.output.splitlines()) == 1


def spoil(path, **changes):
    """Write a file again with changes in its header, or in its arrays."""
    with np.load(path, allow_pickle=False) as content:
        arrays = dict(content)
    header = json.loads(arrays["header"].tobytes())
    for name, value in changes.items():
        if name in arrays:
            arrays[name] = value
        else:
            header[name] = value
    arrays["header"] = np.frombuffer(json.dumps(header).encode(), np.uint8)
    np.savez(path, **arrays)


def refused(folder, message):
    done = zeroline("threshold", folder, "--threshold", "1")
    assert done.exit_code == 1, done.output
    assert re.fullmatch(rf"Error: .*{message}.*\n", done.output), done.output
    with pytest.raises(InputError, match=message):
        read_scores(folder)


def test_what_is_not_of_score_is_refused(results, tmp_path, score):
    refused(tmp_path / "nowhere", 'nowhere" is not a folder that "zeroline score" wrote')
    other, _ = score("other", "--rscin", "off", "--degrees", "1")
    path, before = results / "scores.npz", (results / "scores.csv").read_bytes()
    whole = path.read_bytes()
    shutil.copy(other / "scores.npz", path)
    refused(results, "and scores.csv beside it are of different runs: score the images again")
    path.write_bytes(whole)
    spoil(path, version=1)
    refused(results, r"is of version 1, this zeroline reads 3: score again")
    for changes in (
        {"scores": np.zeros(3, np.float32)},
        {"scores": np.full(10, np.nan, np.float32)},
        {"patch_scores": np.zeros((10, 64))},
        {"recurring": np.array(["x"] * 10)},
        {"set": np.full(10, 2**31 - 1, np.int32)},  # this would be counted up to
        {"set": np.full(10, -1, np.int32)},
        {"names": ["a"]},
        {"defects": [{"set": 0, "members": [99]}]},
        {"problems": 7},
    ):
        path.write_bytes(whole)
        spoil(path, **changes)
        refused(results, r'is damaged, or no file of "zeroline score"')
    np.savez(path, header=np.frombuffer(b"[" * 100_000, np.uint8))
    refused(results, "is damaged, .*nested too deep")
    path.write_bytes(whole)
    table = (results / "scores.csv").read_bytes()
    (results / "scores.csv").write_bytes(table.splitlines()[0] + b"\ngood/00.png\n")
    refused(results, "of different runs")
    (results / "scores.csv").write_bytes(table)
    for content in (b"", b"no archive", whole[: len(whole) // 2], json.dumps({}).encode()):
        path.write_bytes(content)
        refused(results, "is damaged")
    path.unlink()
    refused(results, r'holds no scores.npz: "zeroline score" of this version writes it')
    assert (results / "scores.csv").read_bytes() == before


def test_any_damaged_byte_is_told_in_one_line(results):
    path = results / "scores.npz"
    whole = path.read_bytes()
    rng = np.random.default_rng(0)
    for place in rng.integers(0, len(whole), 150).tolist():
        damaged = bytearray(whole)
        damaged[place] ^= int(rng.integers(1, 256))
        path.write_bytes(damaged)
        try:
            read_scores(results)  # a byte that nobody reads may be another
        except InputError as error:
            assert "scores.npz" in str(error)  # noqa: PT017


def test_scoring_again_replaces_what_was_kept(score):
    folder, _ = score("results")
    first = read_scores(folder).sets[0].scores
    score("results", "--degrees", "1")
    assert not np.array_equal(read_scores(folder).sets[0].scores, first)


def test_score_says_what_made_the_threshold(score):
    folder, text = score("results", "--false-alarm-rate", "0.02")
    threshold = float(rows(folder)[0]["threshold"])
    assert f"threshold {threshold:.3f}, at the false-alarm rate 0.02, from " in text
    assert "the rate is a mean: of 100 good parts none to five are NG" in text
    table = re.findall(r"^ *([\d.]+) +([\d.]+) +(\d+)(.*)$", text, re.M)
    assert [row[0] for row in table] == ["0.05", "0.02", "0.01", "0.005", "0.002"]
    assert [row[3].strip() for row in table] == ["", "in use", "", "", "extrapolated"]
    for rate, shown, ng, _ in table:
        assert zeroline("threshold", folder, "--false-alarm-rate", rate).exit_code == 0
        assert {f"{float(row['threshold']):.3f}" for row in rows(folder)} == {shown}
        assert sum(row["verdict"] == "NG" for row in rows(folder)) == int(ng)
    report = (folder / "report.html").read_text("utf-8")
    assert "The rate is a mean: of 1,000 good parts none to five are NG." in report
    assert "<h2>Threshold</h2>" in report
