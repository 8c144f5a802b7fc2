"""The file of a reference set: what comes back, and what is refused in one line."""

import dataclasses
import json
import os
import re
import tracemalloc
import zipfile

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from support.parts import parts
from zeroline.runtime import RollingInspector, ScoringError, Tokens, load_bundle
from zeroline.runtime.archives import signature
from zeroline.runtime.errors import ReferenceFileError
from zeroline.runtime.reference.files import read_reference, write_reference
from zeroline.runtime.reference.sets import ReferenceFrame, ReferenceSet

NETWORK = "a" * 64


def reference_set(count=3):
    frames = tuple(
        ReferenceFrame(f"teil-ö{n}", 1.7e9 + n, 0.25, 0.31, n == 1, 10.5 * n) for n in range(count)
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
        header["sha256"] = signature(
            header, {name: array for name, array in content.items() if name != "header"}
        )
    text = json.dumps(header).encode()
    np.savez(path, **{**content, "header": np.frombuffer(text, np.uint8)})


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
    refused(path, "is of version 1, this zeroline reads 3: make it anew with zeroline reference b")
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
        lambda header: header.update(frames=[[1, 1, 2, 3, False, 0]] * 3),
        lambda header: header.update(frames=[["a", 1, 2, 3]] * 3),
        lambda header: header.update(frames=[["a", 1, 2, 3, 1]] * 3),
        lambda header: header.update(frames=[["a", None, 2, 3, False, 0]] * 3),
        lambda header: header.update(frames=[["a", float("nan"), 2, 3, False, 0]] * 3),
        lambda header: header.update(degrees=None),
        lambda header: header.update(degrees=[]),
        lambda header: header.update(degrees="all"),
        lambda header: header.update(bundle=3),
        lambda header: header.update(false_alarm_rate="often"),
        lambda header: header.update(left_out=[]),
        lambda header: header.update(left_out=-1),
        lambda header: header.update(left_out="3"),
        lambda header: header.update(frames=[]),
        lambda header: header.update(frames=[["a", 1e300, 2, 3, False, 0]] * 3),
        lambda header: header.update(frames=[["a", 10**400, 2, 3, False, 0]] * 3),
        lambda header: header.update(frames=[["a", 1, float("inf"), 3, False, 0]] * 3),
        lambda header: header.update(frames=[["a", "1", 2, 3, False, 0]] * 3),
        lambda header: header.update(frames=[["\ud800", 1, 2, 3, False, 0]] * 3),
        lambda header: header.update(frames=[["a", 1.7e9, 2, 3, False, float("nan")]] * 3),
        lambda header: header.update(frames=[["a", 1.7e9, 2, 3, False]] * 3),
        lambda header: header.update(frames={"a": 1}),
        lambda header: header.update(degrees="135"),
        lambda header: header.update(degrees=[2]),
        lambda header: header.update(degrees=[True]),
        lambda header: header.update(false_alarm_rate=float("nan")),
        lambda header: header.update(false_alarm_rate=7),
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
    refused(tmp_path, "cannot be read: not a regular file")
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    refused(path, "is damaged")
    path.write_bytes(b"")
    refused(path, "is damaged")
    np.save(tmp_path / "one.npy", np.zeros(3))
    refused(tmp_path / "one.npy", "is damaged")
    np.savez(path, header=np.array([{}], dtype=object))
    refused(path, "is damaged, or no reference")
    np.savez(path, header=np.frombuffer(b'{"version": 3}', np.uint8))
    refused(path, "is damaged, or no reference")
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("header.npy", "nothing")
    refused(path, "is damaged, or no reference")


def claim(path, name, change):
    """Change the header of an array in a file, and nothing else."""
    with zipfile.ZipFile(path) as archive:
        members = {member: archive.read(member) for member in archive.namelist()}
    head, _, data = members[f"{name}.npy"].partition(b"\n")
    members[f"{name}.npy"] = change(head).ljust(len(head))[: len(head)] + b"\n" + data
    with zipfile.ZipFile(path, "w") as archive:
        for member, content in members.items():
            archive.writestr(member, content)


@pytest.mark.parametrize("name", ["layer_0", "class_tokens", "header"])
@pytest.mark.parametrize("change", [
    lambda head: re.sub(rb"\(\d+", b"(9999999999", head),
    lambda head: re.sub(rb"\([\d, ]*\)", b"(0,)", head),
    lambda head: re.sub(rb"\(\d+", b"(-1", head),
    lambda head: re.sub(rb"'[<|]..'", b"'|O'", head),
    lambda head: re.sub(rb"'[<|]..'", b"'|V0'", head),
    lambda head: re.sub(rb"\{.*", b"[" * 100, head),
    lambda head: head.replace(b"'descr", b"'\\d\\escr"),
])  # fmt: skip
def test_headers_of_arrays_that_claim_what_is_not_there(path, name, change):
    claim(path, name, change)
    tracemalloc.start()
    refused(path, "is damaged, or no reference: ")
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 50 << 20


def test_packed_zeros_are_not_unpacked(path):
    """A file of a few MiB would take gigabytes."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in ("header", "layer_0", "class_tokens"):
            archive.writestr(f"{name}.npy", bytes(1 << 25))
    tracemalloc.start()
    refused(path, "its arrays are packed")
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 1 << 25


def test_a_device_and_a_pipe_are_refused(tmp_path):
    (tmp_path / "zero.npz").symlink_to("/dev/zero")
    os.mkfifo(tmp_path / "pipe.npz")
    for name in ("zero.npz", "pipe.npz"):
        refused(tmp_path / name, "cannot be read: not a regular file")


@pytest.mark.parametrize("change", [
    lambda arrays: arrays.update(layer_1=arrays["layer_1"][:, :9]),
    lambda arrays: arrays.update(layer_1=arrays["layer_1"][:2]),
    lambda arrays: arrays.update(class_tokens=arrays["class_tokens"][:2]),
    lambda arrays: arrays.update(layer_0=arrays["layer_0"][..., :0]),
    lambda arrays: arrays.update(layer_0=arrays["layer_0"][..., 0]),
    lambda arrays: arrays.update(layer_0=arrays["layer_0"].astype(np.int32)),
    lambda arrays: arrays.update(layer_0=arrays["layer_0"].astype(np.complex64)),
    lambda arrays: arrays.update(layer_0=np.full_like(arrays["layer_0"], np.inf)),
    lambda arrays: arrays.update(class_tokens=np.full_like(arrays["class_tokens"], np.inf)),
    lambda arrays: arrays.update({name: array[:0] for name, array in arrays.items()}),
    lambda arrays: arrays.pop("layer_0"),
    lambda arrays: arrays.pop("class_tokens"),
    lambda arrays: arrays.update(layer_2=arrays.pop("layer_1")),
])  # fmt: skip
def test_arrays_that_do_not_fit_though_their_hash_does(path, change):
    with np.load(path) as content:
        arrays = {name: content[name] for name in content.files}
    header = json.loads(arrays.pop("header").tobytes())
    change(arrays)
    header["frames"] = header["frames"][: len(arrays.get("class_tokens", [0] * 3)) or None]
    header.pop("sha256")
    if len(header["frames"]) == 2:
        header["frames"] *= 2
    header["sha256"] = signature(header, arrays)
    np.savez(path, header=np.frombuffer(json.dumps(header).encode(), np.uint8), **arrays)
    refused(path, "is damaged, or no reference: ")


def test_a_set_of_another_shape_is_refused_by_a_line(path, bundle_folder):
    """Its network is right by name; the window would have failed at its first frame."""
    with load_bundle(bundle_folder, device="cpu") as bundle:
        network = bundle.manifest.network
        narrow = Tokens(tuple(layer[..., :8] for layer in parts(range(3)).layers), np.eye(3))
        write_reference(path, dataclasses.replace(reference_set(), tokens=narrow, network=network))
        with (
            RollingInspector(bundle, window=8, min_window=4) as line,
            pytest.raises(ReferenceFileError, match=r"has tokens of .*, the network gives"),
        ):
            line.load_reference(path)


def test_class_tokens_of_another_length_are_refused_by_a_line(path, bundle_folder):
    """RsCIN rests on unit rows where the network gives unit rows."""
    with load_bundle(bundle_folder, device="cpu") as bundle:
        spec = bundle.manifest.outputs
        layers = tuple(np.ones((3, t.patches, t.channels), np.float32) for t in spec.tokens)
        long = Tokens(layers, np.full((3, spec.class_token.channels), 2, np.float32))
        whole = dataclasses.replace(reference_set(), tokens=long, network=bundle.manifest.network)
        write_reference(path, whole)
        with (
            RollingInspector(bundle, window=8, min_window=4) as line,
            pytest.raises(ReferenceFileError, match=r"class token of length 6\.9.*gives 1"),
        ):
            line.load_reference(path)


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
