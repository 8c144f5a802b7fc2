"""Checkpoints of the kinds that people have: loaded with equal numbers, or one line with a cure."""

import dataclasses
import gzip
import warnings
from typing import Any

import pytest

from support import checkpoints as kinds
from support.frameworks import need_frameworks

torch = need_frameworks()

from safetensors.torch import save_file  # noqa: E402
from trials.literal_towers import authors_state  # noqa: E402

from zeroline.export.backbones import find_backbone  # noqa: E402
from zeroline.export.errors import ExportError  # noqa: E402
from zeroline.export.fitted import tensors_for, trained_size  # noqa: E402
from zeroline.export.towers import build_tower  # noqa: E402
from zeroline.export.weights import Weights  # noqa: E402

CLIP = "ViT-S-32"
NAMES = {
    "CLIP": CLIP,
    "DINO": "DINO-ViT-S-16",
    "DINOv2": "DINOv2-ViT-S-14",
    "registers": "DINOv2-ViT-S-14-reg",
    "g": "DINOv2-ViT-g-14",
}


def small(kind):
    """A backbone of a kind, cut to a block or two; open_clip builds CLIP whole."""
    backbone = find_backbone(NAMES[kind])
    return backbone if kind == "CLIP" else dataclasses.replace(backbone, blocks=1 + (kind != "g"))


@pytest.fixture(scope="module")
def towers():
    """Networks by kind, each built once."""
    built: dict[str, Any] = {}

    def tower(kind):
        if kind not in built:
            backbone = small(kind)
            built[kind] = build_tower(backbone, Weights(seed=3), size=None, layers=(0,)).network
        return built[kind]

    return tower


def two_blocks(state):
    """The state of CLIP's tower without its later blocks: the names repeat."""
    return {
        name: tensor for name, tensor in state.items()
        if not name.startswith("transformer.resblocks.") or int(name.split(".")[2]) < 2
    }  # fmt: skip


def state_of(towers, kind):
    """The weights of a kind by their makers' names."""
    state = authors_state(towers(kind), seed=1)
    return two_blocks(state) if kind == "CLIP" else state


def legacy(content, path):
    torch.save(content, path, _use_new_zipfile_serialization=False)


def in_safetensors(content, path):
    save_file({name: tensor.contiguous() for name, tensor in content.items()}, path)


LIGHTNING = {"epoch": 1, "pytorch-lightning_version": "2.4", "hyper_parameters": {"lr": 0.1}}
#: What it is, the kind of tower, the file's name, its content made of the makers' state, and how it
#: is saved.
LOADED = [
    ("open_clip, whole model", "CLIP", "a.pt", kinds.openai_names, torch.save),
    ("open_clip, tower alone", "CLIP", "a.pt", dict, torch.save),
    ("OpenAI's state_dict in half precision", "CLIP", "a.pt",
     lambda s: {n: t.half() for n, t in kinds.openai_names(s).items()}
     | {"input_resolution": torch.tensor(224)}, torch.save),
    ("Hugging Face CLIPModel", "CLIP", "model.safetensors", kinds.hugging_face_clip,
     in_safetensors),
    ("Hugging Face CLIPVisionModelWithProjection", "CLIP", "pytorch_model.bin",
     lambda s: kinds.hugging_face_clip(s, whole=False), torch.save),
    ("timm's CLIP", "CLIP", "model.safetensors", kinds.timm_clip, in_safetensors),
    ("timm's CLIP inside open_clip", "CLIP", "model.pt",
     lambda s: kinds.with_prefix("visual.trunk.", kinds.timm_clip(s)), torch.save),
    ("Lightning around CLIP", "CLIP", "last.ckpt",
     lambda s: LIGHTNING | {"state_dict": kinds.with_prefix("model.", kinds.openai_names(s))},
     torch.save),
    ("torch.compile", "CLIP", "a.pt",
     lambda s: kinds.with_prefix("_orig_mod.", kinds.openai_names(s)), torch.save),
    ("several processes, then torch.compile", "CLIP", "a.pt",
     lambda s: {"model": kinds.with_prefix("module._orig_mod.", s)}, torch.save),
    ("Meta's DINO", "DINO", "dino.pth", dict, torch.save),
    ("DINO's training, with options", "DINO", "dino.pth", kinds.training_checkpoint, torch.save),
    ("DINO's training, the student alone", "DINO", "dino.pth",
     lambda s: kinds.training_checkpoint(s, teacher=False), torch.save),
    ("Hugging Face DINO", "DINO", "model.safetensors",
     lambda s: kinds.hugging_face_dino(s, kind="DINO"), in_safetensors),
    ("DINO with a classifier that is not used", "DINO", "a.pth",
     lambda s: s | {"head.weight": torch.zeros(9, 384), "head.bias": torch.zeros(9)}, torch.save),
    ("old form of PyTorch's files", "DINO", "dino.pth", dict, legacy),
    ("safetensors under a wrong ending", "DINO", "dino.bin", dict, in_safetensors),
    ("PyTorch's file called .safetensors", "DINO", "dino.safetensors", dict, torch.save),
    ("Meta's DINOv2", "DINOv2", "dinov2_vits14_pretrain.pth",
     lambda s: s | {"mask_token": torch.zeros(1, 384)}, torch.save),
    ("DINOv2's training, in chunks", "DINOv2", "teacher_checkpoint.pth",
     lambda s: {"teacher": kinds.with_prefix("backbone.", kinds.in_chunks(s, 1))
                | {"dino_head.mlp.0.weight": torch.zeros(3)}}, torch.save),
    ("Hugging Face DINOv2", "DINOv2", "model.safetensors",
     lambda s: kinds.hugging_face_dino(s, kind="DINOv2"), in_safetensors),
    ("Hugging Face DINOv2 with a classifier", "DINOv2", "model.safetensors",
     lambda s: kinds.with_prefix("dinov2.", kinds.hugging_face_dino(s, kind="DINOv2"))
     | {"classifier.weight": torch.zeros(9, 768)}, in_safetensors),
    ("student and teacher in Lightning", "DINOv2", "last.ckpt",
     lambda s: LIGHTNING | {"state_dict": kinds.with_prefix("teacher.backbone.", s)
                            | {f"student.backbone.{n}": t + 1 for n, t in s.items()}}, torch.save),
    ("bfloat16", "DINOv2", "model.safetensors", lambda s: {n: t.bfloat16() for n, t in s.items()},
     in_safetensors),
    ("Meta's DINOv2 with registers", "registers", "dinov2_vits14_reg4_pretrain.pth", dict,
     torch.save),
    ("Hugging Face DINOv2 with registers", "registers", "model.safetensors",
     lambda s: kinds.hugging_face_dino(s, kind="DINOv2"), in_safetensors),
    ("Meta's DINOv2 g", "g", "dinov2_vitg14_pretrain.pth", dict, torch.save),
    ("Hugging Face DINOv2 g", "g", "model.safetensors",
     lambda s: kinds.hugging_face_dino(s, kind="DINOv2"), in_safetensors),
]  # fmt: skip


ROUNDED = ("OpenAI's state_dict in half precision", "bfloat16")


@pytest.mark.parametrize(
    ("name", "kind", "file", "made", "save"), [pytest.param(*row, id=row[0]) for row in LOADED]
)
def test_a_checkpoint_is_loaded_with_equal_numbers(tmp_path, towers, name, kind, file, made, save):
    state = state_of(towers, kind)
    save(made(state), tmp_path / file)
    found = tensors_for(small(kind), tmp_path / file).tensors
    wanted = towers(kind).state_dict()
    if kind == "CLIP":
        wanted = two_blocks(wanted)
    if kind == "registers":  # Meta's row for the class token is part of the token here
        wanted["cls_token"] = state["cls_token"] + state["pos_embed"][:, :1]
    assert set(found) == set(wanted)
    most = 1e-2 if name in ROUNDED else 0
    for key, tensor in wanted.items():
        assert found[key].dtype == torch.float32
        torch.testing.assert_close(found[key], tensor, atol=most, rtol=most)


def lfs_pointer(_, path):
    path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:12\nsize 3\n")


def web_page(_, path):
    path.write_text("\n<!DOCTYPE html><html>Sign in</html>")


def packed(content, path):
    torch.save(content, path)
    path.write_bytes(gzip.compress(path.read_bytes()))


def snapshot(content, path):
    path.mkdir()
    torch.save(content, path / "pytorch_model.bin")


def cut(content, path):
    torch.save(content, path)
    path.write_bytes(path.read_bytes()[:-2000])


def torch_script(_, path):
    with warnings.catch_warnings():  # PyTorch would have it end
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.jit.script(torch.nn.Linear(2, 2)).save(path)


def an_index(_, path):
    path.write_text('{"weight_map": {"a": "model-00001-of-00002.safetensors"}}')


def with_nan(state):
    state["norm.weight"] = state["norm.weight"].clone()
    state["norm.weight"][3] = float("nan")
    return state


def quantised(state):
    return state | {"blocks.0.mlp.fc1.weight": torch.zeros(1536, 384, dtype=torch.int8)}


def with_adapters(state):
    own = kinds.with_prefix("base_model.model.", kinds.hugging_face_dino(state, kind="DINO"))
    only = {name: tensor for name, tensor in own.items() if "query" in name}
    return only | {"query.lora_A.default.weight": torch.zeros(8, 8)}


def renamed(state):
    return {f"mine.net.{name.replace('patch_embed', 'stem')}": t for name, t in state.items()}


#: As above, and the words of the cure.
REFUSED = [
    ("Git LFS pointer", "DINO", "a.pth", dict, lfs_pointer, "Git LFS pointer, .* git lfs pull"),
    ("Git LFS pointer as safetensors", "DINO", "model.safetensors", dict, lfs_pointer,
     "Git LFS pointer"),
    ("web page", "DINO", "a.pth", dict, web_page, "web page .* the download went wrong"),
    ("gzip", "DINO", "a.pth", dict, packed, "packed by gzip: unpack it first"),
    ("folder", "DINO", "snapshot", dict, snapshot, "a folder: .* it holds pytorch_model.bin"),
    ("index of parts", "DINO", "model.safetensors.index.json", dict, an_index, "JSON text"),
    ("TorchScript, as OpenAI's files", "CLIP", "ViT-B-32.pt", dict, torch_script,
     r"TorchScript archive, .* torch.save\(torch.jit.load\(FILE"),
    ("cut off", "DINO", "a.pth", dict, cut, "damaged"),
    ("ONNX", "DINO", "a.onnx", dict, torch.save, "zeroline export onnx takes it"),
    ("Flax", "DINO", "flax_model.msgpack", dict, torch.save, "take the weights for PyTorch"),
    ("NaN", "DINO", "a.pth", with_nan, torch.save, "NaN or inf in 1 of its tensors, .*norm.weight"),
    ("int8", "DINO", "a.pth", quantised, torch.save, "quantised: blocks.0.mlp.fc1.weight is int8"),
    ("LoRA", "DINO", "adapter.pt", with_adapters, torch.save, "LoRA.*: merge them"),
    ("ResNet", "DINO", "a.pth", lambda _: {"layer1.0.conv1.weight": torch.zeros(3)}, torch.save,
     "looks like a ResNet"),
    ("DINOv3", "DINO", "a.pth", lambda s: s | {"rope_embed.periods": torch.zeros(3)}, torch.save,
     "looks like DINOv3"),
    ("SigLIP", "CLIP", "a.pth",
     lambda _: {"vision_model.embeddings.patch_embedding.weight": torch.zeros(3),
                "vision_model.head.probe": torch.zeros(3)}, torch.save, "looks like SigLIP"),
    ("CLIPVisionModel without its projection", "CLIP", "a.pth",
     lambda s: {n: t for n, t in kinds.hugging_face_clip(s, whole=False).items()
                if n != "visual_projection.weight"}, torch.save,
     "lacks the projection .* CLIPVisionModelWithProjection"),
    ("CLIP for DINO", "DINO", "a.pth", lambda _: {"visual.conv1.weight": torch.zeros(3),
     "visual.class_embedding": torch.zeros(3)}, torch.save,
     "holds open_clip's CLIP, and DINO or DINOv2 is wanted"),
    ("another size of network", "DINOv2", "a.pth",
     lambda s: {n: t for n, t in kinds.with_prefix("", s).items()
                if not n.startswith("blocks.1.")}, torch.save, "blocks.1.* is missing"),
    ("unknown names", "DINO", "a.pth", renamed, torch.save,
     'all begin with "mine.net." and go on with cls_token'),
    ("two networks", "DINO", "a.pth",
     lambda s: kinds.with_prefix("one.", s) | kinds.with_prefix("two.", s), torch.save,
     'holds 2 networks, "one." and "two.": save one alone'),
]  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "file", "made", "save", "message"),
    [pytest.param(*row[1:], id=row[0]) for row in REFUSED],
)
def test_a_checkpoint_that_cannot_be_used_names_the_cure(
    tmp_path, towers, kind, file, made, save, message
):
    backbone = small(kind)
    save(made(state_of(towers, kind)), tmp_path / file)
    with pytest.raises(ExportError, match=message) as caught:
        build_tower(backbone, Weights(checkpoint=tmp_path / file), size=None, layers=(0,))
    assert "\n" not in str(caught.value)
    assert file in str(caught.value)


def test_a_file_of_another_shape_names_the_backbone_that_it_fits(tmp_path, towers):
    backbone = find_backbone(NAMES["DINOv2"])
    state = {n.replace("blocks.1.", f"blocks.{k}."): t for k in range(1, 12)
             for n, t in state_of(towers, "registers").items()}  # fmt: skip
    torch.save(state, tmp_path / "a.pth")
    with pytest.raises(ExportError, match=r"reg_token has no place.*fit DINOv2-ViT-S-14-reg$"):
        build_tower(backbone, Weights(checkpoint=tmp_path / "a.pth"), size=None, layers=(0,))


def test_a_table_of_another_size_is_resized_once(tmp_path, towers):
    """A network that was trained further at another size: twice resized it would be blurred."""
    backbone = small("DINOv2")
    state = state_of(towers, "DINOv2")
    state["pos_embed"] = torch.randn(1, 1 + 9 * 9, 384)
    torch.save(state, tmp_path / "a.pth")
    assert trained_size(backbone, state) == 9 * 14
    weights = Weights(checkpoint=tmp_path / "a.pth")
    same = build_tower(backbone, weights, size=9 * 14, layers=(0,)).network
    torch.testing.assert_close(same.pos_embed, state["pos_embed"], rtol=0, atol=0)


def test_the_output_of_a_hugging_face_file_is_that_of_its_origin(tmp_path):
    origin = build_tower(find_backbone(CLIP), Weights(seed=2), size=96, layers=(1, 4))
    state = build_tower(find_backbone(CLIP), Weights(seed=2), size=None, layers=(1,)).network
    save_file(kinds.hugging_face_clip(state.state_dict()), tmp_path / "model.safetensors")
    weights = Weights(checkpoint=tmp_path / "model.safetensors")
    tower = build_tower(find_backbone(CLIP), weights, size=96, layers=(1, 4))
    images = torch.randn(1, 3, 96, 96)
    with torch.inference_mode():
        for wanted, found in zip(origin(images), tower(images), strict=True):
            torch.testing.assert_close(found, wanted)
