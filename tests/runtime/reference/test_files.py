"""The file of a reference set: what comes back, and what is refused in one line."""

import dataclasses
import json
import zipfile

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from support.parts import parts
from zeroline.runtime import ScoringError
from zeroline.runtime.errors import ReferenceFileError
from zeroline.runtime.reference.files import _digest, read_reference, write_reference
from zeroline.runtime.reference.sets import ReferenceFrame, ReferenceSet

NETWORK = "a" * 64


def reference_set(count=3):
    frames = tuple(
        ReferenceFrame(f"teil-ö{n}", 1.7e9 + n, 0.25, 0.31, n == 1) for n in range(count)
    )
    return ReferenceSet(
        parts(range(count)), frames, "small", NETWORK, (1, 3), 0.01, 2, "line 3", "0.2.0"
    )


@pytest.fixture
def path(tmp_path):
    write_reference(tmp_path / "good.npz", reference_set())
    return tmp_path / "good.npz"


def refused(path, reason, **options):
    with pytest.raises(ReferenceFileError, match=reason) as caught:
        read_reference(path, **options)
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)


def rewrite(path, change, *, sign=True):
    """Change the header of a file; its hash fits again, unless it shall not."""
    with np.load(path) as arrays:
        content = dict(arrays)
    header = json.loads(content["header"].tobytes())
    change(header)
    if sign and isinstance(header, dict):
        header.pop("sha256", None)
        header["sha256"] = _digest(header, read_reference_tokens(content))
    text = json.dumps(header).encode()
    np.savez(path, **{**content, "header": np.frombuffer(text, np.uint8)})


def read_reference_tokens(content):
    from zeroline.runtime import Tokens

    return Tokens((content["layer_0"], content["layer_1"]), content["class_tokens"])


@pytest.mark.parametrize("degrees", [(1, 3, 5), "fused"])
def test_a_set_comes_back_as_it_was(tmp_path, degrees):
    wanted = dataclasses.replace(reference_set(), degrees=degrees)
    write_reference(tmp_path / "deep" / "good.npz", wanted)
    found = read_reference(tmp_path / "deep" / "good.npz", network=NETWORK)
    assert found == wanted
    for mine, theirs in zip(found.tokens.layers, wanted.tokens.layers, strict=True):
        np.testing.assert_array_equal(mine, theirs)
    np.testing.assert_array_equal(found.tokens.class_tokens, wanted.tokens.class_tokens)


def test_a_set_without_frames_is_not_written(tmp_path):
    with pytest.raises(ScoringError, match="no frame is left"):
        write_reference(tmp_path / "good.npz", _empty())
    assert not list(tmp_path.iterdir())


def _empty():
    whole = reference_set(1)
    return dataclasses.replace(whole, tokens=whole.tokens.select(slice(0)), frames=())


def test_sets_of_other_versions_say_what_to_do(path):
    rewrite(path, lambda header: header.update(version=1))
    refused(path, "is of version 1, this zeroline reads 2: make it anew with zeroline reference b")
    rewrite(path, lambda header: header.pop("version"))
    refused(path, "is of version None")
    rewrite(path, lambda header: header.update(version=True))
    refused(path, "is of version True")


def test_sets_of_other_networks_are_refused(path):
    refused(path, 'made with bundle "small", whose network is another one', network="b" * 64)


def test_a_changed_header_or_array_is_seen(path):
    rewrite(path, lambda header: header["frames"][0].__setitem__(2, 0.1), sign=False)
    refused(path, "its hash does not fit")
    write_reference(path, reference_set())
    with np.load(path) as arrays:
        content = dict(arrays)
    content["layer_0"] = content["layer_0"] + np.float32(1)
    np.savez(path, **content)
    refused(path, "its hash does not fit")


@pytest.mark.parametrize(
    "change",
    [
        lambda header: header.update(frames=7),
        lambda header: header.update(frames=[["a", 1, 2, 3, False]]),  # fewer than arrays
        lambda header: header.update(frames=[[1, 1, 2, 3, False]] * 3),
        lambda header: header.update(frames=[["a", 1, 2, 3]] * 3),
        lambda header: header.update(frames=[["a", 1, 2, 3, 1]] * 3),
        lambda header: header.update(frames=[["a", None, 2, 3, False]] * 3),
        lambda header: header.update(frames=[["a", float("nan"), 2, 3, False]] * 3),
        lambda header: header.update(degrees=None),
        lambda header: header.update(degrees=[]),
        lambda header: header.update(degrees="all"),
        lambda header: header.update(bundle=3),
        lambda header: header.update(false_alarm_rate="often"),
        lambda header: header.update(left_out=[]),
        *(
            lambda header, name=name: header.pop(name)
            for name in ("bundle", "network", "degrees", "frames", "left_out", "source", "program")
        ),
    ],
)
def test_headers_that_are_wrong_though_their_hash_fits(path, change):
    rewrite(path, change)
    refused(path, "is damaged, or no reference")


@pytest.mark.parametrize("header", [b"[]", b"3", b"", b"{", b"\xff\xfe", b"[" * 100_000])
def test_headers_that_are_none(path, header):
    np.savez(path, header=np.frombuffer(header, np.uint8))
    refused(path, "is damaged, or no reference")


def test_files_that_are_no_sets(path, tmp_path):
    refused(tmp_path / "none.npz", "does not exist")
    refused(tmp_path, "is damaged, or no reference")
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    refused(path, "is damaged")
    path.write_bytes(b"")
    refused(path, "is damaged")
    np.save(tmp_path / "one.npy", np.zeros(3))
    refused(tmp_path / "one.npy", "is damaged")
    np.savez(path, header=np.array([{}], dtype=object))
    refused(path, "is damaged, or no reference")
    np.savez(path, header=np.frombuffer(b'{"version": 2}', np.uint8))
    refused(path, "is damaged, or no reference")
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("header.npy", "nothing")
    refused(path, "is damaged, or no reference")


def test_tokens_that_are_not_finite_are_refused(tmp_path):
    whole = reference_set()
    whole.tokens.layers[0][1, 2, 3] = np.nan
    write_reference(tmp_path / "good.npz", whole)
    refused(tmp_path / "good.npz", "is damaged, or no reference")


@given(data=st.data())
def test_damage_anywhere_gives_one_line(data, tmp_path_factory):
    path = tmp_path_factory.mktemp("sets") / "good.npz"
    write_reference(path, reference_set())
    content = bytearray(path.read_bytes())
    place = data.draw(st.integers(0, len(content) - 1))
    content[place] ^= data.draw(st.integers(1, 255))
    path.write_bytes(bytes(content))
    told = ""
    try:
        assert read_reference(path) == reference_set()  # such as a time of zip's
    except ReferenceFileError as error:
        told = str(error)
    assert "\n" not in told
