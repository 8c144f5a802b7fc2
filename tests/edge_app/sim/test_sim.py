"""The simulated line: the same again by its seed, truthful about its defects, hard to misuse."""

import csv
import subprocess
import sys
import time

import cv2
import numpy as np
import pytest
from click.testing import CliRunner

from zeroline.edge_app.batch.datasets import find_datasets
from zeroline.edge_app.cli import main
from zeroline.edge_app.errors import InputError
from zeroline.edge_app.sim.line import EMPTY, GOOD, SimulatedLine
from zeroline.edge_app.sim.settings import KINDS, TOOL_MARK, LineSettings, settings_from
from zeroline.edge_app.sim.writing import write_dataset

SIZE = 160


def frames(**settings):
    return list(SimulatedLine(LineSettings(**{"size": SIZE, **settings})))


def sim(*arguments):
    return CliRunner().invoke(main, ["sim", *(str(a) for a in arguments)])


def test_the_same_seed_shows_the_same_frames():
    settings = {"parts": 6, "defects": 0.5, "empty": 0.3, "tool_marks": 0.3, "seed": 5}
    first, again = frames(**settings), frames(**settings)
    assert [f.kind for f in first] == [f.kind for f in again]
    for a, b in zip(first, again, strict=True):
        np.testing.assert_array_equal(a.image, b.image)
        np.testing.assert_array_equal(a.mask, b.mask)
    other = frames(**{**settings, "seed": 6})
    assert not np.array_equal(other[0].image, first[0].image)


def test_a_part_does_not_depend_on_the_line_round_it():
    """So that a longer line, or one with stops, has the same parts."""
    alone = frames(parts=3, defects=0.5)
    line = frames(parts=5, defects=0.5, stop_every=2, stop_frames=2, empty=0.4, rate=1000.0)
    among = {f.part: f for f in reversed(line)}  # the first look at each
    for frame in alone:
        assert among[frame.part].kind == frame.kind
        np.testing.assert_array_equal(among[frame.part].image, frame.image)
        np.testing.assert_array_equal(among[frame.part].mask, frame.mask)


@pytest.mark.parametrize("kind", KINDS)
def test_a_defect_is_where_its_mask_says_and_no_larger_than_asked(kind):
    changed = {"size": 480, "parts": 4, "seed": 2, "kinds": (kind,), "variation": 0.0}
    bad, good = frames(**changed, defects=1.0), frames(**changed, defects=0.0)
    for with_it, without in zip(bad, good, strict=True):
        assert (with_it.kind, without.kind) == (kind, GOOD)
        assert with_it.defective
        assert not without.mask.any()
        share = with_it.mask.sum() / with_it.part_area
        assert 0.0005 < share <= 0.01
        # noise is the same in both, so what differs is the defect and its shading
        difference = np.abs(with_it.image.astype(int) - without.image).max(axis=2)
        assert difference[with_it.mask].mean() > 8
        near, beside = (
            cv2.dilate(with_it.mask.astype(np.uint8), np.ones((side, side))) for side in (5, 15)
        )
        changed_much = difference > 8
        assert changed_much[near > 0].sum() >= 0.8 * changed_much.sum()
        assert difference[beside == 0].max() <= 2


@pytest.mark.parametrize("size", [64, 160, 480])
@pytest.mark.parametrize("kind", [*KINDS, TOOL_MARK])
def test_every_defect_has_a_mask(size, kind):
    """Thin lines had none in small frames."""
    changed = {"tool_marks": 1.0} if kind == TOOL_MARK else {"kinds": (kind,)}
    shown = frames(size=size, parts=12, defects=1.0, defect_area=0.001, **changed)
    assert all(f.kind == kind and f.mask.any() for f in shown)


def test_a_fainter_defect_differs_less():
    changed = {"size": 480, "parts": 3, "kinds": ("stain",), "variation": 0.0}
    good = frames(**changed, defects=0.0)

    def contrast(strength):
        bad = frames(**changed, defects=1.0, strength=strength)
        pairs = zip(bad, good, strict=True)
        return np.mean([np.abs(b.image.astype(int) - g.image)[b.mask].mean() for b, g in pairs])

    assert contrast(0.3) < 0.5 * contrast(1.0)


def test_tool_marks_begin_where_asked_and_stay_in_place():
    marked = frames(parts=12, defects=0.0, tool_marks=1.0, tool_marks_from=4, variation=0.0)
    assert [f.kind for f in marked] == [GOOD] * 4 + [TOOL_MARK] * 8
    middles = np.array([np.argwhere(f.mask).mean(axis=0) for f in marked[4:]])
    assert middles.std(axis=0).max() < SIZE * 0.01
    share = np.mean([f.kind == TOOL_MARK for f in frames(parts=150, size=64, tool_marks=0.25)])
    assert 0.15 < share < 0.35


def test_shares_are_those_asked_for():
    line = SimulatedLine(LineSettings(defects=0.2, kinds=("dent", "crack")))
    kinds = [line.kind_of(part) for part in range(2000)]
    assert abs(np.mean([kind != GOOD for kind in kinds]) - 0.2) < 0.03
    assert set(kinds) == {GOOD, "dent", "crack"}
    empty = [f.kind == EMPTY for f in frames(parts=200, size=64, empty=0.4)]
    assert abs(np.mean(empty) - 0.4) < 0.06


def test_a_stopped_belt_shows_one_part_again_and_again():
    shown = frames(parts=4, stop_every=3, stop_frames=5)
    assert [f.part for f in shown] == [0, 1, 2, 2, 2, 2, 2, 3]
    assert [f.number for f in shown] == list(range(8))
    still = np.abs(shown[2].image.astype(int) - shown[3].image).mean()
    moved = np.abs(shown[1].image.astype(int) - shown[2].image).mean()
    assert 0 < still < 0.5 * moved  # the sensor's noise alone


def test_a_second_lot_looks_different():
    first = frames(parts=1, variation=0.0)[0].image
    second = frames(parts=1, variation=0.0, second_lot=1.0)[0].image
    assert second.mean() < first.mean() - 2


def test_good_parts_vary_as_asked():
    def spread(variation):
        stack = np.stack([f.image for f in frames(parts=6, defects=0.0, variation=variation)])
        return stack.astype(float).std(axis=0).mean()

    assert spread(0.0) < 0.7 * spread(1.0) < 0.9 * spread(2.0)


def test_a_rate_paces_the_frames():
    begin = time.monotonic()
    frames(parts=6, size=64, rate=20.0)
    assert time.monotonic() - begin > 5 / 20


def test_an_address_sets_the_line():
    settings = settings_from("sim://parts?seed=3&parts=10&kinds=dent,crack&tool_marks=0.25&rate=4")
    assert (settings.seed, settings.parts, settings.rate) == (3, 10, 4.0)
    assert (settings.kinds, settings.tool_marks) == (("dent", "crack"), 0.25)
    assert settings_from("sim://parts").parts is None


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("sim://labels", "is not simulated: sim://parts, sim://ring, sim://connector are"),
        ("sim://parts?defect=1", 'no setting "defect"; did you mean "defects"'),
        ("sim://parts?zzz=1", 'no setting "zzz"; allowed: seed, parts'),
        ("sim://parts?defects=2", "defects=2: less than or equal to 1 is expected"),
        ("sim://parts?parts=0", "parts=0: greater than or equal to 1"),
        ("sim://parts?rate=nan", "rate=nan"),
        ("sim://parts?seed=", "seed=: a valid integer is expected"),
        ("sim://[parts", "is no address"),
        ("sim://parts?seed=1&seed=2", 'setting "seed" is given twice'),
        ("sim://parts?kinds=dent,rust", "kinds=dent,rust: 'scratch', 'dent', "),
        ("sim://parts?kinds=", "kinds="),
    ],
)
def test_a_wrong_address_is_told_in_one_line(address, message):
    with pytest.raises(InputError, match=message) as caught:
        settings_from(address)
    assert "\n" not in str(caught.value)


def test_a_labelled_folder_is_what_evaluate_reads(tmp_path):
    out = tmp_path / "line"
    options = ("--parts", 12, "--size", SIZE, "--defects", 0.5, "--empty", 0.2)
    done = sim("--output", out, *options, "--stop-every", 4, "--stop-frames", 3)
    assert done.exit_code == 0, done.output
    assert "12 images: " in done.output
    (dataset,) = find_datasets([out])
    assert len(dataset.samples) == 12
    truth = {f.part: f for f in frames(parts=12, defects=0.5)}
    for sample in dataset.samples:
        frame = truth[int(sample.file.path.stem)]
        assert sample.file.path.parent.name == frame.kind
        assert sample.defective == frame.defective
        np.testing.assert_array_equal(sample.mask(size=SIZE), frame.mask)
    again = sim("--output", out, *options)
    assert again.exit_code == 1
    assert "holds a data set already" in again.output


@pytest.mark.parametrize("suffix", [".avi", ".mp4"])
def test_a_video_has_every_frame_and_its_truth(tmp_path, suffix):
    path = tmp_path / f"line{suffix}"
    options = {"parts": 5, "empty": 0.3, "stop_every": 4, "stop_frames": 3, "defects": 0.5}
    flags = [part for k, v in options.items() for part in (f"--{k.replace('_', '-')}", v)]
    done = sim("--video", path, "--size", SIZE, "--rate", 12, *flags)
    assert done.exit_code == 0, done.output
    shown = frames(**options)
    with path.with_suffix(".csv").open(newline="") as file:
        table = list(csv.DictReader(file))
    assert [row["kind"] for row in table] == [f.kind for f in shown]
    assert [row["part"] for row in table] == ["" if f.part is None else str(f.part) for f in shown]
    video = cv2.VideoCapture(str(path))
    assert video.get(cv2.CAP_PROP_FPS) == pytest.approx(12)
    for frame in shown:
        read, image = video.read()
        assert read
        assert np.abs(image.astype(int) - frame.image).mean() < 6
    assert not video.read()[0]
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted(["line.csv", path.name])
    again = sim("--video", path, "--size", SIZE)
    assert again.exit_code == 1
    assert f'"{path}" exists already' in again.output


def test_a_full_disk_leaves_no_video(tmp_path):
    """OpenCV writes half a file and says nothing."""
    script = "import resource, signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN);" + (
        "resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000));"
        "from zeroline.edge_app.cli import main; main()"
    )
    options = ["sim", "--video", "full.avi", "--parts", "20", "--size", str(SIZE)]
    done = subprocess.run(
        [sys.executable, "-c", script, *options],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "is not whole" in done.stderr
    assert not list(tmp_path.iterdir())


def test_an_interrupted_folder_leaves_nothing(tmp_path):
    def interrupted():
        yield from frames(parts=2)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_dataset(interrupted(), tmp_path, lambda _: None)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        ([], 2, "one of --output DIR and --video FILE is expected"),
        (["--output", "a", "--video", "b.avi"], 2, "one of --output DIR and --video FILE"),
        (["--video", "line.gif"], 1, 'video "line.gif": .avi or .mp4 is expected'),
        (["--output", "a", "--defects", "2"], 2, "--defects 2: less than or equal to 1"),
        (["--video", "a.avi", "--rate", "0.5"], 1, "rate 0.5: at least 1 frame in a second"),
        (["--video", "a.mp4", "--size", "65"], 1, "size 65x65: even numbers are expected"),
    ],
)
def test_wrong_use_is_told_in_one_line(arguments, code, message):
    done = sim(*arguments)
    assert done.exit_code == code
    assert message in done.output
    assert done.output.count("\n") == 1
