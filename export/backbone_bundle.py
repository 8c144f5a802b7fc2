"""From a backbone's name to a bundle that has passed the gate.

Build the tower, export it, choose the precision's islands by measured error, check the graph,
wrap it, let the gate compare the finished bundle with the framework, and only then give the
bundle its name. Where anything fails nothing is left behind.
"""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import numpy as np
import onnx
import torch

from zeroline.export.backbones import Backbone
from zeroline.export.convert import LARGE, is_large, to_onnx
from zeroline.export.errors import ExportError, ParityError
from zeroline.export.gate import (
    LIMITS,
    Parity,
    check_parity,
    measure_parity,
    network_tokens,
    tower_tokens,
)
from zeroline.export.graph_check import GraphReport, check_graph
from zeroline.export.half import LEVELS, Islands, rounded, to_half
from zeroline.export.probes import probe_frames
from zeroline.export.towers import Tower, build_tower
from zeroline.export.weights import Weights
from zeroline.export.wrap import InputRules, free_output, wrap_onnx
from zeroline.runtime.bundle import load_bundle
from zeroline.runtime.frames import Frame
from zeroline.runtime.manifest import MANIFEST_NAME, Defaults, Manifest, Source
from zeroline.runtime.scoring import embed_images
from zeroline.runtime.session import OnnxRuntimeSession
from zeroline.runtime.tokens import Tokens

Tell = Callable[[str], None]


@dataclass(frozen=True)
class Request:
    """What is to be exported; see `build_tower` for size and layers."""

    backbone: Backbone
    weights: Weights
    size: int | None = None
    layers: tuple[int, ...] | None = None
    precision: str = "fp32"
    licence: str | None = None
    defaults: Defaults | None = None


@dataclass(frozen=True)
class Exported:
    """A bundle that passed the gate, and what was measured on the way."""

    manifest: Manifest
    graph: GraphReport
    parity: Parity
    islands: Islands | None


def export_backbone(
    request: Request,
    output: Path,
    *,
    name: str | None = None,
    frames: Sequence[Frame] | None = None,
    tell: Tell = lambda _: None,
) -> Exported:
    """Export a backbone to a bundle.

    Parameters
    ----------
    request : Request
    output : Path
        The bundle's folder; must not exist yet, or be empty.
    name : str, optional
        Of the bundle; the output folder's name when not given.
    frames : sequence of arrays, shape (H, W, 3), uint8, optional
        BGR frames of one kind of part for the gate; drawn ones when not given.
    tell : callable
        Takes lines of progress.

    Raises
    ------
    ExportError
        For a request that cannot be met.
    ParityError
        If the bundle differs too much from the framework.
    BundleError
        If the output folder is taken or cannot be written.
    """
    if request.precision not in LIMITS:
        raise ExportError(f'precision "{request.precision}": {" or ".join(LIMITS)} is expected')
    output = output.resolve()
    free_output(output)
    shown = list(frames) if frames else probe_frames()
    tower = build_tower(request.backbone, request.weights, size=request.size, layers=request.layers)
    if request.precision == "fp16" and is_large(tower):
        raise ExportError(
            f"{request.backbone.name} has over {LARGE / 1e9:.1f} GB of weights, too many for fp16; "
            "fp32 can be exported"
        )
    tell(f"built {request.backbone.name}, {tower.size}×{tower.size}, layers {tower.layers}")
    output.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=output.parent, prefix=f".{output.name}.") as temporary:
        folder = Path(temporary)
        path = folder / "plain.onnx"
        to_onnx(tower, path, size=tower.size, outputs=tower.outputs)
        wanted = tower_tokens(tower, shown)
        islands = None
        simulated: Path | None = None
        if request.precision == "fp16":
            path, simulated, islands = _half(tower, path, folder, shown, wanted, tell)
        graph = check_graph(onnx.load(path, load_external_data=False), label=request.backbone.name)
        tell(f"exported: {graph}")
        manifest = wrap_onnx(
            path,
            folder / "bundle",
            rules=InputRules(
                size=tower.size,
                mean=tower.pixels.mean,
                std=tower.pixels.std,
                interpolation=tower.pixels.interpolation,
            ),
            name=name or output.name,
            layers=tuple(tower.layers),
            defaults=request.defaults,
            source=Source(
                architecture=f"{request.backbone.name} ({request.backbone.family})",
                weights=request.weights.described(),
                licence=request.licence or tower.licence,
            ),
            tools=_tools(request.backbone),
        )
        parity = gate(
            folder / "bundle",
            tower,
            shown,
            wanted=wanted,
            precision=request.precision,
            simulated=simulated,
        )
        tell(f"parity: rank correlation {parity.rank:.5f}, image scores within {parity.score:.2%}")
        manifest = manifest.model_copy(update={"parity": parity.figures()})
        text = manifest.model_dump_json(indent=1)
        (folder / "bundle" / MANIFEST_NAME).write_text(text, encoding="utf-8")
        if output.exists():
            output.rmdir()
        (folder / "bundle").rename(output)
    return Exported(manifest, graph, parity, islands)


def gate(
    folder: Path,
    tower: Tower,
    frames: Sequence[Frame],
    *,
    precision: str,
    wanted: Tokens | None = None,
    simulated: Path | None = None,
) -> Parity:
    """Let a bundle through, or refuse it; see `check_parity`.

    Parameters
    ----------
    folder : Path
        Of the bundle.
    wanted : Tokens, optional
        What the tower gives for the frames, where that is known already.
    simulated : Path, optional
        A float32 network that rounds as the bundle's half-precision one does. It must pass as
        well, since a CPU hides the overflows that a GPU would meet; its figures are returned.

    Raises
    ------
    ParityError
        If the bundle differs too much from the framework, or images of one batch from single
        ones.
    """
    limits = LIMITS[precision]
    with load_bundle(folder, device="cpu") as bundle:
        label = f'bundle "{bundle.name}" ({precision})'
        wanted = wanted or tower_tokens(tower, frames)
        parity = check_parity(tower, wanted, embed_images(frames, bundle), limits, label=label)
        few = np.stack([bundle.prepare(frame) for frame in frames[:3]])
        first = wanted.select(slice(0, len(few)))
        check_parity(
            tower, first, bundle.embed(few), limits, label=f"{label}, images in one batch,"
        )
        if simulated is None:
            return parity
        network = OnnxRuntimeSession(simulated, device="cpu")
        rounding = dataclasses.replace(bundle, session=network)
        made = embed_images(frames, rounding)
        return check_parity(tower, wanted, made, limits, label=f"{label}, with its roundings,")


def _half(
    tower: Tower,
    plain: Path,
    folder: Path,
    frames: Sequence[Frame],
    wanted: Tokens,
    tell: Tell,
) -> tuple[Path, Path, Islands]:
    """Choose the fewest islands that keep to the limits; return network, simulation, islands."""
    model = onnx.load(plain)
    path, simulated = folder / "half.onnx", folder / "simulated.onnx"
    failures: list[str] = []
    for islands in LEVELS:
        half = to_half(model, islands)
        onnx.save(half, path)
        onnx.save(rounded(half), simulated)
        parity = measure_parity(wanted, network_tokens(simulated, tower, frames), tower)
        failures = parity.failures(LIMITS["fp16"])
        tell(
            f"fp16 with {islands.name} in float32: least cosine {min(parity.cosine.values()):.6f}, "
            f"rank correlation {parity.rank:.5f}"
        )
        if not failures:
            return path, simulated, islands
    raise ParityError(f"fp16 does not follow float32 with any islands: {'; '.join(failures)}")


def _tools(backbone: Backbone) -> dict[str, str]:
    library = "open_clip_torch" if backbone.family == "CLIP" else "timm"
    return {"torch": torch.__version__, "onnx": onnx.__version__, library: version(library)}
