"""The ring and the connector: each with its defects on it, at any turn."""

import cv2
import numpy as np
import pytest
from click.testing import CliRunner

from zeroline.edge_app.batch.datasets import find_datasets
from zeroline.edge_app.cli import main
from zeroline.edge_app.errors import InputError
from zeroline.edge_app.sim import camera
from zeroline.edge_app.sim.defects import damage
from zeroline.edge_app.sim.line import GOOD, SimulatedLine
from zeroline.edge_app.sim.parts import PARTS
from zeroline.edge_app.sim.settings import KINDS, TOOL_MARK, LineSettings, settings_from

OTHERS = [name for name in PARTS if name != "plate"]


def frames(**settings):
    return list(SimulatedLine(LineSettings(**settings)))


def made(part, *, seed=0, size=160, missing=None, **settings):
    settings = {"variation": 1.0, "second_lot": False, **settings}
    return PARTS[part].make(size, np.random.default_rng(seed), missing=missing, **settings)


def near(mask, side):
    return cv2.dilate(mask.astype(np.uint8), np.ones((side, side))) > 0


@pytest.mark.parametrize("kind", [*KINDS, TOOL_MARK])
@pytest.mark.parametrize("part", OTHERS)
def test_a_defect_is_on_the_part_and_where_its_mask_says(part, kind):
    line = {"part": part, "parts": 4, "size": (360, 320), "seed": 2, "variation": 0.0}
    line |= {"place": 0.05, "turn": 180.0}
    marked = {"tool_marks": 1.0} if kind == TOOL_MARK else {"kinds": (kind,)}
    pairs = zip(frames(**line, **marked, defects=1.0), frames(**line, defects=0.0), strict=True)
    covers = [made(part, size=320, missing=missing).cover for missing in (None, 0)]
    cover = np.maximum(*covers)  # a notch is no part of the good ring
    for bad, good in pairs:
        assert (bad.kind, good.kind) == (kind, GOOD)
        assert 0.0005 < bad.mask.sum() / good.part_area < 0.015
        on_part = camera.placed(cover, bad.pose, bad.mask.shape) > 0
        assert (on_part | ~bad.mask).all()
        # noise is nearly the same in both, so what differs is the defect and its shading
        difference = np.abs(bad.image.astype(int) - good.image).max(axis=2)
        assert difference[bad.mask].mean() > 6
        assert difference[~near(bad.mask, 21)].max() <= 3


@pytest.mark.parametrize("part", OTHERS)
@pytest.mark.parametrize("kind", [*KINDS, TOOL_MARK])
def test_every_defect_has_a_mask(part, kind):
    line = {"part": part, "size": 64, "parts": 8, "defects": 1.0, "defect_area": 0.003}
    marked = {"tool_marks": 1.0} if kind == TOOL_MARK else {"kinds": (kind,)}
    shown = frames(**line, **marked)
    assert all(frame.kind == kind and frame.mask.any() for frame in shown)


@pytest.mark.parametrize("part", PARTS)
def test_defects_begin_on_the_face(part):
    """Dents and stains lie whole on it, cracks run into it."""
    cover, rng = made(part).cover > 0.5, np.random.default_rng(1)
    face = cv2.erode(cover.astype(np.uint8), np.ones((11, 11))) > 0  # 0.034 of the side

    def at(plane, place):
        return plane[tuple(np.int32((place + 0.5) * 160)[::-1])]

    assert all(at(face, PARTS[part].place(rng)) for _ in range(500))
    cracks = [PARTS[part].crack_start(rng) for _ in range(500)]
    assert all(at(cover, s + 0.02 * np.array((np.cos(t), np.sin(t)))) for s, t in cracks)
    assert at(cover, PARTS[part].tool_mark.T).all()


@pytest.mark.parametrize("kind", ["scratch", "crack"])
@pytest.mark.parametrize("part", PARTS)
def test_a_line_that_runs_over_the_edge_is_a_defect_of_the_part_alone(part, kind):
    over = 0
    for seed in range(30):
        surface = made(part, size=96)
        before = surface.tone.copy()
        rng = np.random.default_rng(seed)
        footprint = damage(PARTS[part], surface, kind, rng, largest=0.02)
        assert footprint.max() > 0.2
        assert (footprint <= surface.cover).all()
        over += (surface.tone != before)[surface.cover == 0].any()
    assert over > 0


@pytest.mark.parametrize("part", PARTS)
def test_what_is_missing_was_there(part):
    """The footprint of a feature is where a part without it differs from a good one."""
    good = made(part)
    feature = PARTS[part].feature
    together = np.sum([feature(160, n) for n in range(PARTS[part].features)], axis=0)
    assert together.max() == 1  # each is somewhere else
    for number in range(PARTS[part].features):
        without = made(part, missing=number)
        changed = (np.abs(without.tone - good.tone) > 0.1) | (without.cover != good.cover)
        footprint = feature(160, number) > 0
        assert changed[footprint].mean() > 0.5
        assert not changed[~near(footprint, 7)].any()


@pytest.mark.parametrize("part", OTHERS)
def test_good_parts_vary_as_asked(part):
    """The part itself, without its pose and the light."""

    def spread(variation):
        tones = np.stack([made(part, seed=s, variation=variation).tone for s in range(6)])
        return tones[:, made(part).cover > 0.99].std(axis=0).mean()

    assert 0.5 * spread(2.0) < 1.2 * spread(1.0) < spread(2.0)
    assert made(part, second_lot=True).tone.mean() < made(part).tone.mean() - 0.005


@pytest.mark.parametrize("part", OTHERS)
def test_a_part_is_not_its_own_half_turn(part):
    """So that the wrong way up can be told."""
    surface = made(part, variation=0.0)
    turned = surface.tone[::-1, ::-1] * surface.cover[::-1, ::-1]
    assert (np.abs(surface.tone * surface.cover - turned) > 0.1).mean() > 0.015


def test_an_address_says_the_part():
    for address, part in (("parts", "plate"), ("ring", "ring"), ("connector", "connector")):
        assert settings_from(f"sim://{address}?parts=3").part == part
    with pytest.raises(InputError, match='no setting "part"; did you mean "parts"'):
        settings_from("sim://ring?part=plate")
    with pytest.raises(InputError, match='"sim://plate" is not simulated: sim://parts, sim://ri'):
        settings_from("sim://plate")


def test_a_command_says_the_part(tmp_path):
    options = ["--part", "connector", "--parts", "4", "--size", "96x64", "--turn", "180"]
    done = CliRunner().invoke(main, ["sim", "--output", str(tmp_path / "line"), *options])
    assert done.exit_code == 0, done.output
    (dataset,) = find_datasets([tmp_path / "line"])
    shown = frames(part="connector", parts=4, size=(96, 64), turn=180.0)
    for sample, frame in zip(sorted(dataset.samples, key=lambda s: s.file.path.stem), shown,
                             strict=True):  # fmt: skip
        np.testing.assert_array_equal(cv2.imread(str(sample.file.path)), frame.image)
    done = CliRunner().invoke(main, ["sim", "--output", str(tmp_path / "b"), "--part", "bolt"])
    assert done.exit_code == 2
    assert "--part bolt: 'plate', 'ring' or 'connector' is expected" in done.output
    assert done.output.count("\n") == 1
