"""Backbones exported for real: random weights, small inputs, every step as a user runs it."""

import json
import pickle
import shutil
from typing import Any

import numpy as np
import onnx
import pytest
from click.testing import CliRunner

from support.frameworks import need_frameworks

torch = need_frameworks()

from zeroline.edge_app.cli import main  # noqa: E402
from zeroline.export import backbone_bundle, making, towers  # noqa: E402
from zeroline.export.backbone_bundle import Request, export_backbone  # noqa: E402
from zeroline.export.backbones import backbones, find_backbone  # noqa: E402
from zeroline.export.checkpoint_file import read_tensors  # noqa: E402
from zeroline.export.errors import ExportError  # noqa: E402
from zeroline.export.framework_side import FrameworkOriginal, tower_tokens  # noqa: E402
from zeroline.export.gate import gate  # noqa: E402
from zeroline.export.graph_check import check_graph  # noqa: E402
from zeroline.export.towers import build_tower  # noqa: E402
from zeroline.export.weights import Weights  # noqa: E402
from zeroline.runtime import load_bundle, score_images  # noqa: E402
from zeroline.runtime.errors import ParityError  # noqa: E402
from zeroline.runtime.network.parity import LIMITS, probe_frames  # noqa: E402

CLIP, CLIP_SIZE = "ViT-S-32", 128
DINO, DINO_SIZE = "DINOv2-ViT-S-14", 70


def zeroline(*arguments):
    return CliRunner().invoke(main, [str(a) for a in arguments])


def tower_of(name, size, *, seed=0, layers=None):
    return build_tower(find_backbone(name), Weights(seed=seed), size=size, layers=layers)


@pytest.fixture(scope="module")
def clip_tower():
    return tower_of(CLIP, CLIP_SIZE)


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """Each family in each precision, by the command."""
    folder = tmp_path_factory.mktemp("exported")
    for name, size in ((CLIP, CLIP_SIZE), (DINO, DINO_SIZE)):
        for precision in ("fp32", "fp16"):
            output = folder / f"{name}-{precision}"
            done = zeroline(
                "export", "backbone", name, "--pretrained", "none", "--size", size,
                "--precision", precision, "--output", output,
            )  # fmt: skip
            assert done.exit_code == 0, done.output
    return folder


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
@pytest.mark.parametrize(("name", "size"), [(CLIP, CLIP_SIZE), (DINO, DINO_SIZE)])
def test_a_bundle_follows_its_framework(exported, name, size, precision):
    frames = probe_frames(200)
    wanted = tower_tokens(tower_of(name, size), frames)
    with load_bundle(exported / f"{name}-{precision}", device="cpu") as bundle:
        assert bundle.manifest.layers == (2, 5, 8, 11)
        assert bundle.batch is None
        assert "random, seed 0" in bundle.manifest.source.weights
        inputs = np.stack([bundle.prepare(frame) for frame in frames])
        actual = bundle.embed(inputs[:3])
        result = score_images(frames, bundle)
    assert np.isfinite(result.scores).all()
    least = LIMITS[precision].cosine
    for want, got in zip(
        (*wanted.layers, wanted.class_tokens), (*actual.layers, actual.class_tokens), strict=True
    ):
        lengths = np.linalg.norm(want[:3], axis=-1) * np.linalg.norm(got, axis=-1)
        assert ((want[:3] * got).sum(-1) / lengths).mean() >= least
    parity = json.loads((exported / f"{name}-{precision}" / "manifest.json").read_text())["parity"]
    assert parity["tokens_0_cosine"] >= least
    assert parity["patch_rank_correlation"] >= LIMITS[precision].rank


def test_half_precision_halves_the_file(exported):
    sizes = {
        precision: (exported / f"{DINO}-{precision}" / "model.onnx").stat().st_size
        for precision in ("fp32", "fp16")
    }
    assert sizes["fp16"] < 0.56 * sizes["fp32"]


def test_clip_tokens_are_raw_block_outputs_and_the_class_token_the_image_embedding(clip_tower):
    """By hooks on open_clip's own forward (ALGORITHMS §0)."""
    visual = clip_tower.network
    seen: dict[int, Any] = {}
    hooks = [
        visual.transformer.resblocks[layer].register_forward_hook(
            lambda _, __, output, layer=layer: seen.__setitem__(layer, output)
        )
        for layer in clip_tower.layers
    ]
    images = torch.randn(2, 3, CLIP_SIZE, CLIP_SIZE)
    with torch.inference_mode():
        embedding = visual(images)
        for hook in hooks:
            hook.remove()
        *tokens, class_token = clip_tower(images)
    assert clip_tower.layers == [2, 5, 8, 11]
    for layer, token in zip(clip_tower.layers, tokens, strict=True):
        torch.testing.assert_close(token, seen[layer][:, 1:])  # no ln_post, no projection
    assert class_token.shape[1] == visual.proj.shape[1]
    torch.testing.assert_close(class_token, embedding / embedding.norm(dim=1, keepdim=True))


@pytest.mark.parametrize("name", [DINO, "DINO-ViT-S-16"])
def test_dino_tokens_and_class_token_come_after_the_final_norm(name):
    """By hooks on timm's own forward (ALGORITHMS §0)."""
    backbone = find_backbone(name)
    tower = tower_of(name, 4 * backbone.patch)
    network = tower.network
    seen: dict[int, Any] = {}
    hooks = [
        network.blocks[layer].register_forward_hook(
            lambda _, __, output, layer=layer: seen.__setitem__(layer, output)
        )
        for layer in tower.layers
    ]
    images = torch.randn(2, 3, tower.size, tower.size)
    with torch.inference_mode():
        features = network.forward_features(images)
        for hook in hooks:
            hook.remove()
        *tokens, class_token = tower(images)
        for layer, token in zip(tower.layers, tokens, strict=True):
            torch.testing.assert_close(token, network.norm(seen[layer])[:, 1:])
    first = features[:, 0]
    torch.testing.assert_close(class_token, first / first.norm(dim=1, keepdim=True))


def test_openai_weights_get_quickgelu_and_their_own_pixels(tmp_path):
    """The tag says how weights were trained: open_clip alone only warns, and gives other tokens."""
    plain = tower_of("ViT-B-32", 64)
    file = tmp_path / "b.pt"
    torch.save(plain.network.state_dict(), file)

    def built(tag):
        weights = Weights(tag=tag, checkpoint=file)
        return build_tower(find_backbone("ViT-B-32"), weights, size=64, layers=None)

    openai, laion = built("openai"), built("laion2b_s34b_b79k")
    kinds = [type(t.network.transformer.resblocks[0].mlp.gelu).__name__ for t in (openai, laion)]
    assert kinds == ["QuickGELU", "GELU"]
    images = torch.randn(1, 3, 64, 64)
    with torch.inference_mode():
        assert not torch.allclose(openai(images)[-1], laion(images)[-1], atol=1e-6)
        torch.testing.assert_close(plain(images)[-1], laion(images)[-1])


@pytest.fixture
def clip_bundle(exported, tmp_path):
    """A copy of the CLIP bundle that a test may spoil."""
    shutil.copytree(exported / f"{CLIP}-fp32", tmp_path / "bundle")
    return tmp_path / "bundle"


def edit_input(folder, **changes):
    path = folder / "manifest.json"
    content = json.loads(path.read_text())
    del content["checksum"]
    content["input"].update(changes)
    path.write_text(json.dumps(content))


def test_the_gate_lets_a_sound_bundle_through(clip_bundle, clip_tower):
    parity = gate(clip_bundle, FrameworkOriginal(clip_tower), probe_frames())
    assert min(parity.cosine.values()) > 0.9999
    assert parity.rank > 0.999


def test_the_gate_refuses_a_wrong_layer(clip_bundle):
    other = tower_of(CLIP, CLIP_SIZE, layers=(2, 5, 9, 11))
    with pytest.raises(ParityError, match=r"tokens_2: cosine 0\.\d+, at least 0\.9999"):
        gate(clip_bundle, FrameworkOriginal(other), probe_frames())


def test_the_gate_refuses_a_wrong_normalisation(clip_bundle, clip_tower):
    edit_input(clip_bundle, mean=[0.5, 0.5, 0.5], std=[0.5, 0.5, 0.5])
    with pytest.raises(ParityError, match="does not follow the framework"):
        gate(clip_bundle, FrameworkOriginal(clip_tower), probe_frames())


def test_the_gate_refuses_swapped_colours(clip_bundle, clip_tower):
    edit_input(clip_bundle, colour="BGR")
    with pytest.raises(ParityError, match="does not follow the framework"):
        gate(clip_bundle, FrameworkOriginal(clip_tower), probe_frames())


def widened(part):
    """Return a build of towers of three blocks, with large values on the way in one of them."""
    build = towers.build_tower

    def built(*arguments, **options):
        tower = build(*arguments, **options)
        tower.network.transformer.resblocks = tower.network.transformer.resblocks[:3]
        block = tower.network.transformer.resblocks[1]
        width = block.attn.in_proj_weight.shape[1]
        with torch.no_grad():
            if part == "attention":
                block.attn.in_proj_weight[2 * width :] *= 1e6
                block.attn.in_proj_bias[2 * width :] *= 1e6
                block.attn.out_proj.weight /= 1e6
            elif part == "perceptron":
                block.mlp.c_fc.weight *= 1e6
                block.mlp.c_proj.weight /= 1e6
            else:  # every token far from zero: what tells them apart is rounded off
                tower.network.ln_pre.bias += 1.5e4
        return tower

    return built


@pytest.mark.parametrize(
    ("part", "layers"),
    [("attention", "resblocks.1.attn"), ("perceptron", "resblocks.1.mlp.c_fc")],
)
def test_what_overflows_in_half_precision_stays_in_float32(tmp_path, monkeypatch, part, layers):
    """Values that half precision does not hold: such a network was refused."""
    monkeypatch.setattr(backbone_bundle, "build_tower", widened(part))
    request = Request(find_backbone(CLIP), Weights(), size=64, layers=(1, 2), precision="fp16")
    told: list[str] = []
    exported = export_backbone(request, tmp_path / "half", report=told.append)
    assert layers in " ".join(exported.kept)
    assert "resblocks.0" not in " ".join(exported.kept)
    assert exported.manifest.kept_in_float32 == exported.kept
    assert exported.parity.rank > LIMITS["fp16"].rank
    lines = [line for line in told if "too large for fp16" in line]
    assert len(lines) == 1
    assert layers in lines[0]
    assert not [line for line in told if "nan" in line]  # beside "cosine 1.000000" it once stood
    stored = onnx.load(tmp_path / "half" / "model.onnx").graph.initializer
    halves = sum(t.data_type == onnx.TensorProto.FLOAT16 for t in stored)
    assert halves > 0.5 * len(stored)


def test_half_precision_that_does_not_follow_is_refused(tmp_path, monkeypatch):
    """No value overflows, and no island helps."""
    monkeypatch.setattr(backbone_bundle, "build_tower", widened("residual"))
    request = Request(find_backbone(CLIP), Weights(), size=64, layers=(1, 2), precision="fp16")
    with pytest.raises(ParityError, match=r"with any islands: .*rank correlation"):
        export_backbone(request, tmp_path / "half")
    assert not list(tmp_path.iterdir())


def test_the_graph_is_fit_for_tensorrt(exported):
    for folder in exported.iterdir():
        report = check_graph(onnx.load(folder / "model.onnx"), label=folder.name)
        assert report.opset == 18
        model = onnx.load(folder / "model.onnx")
        for tensor in model.graph.initializer:
            tensor.ClearField("raw_data")  # numbers may spell anything
        assert b".py" not in model.SerializeToString()  # the exporter notes paths of the machine
        kind = "FLOAT16" if folder.name.endswith("fp16") else "FLOAT"
        assert next(iter(report.weights)) == kind


def test_operators_that_tensorrt_does_not_read_are_refused():
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("NonZero", ["x"], ["y"])],
        "g",
        [onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [2])],
        [onnx.helper.make_tensor_value_info("y", onnx.TensorProto.INT64, [1, "n"])],
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 18)])
    with pytest.raises(ExportError, match="operators that TensorRT does not read: NonZero"):
        check_graph(model, label="odd")


def test_the_list_shows_families_sizes_and_parameters():
    done = zeroline("export", "backbone", "--list")
    assert done.exit_code == 0, done.output
    rows = {line.split()[0]: line.split()[1:] for line in done.output.splitlines()[1:]}
    assert rows["ViT-L-14-336"][:4] == ["open_clip", "24", "14", "336"]
    assert rows["DINOv2-ViT-S-14"][:4] == ["timm", "12", "14", "518"]
    for name in ("ViT-B-32", "ViT-B-16", "ViT-B-16-plus-240", "ViT-L-14", "DINO-ViT-B-8"):
        assert name in rows
    tower = tower_of(CLIP, None)
    weights = sum(p.numel() for n, p in tower.network.named_parameters() if n != "proj")
    assert find_backbone(CLIP).parameters == pytest.approx(weights, rel=0.01)
    assert len({b.name for b in backbones()}) == len(rows)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["ViT-L-14-363"], 'no backbone "ViT-L-14-363"; did you mean ViT-L-14-336'),
        (["resnet"], 'no backbone "resnet"'),
        ([CLIP, "--size", 100], "size 100 is no multiple of ViT-S-32's patch of 32"),
        ([CLIP, "--layers", "3,12"], "layers 3,12: rising numbers from 0 to 11"),
        ([CLIP, "--layers", "5,2"], "layers 5,2: rising numbers"),
        (["ViT-B-32", "--pretrained", "no"], 'no weights "no"; known: openai'),
        ([DINO, "--pretrained", "no"], 'no weights "no"; known: lvd142m'),
    ],
)
def test_requests_that_cannot_be_met_are_told_in_one_line(tmp_path, options, message):
    out = tmp_path / "out"
    weights = [] if "--pretrained" in options else ["--pretrained", "none"]
    done = zeroline("export", "backbone", *options, *weights, "--output", out)
    assert done.exit_code == 1
    assert message in done.output
    assert len(done.output.splitlines()) == 1
    assert not list(tmp_path.iterdir())


def test_a_checkpoint_is_loaded_and_its_positions_resized(tmp_path):
    from safetensors.torch import save_file

    saved = tower_of(CLIP, 224, seed=5)
    state = {f"visual.{name}": value.clone() for name, value in saved.network.state_dict().items()}
    save_file(state, tmp_path / "clip.safetensors")
    torch.save({"state_dict": state}, tmp_path / "clip.pt")
    for file in ("clip.safetensors", "clip.pt"):
        weights = Weights(checkpoint=tmp_path / file)
        same = build_tower(find_backbone(CLIP), weights, size=224, layers=None)
        for name, value in same.network.state_dict().items():
            assert torch.equal(value, saved.network.state_dict()[name]), name
    larger = build_tower(find_backbone(CLIP), weights, size=320, layers=None)
    assert larger.network.positional_embedding.shape[0] == 101
    with torch.inference_mode():
        assert torch.isfinite(larger(torch.randn(1, 3, 320, 320))[0]).all()
    dino = tower_of("DINO-ViT-S-16", 224, seed=6)
    torch.save(dino.network.state_dict(), tmp_path / "dino.pth")
    weights = Weights(checkpoint=tmp_path / "dino.pth")
    small = build_tower(find_backbone("DINO-ViT-S-16"), weights, size=96, layers=None)
    assert small.network.pos_embed.shape[1] == 37
    torch.testing.assert_close(
        small.network.blocks[3].mlp.fc1.weight, dino.network.blocks[3].mlp.fc1.weight
    )


def test_a_checkpoint_with_other_patches_is_refused(tmp_path):
    """timm would resample them without a word."""
    torch.save(tower_of("DINO-ViT-S-16", 64).network.state_dict(), tmp_path / "s16.pth")
    weights = Weights(checkpoint=tmp_path / "s16.pth")
    with pytest.raises(ExportError, match="has patches of 16 pixels, DINO-ViT-S-8 8"):
        build_tower(find_backbone("DINO-ViT-S-8"), weights, size=64, layers=None)


def test_a_training_programs_teacher_is_found_among_heads_and_in_half_precision(tmp_path):
    saved = tower_of("DINO-ViT-S-16", 64).network.state_dict()
    teacher = {f"module.backbone.{name}": value.half() for name, value in saved.items()}
    teacher["module.head.weight"] = torch.zeros(3)
    torch.save({"student": {}, "teacher": teacher, "epoch": 3}, tmp_path / "dino.pth")
    weights = Weights(checkpoint=tmp_path / "dino.pth")
    tower = build_tower(find_backbone("DINO-ViT-S-16"), weights, size=96, layers=None)
    weight = tower.network.blocks[0].mlp.fc1.weight
    assert weight.dtype == torch.float32
    torch.testing.assert_close(weight, saved["blocks.0.mlp.fc1.weight"], atol=1e-3, rtol=1e-3)


def test_a_checkpoint_of_another_architecture_names_the_first_keys(tmp_path):
    other = tower_of("ViT-B-32", 64)
    torch.save(other.network.state_dict(), tmp_path / "b.pt")
    weights = Weights(checkpoint=tmp_path / "b.pt")
    with pytest.raises(
        ExportError, match=r"another architecture: class_embedding is \(768,\), \(384,\)"
    ) as caught:
        build_tower(find_backbone(CLIP), weights, size=64, layers=None)
    assert "more" in str(caught.value)


class Evil:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (str(self.path), "w"))


def test_damaged_and_dangerous_checkpoints_are_refused(tmp_path):
    victim = tmp_path / "victim"
    torch.save({"a": torch.zeros(3), "b": Evil(victim)}, tmp_path / "evil.pt")
    (tmp_path / "evil.pkl").write_bytes(pickle.dumps(Evil(victim)))
    torch.save({"a": torch.zeros(3000)}, tmp_path / "whole.pt")
    (tmp_path / "cut.pt").write_bytes((tmp_path / "whole.pt").read_bytes()[:5000])
    (tmp_path / "cut.safetensors").write_bytes(b"\x20\0\0\0\0\0\0\0{}")
    (tmp_path / "empty.pt").write_bytes(b"")
    torch.save([1, 2], tmp_path / "list.pt")
    (tmp_path / "text.pt").write_text("hello")
    wrong = {
        "evil.pt": "holds more than tensors and is not read",
        "evil.pkl": "is not read|cannot be read",
        "cut.pt": "cannot be read",
        "cut.safetensors": "cannot be read",
        "empty.pt": "cannot be read",
        "text.pt": "cannot be read|is not read",
        "list.pt": "holds no named tensors",
        "missing.pt": "is not a file",
    }
    for name, message in wrong.items():
        with pytest.raises(ExportError, match=message) as caught:
            read_tensors(tmp_path / name)
        assert "\n" not in str(caught.value)
    assert not victim.exists()


def test_an_interrupted_export_leaves_nothing(tmp_path, monkeypatch):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(making, "gate", interrupted)
    request = Request(find_backbone(CLIP), Weights(), size=64, layers=(1,))
    with pytest.raises(KeyboardInterrupt):
        export_backbone(request, tmp_path / "bundle")
    assert not list(tmp_path.iterdir())


def test_a_taken_output_is_refused_before_any_work(tmp_path):
    (tmp_path / "file").write_text("mine")
    done = zeroline("export", "backbone", CLIP, "--pretrained", "none", "--output", tmp_path)
    assert done.exit_code == 1
    assert "exists and is not an empty folder" in done.output
    assert (tmp_path / "file").read_text() == "mine"


def test_the_users_pictures_go_through_the_gate(tmp_path, image_folder):
    done = zeroline(
        "export", "backbone", CLIP, "--pretrained", "none", "--size", 64, "--layers", "0,1",
        "--calibration", image_folder, "--calibration-images", 3, "--output", tmp_path / "bundle",
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    assert "tokens_0 4×384, tokens_1 4×384" in done.output


def test_int8_of_a_transformer(tmp_path, image_folder):
    done = zeroline(
        "export", "backbone", CLIP, "--pretrained", "none", "--size", 64, "--layers", "0,1",
        "--precision", "int8", "--calibration", image_folder, "--calibration-images", 4,
        "--output", tmp_path / "bundle",
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    model = onnx.load(tmp_path / "bundle" / "model.onnx")
    made = {output: node.op_type for node in model.graph.node for output in node.output}
    products = [node for node in model.graph.node if node.op_type in ("MatMul", "Gemm")]
    quantised = [n for n in products if made.get(n.input[1]) == "DequantizeLinear"]
    assert len(quantised) == 12 * 4 + 1  # four in each block, and the projection
    scores = [n for n in products if n not in quantised]
    assert scores  # attention's own products have no weights
    embedding = next(node for node in model.graph.node if node.op_type == "Conv")
    assert made.get(embedding.input[1]) != "DequantizeLinear"
