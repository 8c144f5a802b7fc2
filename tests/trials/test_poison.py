"""The trial of a poisoned memory in a short form: drawn parts instead of a simulated line."""

import pytest

from support.parts import part
from trials import poison
from zeroline.runtime import load_bundle
from zeroline.runtime.reference.files import write_reference
from zeroline.runtime.tokens import joined


@pytest.fixture(scope="module")
def bundle(bundle_folder):
    with load_bundle(bundle_folder, device="cpu", threads=1) as opened:
        yield opened


def drawn(numbers, every):
    return [part(n, marked=every and n % every == 0) for n in numbers]


def test_marked_parts_are_ng_from_both_starts(bundle, tmp_path):
    """From the second one they were OK: the window was saved with its marked parts."""
    stream, truth = drawn(range(100, 162), 5), [n % 5 == 0 for n in range(100, 162)]
    poison.built(bundle, joined(drawn(range(60), 0)), tmp_path / "clean.npz")
    left_out = poison.saved(bundle, drawn(range(60), 5), tmp_path / "saved.npz")
    assert left_out >= 12
    for name in ("clean.npz", "saved.npz"):
        outcome = poison.watched(bundle, tmp_path / name, stream, truth)
        assert outcome.marked_ng == sum(truth)
        assert outcome.good_ng <= 3
        assert not outcome.warned
        assert outcome.frames > 40


def test_a_set_that_was_saved_without_looking_is_warned_of(bundle, tmp_path):
    degrees = bundle.manifest.defaults.degrees
    tokens = joined(drawn(range(60), 5))
    write_reference(tmp_path / "spoiled.npz", poison.set_of(bundle, tokens, degrees))
    stream, truth = drawn(range(100, 130), 5), [n % 5 == 0 for n in range(100, 130)]
    outcome = poison.watched(bundle, tmp_path / "spoiled.npz", stream, truth)
    assert outcome.warned
    assert outcome.marked_ng == sum(truth)
