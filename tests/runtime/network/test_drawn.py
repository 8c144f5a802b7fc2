"""What a bundle says of drawn frames: what it gives for them, in a few kB."""

import hashlib
import json

import numpy as np
import pytest

from zeroline.runtime import load_bundle
from zeroline.runtime.batch import patch_and_image_scores
from zeroline.runtime.errors import BundleError
from zeroline.runtime.network.drawn import DRAWN, drawn_images, read_drawn, tokens_one_by_one
from zeroline.runtime.network.parity import LIMITS
from zeroline.runtime.tokens import Tokens


def measured(bundle, change=lambda tokens: tokens):
    drawn = read_drawn(bundle.path, bundle.manifest)
    assert drawn is not None
    tokens = change(tokens_one_by_one(bundle, drawn_images(bundle)))
    return drawn.parity(tokens, name="class_token", size=bundle.size, scorer=patch_and_image_scores)


def test_the_bundled_model_gives_today_what_its_file_says():
    """Else frames are drawn in another way than when it was made: then make it anew."""
    bundle = load_bundle("tiny", device="cpu")
    parity = measured(bundle)
    assert parity.least_cosine["class_token"] > 0.999999
    assert parity.error["class_token"] < 1e-3  # float16
    assert parity.rank > 0.9999
    assert parity.score < 1e-4
    assert (bundle.path / DRAWN).stat().st_size < 8 << 10


def shuffled(tokens):
    """Patches at other places, the same for each frame."""
    order = np.random.default_rng(0).permutation(tokens.layers[0].shape[1])
    return Tokens(tuple(layer[:, order] for layer in tokens.layers), tokens.class_tokens)


def without_numbers(tokens):
    layers = [layer.copy() for layer in tokens.layers]
    layers[0][1, 2, 3] = np.nan
    return Tokens(tuple(layers), tokens.class_tokens)


def channels_backwards(tokens):
    return Tokens(tokens.layers, tokens.class_tokens[:, ::-1])


def one_layer_wrong(tokens):
    noise = np.random.default_rng(0).standard_normal(tokens.layers[1].shape, dtype=np.float32)
    return Tokens((tokens.layers[0], noise), tokens.class_tokens)


@pytest.mark.parametrize("change", [shuffled, without_numbers, channels_backwards, one_layer_wrong])
def test_wrong_tokens_are_seen(change):
    bundle = load_bundle("tiny", device="cpu")
    assert measured(bundle).failures(LIMITS["fp32"]) == []
    assert measured(bundle, change).failures(LIMITS["fp16"])


def stored(folder, **arrays):
    """Another file in the place of the bundle's, and its hash in the manifest."""
    np.savez(folder / DRAWN, **arrays)
    write_hash(folder)


def write_hash(folder):
    path = folder / "manifest.json"
    content = json.loads(path.read_text())
    content["files"][DRAWN] = hashlib.sha256((folder / DRAWN).read_bytes()).hexdigest()
    content.pop("checksum", None)
    path.write_text(json.dumps(content))


def test_a_file_that_is_not_what_is_written_is_refused(own_bundle):
    with load_bundle(own_bundle, device="cpu") as bundle:
        drawn = read_drawn(own_bundle, bundle.manifest)
    assert drawn is not None
    whole = dict(vars(drawn))
    for wrong, words in {
        "image_scores": "image_scores has shape (3,), (4,) is expected",
        "class_tokens": "class_tokens has shape (3, 12), (4, 12) is expected",
    }.items():
        stored(own_bundle, **{**whole, wrong: whole[wrong][:3]})
        with load_bundle(own_bundle, device="cpu") as bundle, pytest.raises(BundleError) as caught:
            read_drawn(own_bundle, bundle.manifest)
        assert str(caught.value) == f'bundle "{own_bundle}": {DRAWN} cannot be read: {words}'
    pickled = np.array([{}], dtype=object)
    for arrays in ({**whole, "patch_scores": pickled}, {"class_tokens": drawn.class_tokens}):
        stored(own_bundle, **arrays)
        with load_bundle(own_bundle, device="cpu") as bundle, pytest.raises(BundleError):
            read_drawn(own_bundle, bundle.manifest)
    for content in (b"", b"PK\x03\x04 cut", b"no archive"):
        (own_bundle / DRAWN).write_bytes(content)
        write_hash(own_bundle)
        with load_bundle(own_bundle, device="cpu") as bundle, pytest.raises(BundleError):
            read_drawn(own_bundle, bundle.manifest)


def test_a_changed_file_is_refused_with_the_bundle(own_bundle):
    content = (own_bundle / DRAWN).read_bytes()
    (own_bundle / DRAWN).write_bytes(content[:-1])
    with pytest.raises(BundleError, match=rf'file "{DRAWN}" has sha256'):
        load_bundle(own_bundle, device="cpu")
