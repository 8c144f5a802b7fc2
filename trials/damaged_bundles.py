"""Damaged bundles and reference sets: each is refused in one line, or gives the right result.

Half of the damage is seen by a hash. The other half is signed anew, as if the file had been made
so: then whatever is accepted must work. Nothing may end in a traceback or a crash, print lines of
its own, or take more than 10 s or 2 GiB. 500 files of each for each seed.
"""

from __future__ import annotations

import io
import json
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from trials.damage import damaged, odd_values
from trials.resumed import Rows
from trials.watched import Seen, Watched
from zeroline.export.wrap import InputRules, wrap_onnx
from zeroline.runtime import RollingInspector, Tokens, load_bundle
from zeroline.runtime.archives import signature
from zeroline.runtime.errors import ZerolineError
from zeroline.runtime.framing.framing import Framing
from zeroline.runtime.network.open import BUNDLED, sha256_of
from zeroline.runtime.reference.files import read_reference, write_reference
from zeroline.runtime.reference.sets import ReferenceFrame, ReferenceSet

#: 20,000 files of each.
SEEDS = tuple(range(1000, 1040))
COUNT = 500
_FRAMES = 6


@lru_cache(maxsize=1)
def frame() -> Any:
    """Draw what every network is asked about."""
    y, x = np.mgrid[:96, :96]
    texture = 120 + 30 * np.sin(x / 7) * np.cos(y / 9)
    return np.dstack([texture, texture + 9, texture - 9]).astype(np.uint8)


def make_originals(folder: Path) -> None:
    """Make a bundle with a file beside its network, and a reference set."""
    model = onnx.load(BUNDLED / "tiny" / "model.onnx")
    onnx.save(
        model, folder / "net.onnx", save_as_external_data=True, location="net.weights",
        size_threshold=4096,
    )  # fmt: skip
    half = (0.5, 0.5, 0.5)
    wrap_onnx(folder / "net.onnx", folder / "bundle", rules=InputRules(320, half, half))
    with load_bundle(folder / "bundle", device="cpu", threads=1) as bundle:
        image = bundle.prepare(frame())
        noise = np.random.default_rng(0).normal(0, 0.1, (_FRAMES, *image.shape))
        tokens = bundle.embed((image + noise).astype(np.float32))
        frames = tuple(ReferenceFrame(f"part {n}", 1e9 + n, 0.3, 0.4) for n in range(_FRAMES))
        network = bundle.manifest.network
    mask = np.arange(20 * 30).reshape(20, 30) % 7 > 0
    framing = Framing(size=(20, 30), crop=((2, 2), (28, 2), (2, 18)), mask=mask)
    small = Tokens(tuple(layer[:, :16] for layer in tokens.layers), tokens.class_tokens)
    for name, some in (("whole", tokens), ("small", small)):
        reference = ReferenceSet(some, frames, "net", network, (1, 3), 0.01, framing=framing)
        write_reference(folder / f"{name}.npz", reference)


@lru_cache(maxsize=1)
def answer(folder: Path) -> Any:
    """Return the right tokens of the frame, and the network's bundle."""
    bundle = load_bundle(folder / "bundle", device="cpu", threads=1)
    return bundle, bundle.embed(bundle.prepare(frame())[None])


def bundle_case(folder: Path, case: tuple[int, int]) -> tuple[str, str]:
    """Damage one file of the bundle, and load it."""
    rng = np.random.default_rng((*case, 1))
    _, right = answer(folder)
    with tempfile.TemporaryDirectory(dir=folder) as name:
        spoiled = Path(name) / "bundle"
        shutil.copytree(folder / "bundle", spoiled)
        file = str(rng.choice(["manifest.json", "model.onnx", "net.weights"]))
        path, signed = spoiled / file, bool(rng.random() < 0.6)
        manifest = json.loads((spoiled / "manifest.json").read_text())
        if file == "manifest.json" and signed:
            del manifest["checksum"]
            path.write_text(json.dumps(odd_values(manifest, rng)))
        else:
            content, _ = damaged(path.read_bytes(), rng)
            path.write_bytes(content)
        if file != "manifest.json" and signed:
            manifest["files"][file] = sha256_of(path)
            del manifest["checksum"]
            (spoiled / "manifest.json").write_text(json.dumps(manifest))
        try:
            with load_bundle(spoiled, device="cpu", threads=1) as bundle:
                found = bundle.embed(bundle.prepare(frame())[None])
        except ZerolineError as error:
            return refused(error)
    if same(found, right):
        return "right", ""
    if signed:
        return "another bundle", f"{file} {case}"
    return "wrong", f"{file} was changed, and loaded"


def reference_case(folder: Path, case: tuple[int, int]) -> tuple[str, str]:
    """Damage a reference set, and load it into a window."""
    rng = np.random.default_rng((*case, 2))
    bundle, _ = answer(folder)
    name = str(rng.choice(["whole", "small"]))
    original, spoiled = folder / f"{name}.npz", folder / "spoiled.npz"
    signed = bool(rng.random() < 0.5)
    content = signed_anew(original, rng) if signed else damaged(original.read_bytes(), rng)[0]
    spoiled.write_bytes(content)
    try:
        found = read_reference(spoiled)
        with RollingInspector(bundle, window=8, min_window=4, codegraph=False, threads=1) as line:
            if name == "whole":
                line.load_reference(spoiled)
                line.push(frame())
    except ZerolineError as error:
        return refused(error)
    wanted = read_reference(original)
    if found == wanted and same(found.tokens, wanted.tokens):
        return "right", ""
    return ("another set", str(case)) if signed else ("wrong", "a changed set was accepted")


def signed_anew(path: Path, rng: np.random.Generator) -> bytes:
    """Return a set with odd values or arrays whose hash fits."""
    with np.load(path) as content:
        arrays = {name: content[name] for name in content.files}
    header = json.loads(arrays.pop("header").tobytes())
    header.pop("sha256")
    if rng.random() < 0.6:
        header = odd_values(header, rng)
    else:
        name = str(rng.choice(list(arrays)))
        arrays[name] = odd_array(arrays[name], rng)
    if isinstance(header, dict):
        header["sha256"] = signature(header, arrays)
    text = np.frombuffer(json.dumps(header).encode(), np.uint8)
    file = io.BytesIO()
    np.savez(file, header=text, **arrays)
    return file.getvalue()


def odd_array(array: Any, rng: np.random.Generator) -> Any:
    """Return an array of another shape, type or with odd values."""
    forms: tuple[Callable[[], Any], ...] = (
        lambda: array[:-1],
        lambda: array[..., :-1],
        lambda: array[:0],
        lambda: array[:, :0],
        lambda: array[0],
        lambda: array[None],
        lambda: np.concatenate([array, array]),
        lambda: array.astype(np.float64),
        lambda: array.astype(np.float16),
        lambda: array.astype(">f4"),
        lambda: array.astype(np.longdouble),
        lambda: array.astype(np.int32),
        lambda: array.astype(np.complex64),
        lambda: array.astype("U9"),
        lambda: np.asfortranarray(array),
        lambda: np.full_like(array, np.nan),
        lambda: np.full_like(array, np.inf),
        lambda: np.full_like(array, 3e38),
        lambda: np.zeros_like(array),
        lambda: np.float32(1),
    )
    return forms[rng.integers(len(forms))]()


def refused(error: ZerolineError) -> tuple[str, str]:
    """Return a refusal; it must be one line of some length."""
    text = str(error)
    clear = 20 < len(text) < 1000 and "\n" not in text
    return ("refused", text) if clear else ("wrong", f"no clear line: {text[:500]!r}")


def same(one: Tokens, other: Tokens) -> bool:
    """Tell whether tokens are equal."""
    pairs = zip((*one.layers, one.class_tokens), (*other.layers, other.class_tokens), strict=False)
    return len(one.layers) == len(other.layers) and all(np.array_equal(a, b) for a, b in pairs)


CASES = {"bundles": bundle_case, "reference sets": reference_case}


def run(report: Callable[[str], None], *, seeds: Iterable[int] = SEEDS, rows: Rows) -> None:
    """Report what came of all files, and every broken rule; see `false_alarms.run`."""
    seeds = list(seeds)
    for kind in CASES:
        for seed in seeds:
            rows.once({"seed": seed, "kind": kind}, partial(of_seed, kind, seed, count=COUNT))
    report("| files | damaged | what came of them | longest | most memory |")
    report("|---|---|---|---|---|")
    chosen = [row for row in rows.all() if row["seed"] in seeds]
    for kind in CASES:
        some = [row for row in chosen if row["kind"] == kind]
        outcomes: Counter[str] = Counter()
        for row in some:
            outcomes.update(row["outcomes"])
        words = ", ".join(f"{count} {outcome}" for outcome, count in outcomes.most_common())
        longest, most = (max(row[name] for row in some) for name in ("seconds", "mib"))
        report(f"| {kind} | {outcomes.total()} | {words} | {longest:.1f} s | {most:.0f} MiB |")
    for row in chosen:
        for text in row["broken"]:
            report(f"broken: {row['kind']}, seed {row['seed']}: {text}")


def of_seed(kind: str, seed: int, *, count: int) -> dict[str, Any]:
    """Return what came of `count` files of one kind."""
    outcomes: Counter[str] = Counter()
    broken: list[str] = []
    seconds = mib = 0.0
    with tempfile.TemporaryDirectory() as name:
        make_originals(Path(name))
        with Watched(partial(CASES[kind], Path(name))) as process:
            for number in range(count):
                seen: Seen = process.do((seed, number))
                outcomes[seen.outcome] += 1
                seconds, mib = max(seconds, seen.seconds), max(mib, seen.mib)
                if seen.broken:
                    broken.append(f"file {number}: {seen.outcome}: {seen.text}")
    return {"outcomes": dict(outcomes), "broken": broken, "seconds": seconds, "mib": mib}
