"""`--as musc|framework`: each rule against its literal form, at the trained size and at another."""

import dataclasses
import json

import numpy as np
import pytest
from click.testing import CliRunner

from support.frameworks import need_frameworks

torch = need_frameworks()

from trials.literal_towers import (  # noqa: E402
    literal_rscin_scores,
    literal_table,
    musc_rules,
)

from trials import export_parity  # noqa: E402
from zeroline.edge_app.cli import main  # noqa: E402
from zeroline.export.backbone_bundle import Request, export_backbone  # noqa: E402
from zeroline.export.backbones import find_backbone  # noqa: E402
from zeroline.export.errors import ExportError  # noqa: E402
from zeroline.export.framework_side import tower_tokens  # noqa: E402
from zeroline.export.other_precision import export_other_precision  # noqa: E402
from zeroline.export.positions import TableRule, resized_table  # noqa: E402
from zeroline.export.towers import build_tower  # noqa: E402
from zeroline.export.weights import Weights  # noqa: E402
from zeroline.runtime import load_bundle, score_images, score_tokens  # noqa: E402
from zeroline.runtime.batch import embed_images  # noqa: E402
from zeroline.runtime.network.parity import probe_frames  # noqa: E402

#: Largest difference of a token, as a share of the tokens' rms, and of scores.
ERROR, SCORE = 2e-5, 1e-5


def short(name):
    """A backbone with few blocks; open_clip builds CLIP whole."""
    backbone = find_backbone(name)
    return backbone if backbone.family == "CLIP" else dataclasses.replace(backbone, blocks=4)


@pytest.mark.parametrize("grid", [4, 13, 14, 20, 37])
@pytest.mark.parametrize("family", ["CLIP", "DINOv2", "registers"])
def test_a_table_is_resized_as_by_hand(family, grid):
    registers = 4 if family == "registers" else 0
    rules = musc_rules(family, native=False, openai=False, registers=registers)
    rule = TableRule(antialias=rules.antialias, scaled=rules.offset > 0)
    table = torch.randn(1 + 14 * 14, 24, generator=torch.Generator().manual_seed(grid))
    found = resized_table(table, rule, grid=grid, prefix=1)
    torch.testing.assert_close(found, literal_table(table, grid, rules), atol=1e-5, rtol=0)
    if grid == 14:
        assert torch.equal(found, table)


@pytest.mark.parametrize(
    ("name", "size", "tag"),
    [
        ("ViT-B-32", 224, "openai"),
        ("ViT-B-32", 160, "openai"),
        ("DINO-ViT-S-16", 224, None),
        ("DINO-ViT-S-16", 160, None),
        ("DINOv2-ViT-S-14", 518, None),
        ("DINOv2-ViT-S-14", 224, None),
        ("DINOv2-ViT-S-14-reg", 224, None),
        ("DINOv2-ViT-g-14", 224, None),
    ],
)
def test_a_tower_is_that_of_the_authors(tmp_path, name, size, tag):
    """Pictures, positions, activation and class token, all of them written out by hand."""
    backbone = short(name)
    if name.endswith("g-14"):
        backbone = dataclasses.replace(backbone, blocks=1)
    path, state = export_parity.made_checkpoint(backbone, tmp_path, seed=1)
    frames = probe_frames(300)[:2]
    layers = backbone.layers[-1:]
    wanted = export_parity.literal_tokens(
        backbone, state, frames, size=size, openai=tag == "openai", layers=layers
    )
    weights = Weights(tag=tag, checkpoint=path)
    tower = build_tower(backbone, weights, size=size, layers=layers, follows="musc")
    assert export_parity.differences(wanted, tower_tokens(tower, frames))["error"] <= ERROR
    assert tower.described.rules.follows == "musc"
    if backbone.family != "CLIP":
        assert tower.pixels.interpolation == "bilinear"
        assert np.abs(np.linalg.norm(wanted.class_tokens, axis=1) - 1).min() > 1


@pytest.mark.parametrize("name", ["DINOv2-ViT-S-14", "DINOv2-ViT-S-14-reg"])
def test_a_bundle_scores_like_the_authors_network(tmp_path, name):
    """From pictures to RsCIN's scores, by the class tokens as the network makes them."""
    backbone = short(name)
    path, state = export_parity.made_checkpoint(backbone, tmp_path, seed=2)
    frames = probe_frames(200)
    wanted = export_parity.literal_tokens(backbone, state, frames, size=112)
    request = Request(backbone, Weights(checkpoint=path), size=112, follows="musc")
    manifest = export_backbone(request, tmp_path / "bundle").manifest
    assert not manifest.outputs.class_token.unit
    assert manifest.source.sha256 != "unknown"
    with load_bundle(tmp_path / "bundle", device="cpu") as bundle:
        actual = embed_images(frames, bundle)
        scored = score_images(frames, bundle)
    assert export_parity.differences(wanted, actual)["error"] <= ERROR
    before = score_tokens(wanted, size=112, rscin=())
    np.testing.assert_allclose(scored.patch_scores, before.patch_scores, atol=SCORE)
    expected = literal_rscin_scores(before.raw_scores, wanted.class_tokens, (1, 2, 3))
    np.testing.assert_allclose(scored.scores, expected, atol=SCORE)
    products = wanted.class_tokens @ wanted.class_tokens.T
    first = products.argmax(axis=1) == np.arange(len(frames))
    assert not first.all()  # else unit class tokens would do as well
    half = export_other_precision(tmp_path / "bundle", tmp_path / "half", precision="fp16").manifest
    assert half.rules == manifest.rules
    assert not half.outputs.class_token.unit


@pytest.mark.parametrize("size", [224, 160])
def test_the_frameworks_own_tower_is_theirs(size):
    """The other way, built by open_clip and timm themselves at that size."""
    import open_clip
    import timm

    images = torch.randn(1, 3, size, size)
    dino = build_tower(short("DINO-ViT-S-16"), Weights(seed=4), size=None, layers=None)
    state = dino.network.state_dict()
    theirs = timm.create_model(
        "vit_small_patch16_224.dino", img_size=size, num_classes=0, depth=4
    ).eval()
    theirs.load_state_dict(timm.models.vision_transformer.checkpoint_filter_fn(state, theirs))
    ours = build_tower(short("DINO-ViT-S-16"), Weights(seed=4), size=size, layers=None)
    clip = build_tower(find_backbone("ViT-S-32"), Weights(seed=4), size=None, layers=None)
    their_clip = open_clip.create_model("ViT-S-32", force_image_size=size).eval()
    clip_state = {f"visual.{name}": value for name, value in clip.network.state_dict().items()}
    open_clip.model.resize_pos_embed(clip_state, their_clip)
    their_clip.load_state_dict(clip_state, strict=False)
    our_clip = build_tower(find_backbone("ViT-S-32"), Weights(seed=4), size=size, layers=None)
    with torch.inference_mode():
        first = theirs.forward_features(images)[:, 0]
        torch.testing.assert_close(ours(images)[-1], first / first.norm())
        embedding = their_clip.visual(images)
        torch.testing.assert_close(our_clip(images)[-1], embedding / embedding.norm())
    assert ours.pixels.interpolation == "bicubic"
    assert ours.described.rules.follows == "framework"


@pytest.mark.parametrize(
    ("tag", "size", "follows", "activation", "wanted"),
    [
        ("openai", 224, "musc", None, "quick_gelu"),
        ("openai", 160, "musc", None, "gelu"),
        ("openai", 160, "framework", None, "quick_gelu"),
        ("laion400m_e32", 224, "musc", None, "gelu"),
        ("laion400m_e32", 224, "framework", None, "quick_gelu"),
        ("metaclip_400m", 160, "musc", None, "quick_gelu"),
        ("openai", 160, "musc", "quick_gelu", "quick_gelu"),
        (None, 224, "framework", None, "gelu"),
        (None, 224, "framework", "quick_gelu", "quick_gelu"),
    ],
)
def test_which_activation_clip_gets(clip_file, tag, size, follows, activation, wanted):
    tower = build_tower(
        find_backbone("ViT-B-32"),
        Weights(tag=tag, checkpoint=clip_file),
        size=size,
        layers=(0,),
        follows=follows,
        activation=activation,
    )
    kinds = {type(block.mlp.gelu).__name__ for block in tower.network.transformer.resblocks}
    assert kinds == {"QuickGELU" if wanted == "quick_gelu" else "GELU"}
    assert tower.described.rules.activation == wanted
    assert not tower.described.doubts  # a plain file of open_clip's says nothing of OpenAI


@pytest.fixture(scope="module")
def clip_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("clip") / "b.pt"
    network = build_tower(find_backbone("ViT-B-32"), Weights(), size=None, layers=(0,)).network
    torch.save(network.state_dict(), path)
    return path


def test_the_activation_is_clips_alone():
    with pytest.raises(ExportError, match="--activation is for CLIP"):
        build_tower(short("DINO-ViT-S-16"), Weights(), size=64, layers=None, activation="gelu")


def test_a_file_that_may_be_openais_is_told(tmp_path):
    """Their weights give other tokens without QuickGELU, and nobody would see it."""
    tower = build_tower(find_backbone("ViT-S-32"), Weights(), size=None, layers=(0,))
    state = {f"visual.{name}": value for name, value in tower.network.state_dict().items()}
    torch.save(state | {"input_resolution": torch.tensor(224)}, tmp_path / "clip.pt")
    done = CliRunner().invoke(main, [
        "export", "backbone", "ViT-S-32", "--checkpoint", str(tmp_path / "clip.pt"), "--size", "64",
        "--layers", "0,1", "--as", "musc", "--output", str(tmp_path / "bundle"),
    ])  # fmt: skip
    assert done.exit_code == 0, done.output
    warnings = [line for line in done.stderr.splitlines() if "warning" in line]
    assert len(warnings) == 1
    assert "--pretrained openai, or --activation" in warnings[0]
    weights = Weights(checkpoint=tmp_path / "clip.pt")
    said = build_tower(
        find_backbone("ViT-S-32"), weights, size=64, layers=(0,), activation="quick_gelu"
    )
    assert not said.described.doubts
    manifest = json.loads((tmp_path / "bundle" / "manifest.json").read_text())
    assert manifest["rules"] == {
        "follows": "musc",
        "position_table": "bicubic, not antialiased, by size",
        "activation": "gelu",
    }
    assert manifest["input"]["interpolation"] == "bicubic"
    assert manifest["source"]["licence"] == "unknown"
    assert len(manifest["source"]["sha256"]) == 64
