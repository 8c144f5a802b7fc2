"""Training the bundled backbone, with a small teacher and photographs made here."""

import json
from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

torch = pytest.importorskip("torch", reason="PyTorch is not installed (extra train)")
pytest.importorskip("onnxscript", reason="onnxscript is not installed (extra train)")

from tiny import distil  # noqa: E402
from tiny.distil import Course, Training, errors_of  # noqa: E402
from tiny.pictures import Pictures, read_photographs  # noqa: E402
from tiny.ship import OUTPUTS, SIDE, Shipped, parity, ship, trained  # noqa: E402
from tiny.student import STRIDE, STUDENTS  # noqa: E402
from tiny.teacher import Teacher, as_input  # noqa: E402
from zeroline.export.convert import to_onnx  # noqa: E402
from zeroline.runtime import load_bundle  # noqa: E402
from zeroline.runtime.network.manifest import Defaults, Source  # noqa: E402

CHANNELS, CLASS_CHANNELS = (8, 12), 24


def write_teacher(path: Path) -> None:
    """Two convolutions with fixed random weights, for a declared side of 320."""
    rng = np.random.default_rng(3)
    first, second = CHANNELS

    def values(name, array):
        return numpy_helper.from_array(np.asarray(array), name)

    def weights(name, *shape):
        spread = np.sqrt(np.prod(shape[1:]))
        return values(name, (rng.normal(0, 1, shape) / spread).astype(np.float32))

    nodes = [
        helper.make_node("Conv", ["images", "w0"], ["c0"], strides=[16, 16]),
        helper.make_node("Tanh", ["c0"], ["a0"]),
        helper.make_node("Reshape", ["a0", "flat_0"], ["f0"]),
        helper.make_node("Transpose", ["f0"], ["tokens_0"], perm=[0, 2, 1]),
        helper.make_node("Conv", ["a0", "w1"], ["a1"], pads=[1, 1, 1, 1]),
        helper.make_node("Reshape", ["a1", "flat_1"], ["f1"]),
        helper.make_node("Transpose", ["f1"], ["tokens_1"], perm=[0, 2, 1]),
        helper.make_node("Conv", ["a1", "w2"], ["a2"]),
        helper.make_node("Relu", ["a2"], ["r2"]),
        helper.make_node("GlobalAveragePool", ["r2"], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["long"]),
        helper.make_node("ReduceL2", ["long", "axis"], ["length"]),
        helper.make_node("Div", ["long", "length"], ["class_token"]),
    ]
    graph = helper.make_graph(
        nodes,
        "teacher",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, ["batch", 3, 320, 320])],
        [
            helper.make_tensor_value_info("tokens_0", TensorProto.FLOAT, ["batch", "P", first]),
            helper.make_tensor_value_info("tokens_1", TensorProto.FLOAT, ["batch", "P", second]),
            helper.make_tensor_value_info("class_token", TensorProto.FLOAT, ["batch", "D"]),
        ],
        [
            weights("w0", first, 3, 16, 16),
            weights("w1", second, first, 3, 3),
            weights("w2", CLASS_CHANNELS, second, 1, 1),
            values("flat_0", np.array([0, first, -1])),
            values("flat_1", np.array([0, second, -1])),
            values("axis", np.array([1])),
        ],
    )
    opsets = [helper.make_opsetid("", 18)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=10), path)


@pytest.fixture(scope="module")
def teacher(tmp_path_factory):
    path = tmp_path_factory.mktemp("teacher") / "teacher.onnx"
    write_teacher(path)
    return Teacher(path)


@pytest.fixture(scope="module")
def photographs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("photographs")
    rng = np.random.default_rng(0)
    for number in range(4):
        small = rng.integers(0, 255, (7, 9, 3), dtype=np.uint8)
        large = cv2.resize(small, (340, 256), interpolation=cv2.INTER_CUBIC)
        cv2.imwrite(str(folder / f"{number}.png"), large)
    (folder / "notes.txt").write_text("not a picture")
    return read_photographs(folder)


@pytest.fixture
def short(monkeypatch):
    """Courses of few, small pictures; one thread, so that sums have one order."""
    for name in ("SIZES", "SECOND_SIZES"):
        monkeypatch.setattr(distil, name, ((0.0, 64), (0.5, 96)))
    monkeypatch.setattr(distil, "HELD_OUT", distil.Series(count=4, side=64, batch=2))
    monkeypatch.setattr(distil, "MEASURED", distil.Series(count=24, side=64, batch=8))
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def training(folder, teacher, photographs, **course):
    settings = Course(**{"pictures": 24, "batch": 4, "warm_up": 2, **course})
    learnt, held_out = Pictures(photographs[:3], seed=0), Pictures(photographs[3:], seed=1)
    return Training(settings, teacher, learnt, held_out, folder)


def test_pictures_depend_on_seed_and_number_alone(photographs):
    pictures = Pictures(photographs, seed=4)
    later = pictures.picture(7, size=96)
    assert later.shape == (96, 96, 3)
    assert later.dtype == np.uint8
    pictures.picture(3, size=96)
    np.testing.assert_array_equal(pictures.picture(7, size=96), later)
    assert not np.array_equal(pictures.picture(8, size=96), later)
    assert not np.array_equal(Pictures(photographs, seed=5).picture(7, size=96), later)


def test_pictures_are_grey_dark_and_flat_as_factory_pictures_are(photographs):
    series = [Pictures(photographs, seed=1).picture(n, size=64) for n in range(200)]
    grey = np.mean(
        [(p.max(axis=2).astype(int) - p.min(axis=2) <= 30).mean() > 0.99 for p in series]
    )
    flat = np.mean([p.std() < 15 for p in series])
    dark = np.mean([p.mean() < 60 for p in series])
    assert 0.4 < grey < 0.9
    assert flat > 0.1
    assert dark > 0.1


def test_the_teacher_serves_squares_of_any_side(teacher, photographs):
    for side in (64, 96, 320):
        pictures = np.stack([Pictures(photographs, seed=0).picture(n, size=side) for n in range(2)])
        lesson = teacher.teach(pictures)
        grid = side // STRIDE
        shapes = [tokens.shape for tokens in lesson.tokens]
        assert shapes == [(2, channels, grid, grid) for channels in CHANNELS]
        np.testing.assert_allclose(np.linalg.norm(lesson.class_tokens, axis=1), 1, rtol=1e-5)


@pytest.mark.parametrize("kind", sorted(STUDENTS))
def test_students_give_maps_of_the_teachers_grid(kind):
    student = STUDENTS[kind](CHANNELS, 16).eval()
    with torch.no_grad():
        *maps, class_tokens = student(torch.zeros(2, 3, 96, 96))
    assert [tuple(m.shape) for m in maps] == [(2, c, 6, 6) for c in CHANNELS]
    assert class_tokens.shape == (2, 16)


def test_errors_are_nothing_for_the_teacher_and_the_mean_alone_fails_within():
    torch.manual_seed(0)
    wanted = [torch.randn(3, c, 6, 6) for c in CHANNELS]
    class_tokens = torch.randn(3, 16)
    same = errors_of((*wanted, class_tokens), (wanted, class_tokens)).figures()
    assert max(same.values()) < 1e-6
    blunt = [w.mean((2, 3), keepdim=True).expand_as(w) for w in wanted]
    error = errors_of((*blunt, class_tokens), (wanted, class_tokens))
    assert error.within.item() == pytest.approx(2, abs=0.1)  # all of the variation, at both depths


def test_a_course_teaches(short, teacher, photographs, tmp_path):
    course = training(tmp_path, teacher, photographs, pictures=160, learning_rate=5e-3)
    before = course.measure()
    course.run(report_every=20)
    after = course.measure()
    assert after["smooth"] < 0.9 * before["smooth"]
    log = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [line["step"] for line in log] == [20, 40]
    assert log[-1]["held_out"]["smooth"] == pytest.approx(after["smooth"], abs=1e-4)


def test_an_interrupted_course_goes_on_as_if_it_had_not_been(
    short, teacher, photographs, tmp_path, monkeypatch
):
    whole = training(tmp_path / "whole", teacher, photographs)
    whole.run(report_every=3)
    broken = training(tmp_path / "broken", teacher, photographs)

    def report(_):
        raise KeyboardInterrupt

    monkeypatch.setattr(broken, "_report", report)
    with pytest.raises(KeyboardInterrupt):
        broken.run(report_every=3)
    resumed = training(tmp_path / "broken", teacher, photographs)
    assert resumed.step == 3
    resumed.run(report_every=3)
    for name, value in whole.average.state_dict().items():
        assert torch.equal(value, resumed.average.state_dict()[name]), name


def test_what_is_shipped_is_what_was_trained(short, teacher, photographs, tmp_path, monkeypatch):
    course = training(tmp_path / "course", teacher, photographs)
    course.run(report_every=6)
    images = as_input(
        np.stack([Pictures(photographs, seed=2).picture(n, size=320) for n in range(3)])
    )
    bundle_folder = tmp_path / "bundle"
    manifest = ship(
        tmp_path / "course" / "checkpoint.pt",
        bundle_folder,
        images=images,
        source=Source(architecture="a", weights="b", licence="c"),
        defaults=Defaults(rscin=()),
    )
    assert manifest.parity is not None
    assert min(v for k, v in manifest.parity.items() if k.endswith("cosine")) > 0.99999
    assert max(v for k, v in manifest.parity.items() if k.endswith("error")) < 1e-4
    with load_bundle(bundle_folder, device="cpu") as bundle:
        assert (bundle.patches, bundle.channels, bundle.batch) == (400, CHANNELS, None)
        made = bundle.embed(np.ascontiguousarray(images))
    # against the student with its norms, in the teacher's scale
    with torch.no_grad():
        wanted = Shipped(course.average.eval(), course.scale)(torch.from_numpy(images.copy()))
    for want, got in zip(wanted, (*made.layers, made.class_tokens), strict=True):
        np.testing.assert_allclose(got, want.numpy(), atol=1e-4 * float(want.abs().max()))


def test_parity_sees_a_graph_that_differs(short, teacher, photographs, tmp_path):
    course = training(tmp_path / "course", teacher, photographs)
    course.run(report_every=6)
    network = trained(tmp_path / "course" / "checkpoint.pt")
    to_onnx(network, tmp_path / "a.onnx", size=SIDE, outputs=OUTPUTS)
    pictures = Pictures(photographs, seed=2)
    images = as_input(np.stack([pictures.picture(n, size=320) for n in range(2)]))
    with torch.no_grad():
        network.student.deep_head.bias += 0.1
    found = parity(network, tmp_path / "a.onnx", images)
    assert found.error["tokens_0"] < 1e-4
    assert found.error["tokens_1"] > 1e-3


def test_a_second_course_begins_with_the_first_ones_student(short, teacher, photographs, tmp_path):
    """The blocks that it has more begin as the identity."""
    first = training(tmp_path / "first", teacher, photographs)
    first.run(report_every=6)
    learnt = Pictures(photographs[:3], seed=0)
    second = Training(
        Course(student="grown", second=True, pictures=8, batch=4, warm_up=2),
        teacher,
        learnt,
        Pictures(photographs[3:], seed=1),
        tmp_path / "second",
        begin=tmp_path / "first" / "checkpoint.pt",
    )
    blocks = [len(course.student.shallow) for course in (first, second)]
    assert blocks[1] > blocks[0]
    before, begun = first.measure(), second.measure()
    assert begun == pytest.approx(before, rel=1e-4)
    with pytest.raises(SystemExit, match="is of another student"):
        Training(
            Course(student="vit"),
            teacher,
            learnt,
            learnt,
            tmp_path / "third",
            begin=tmp_path / "first" / "checkpoint.pt",
        )
