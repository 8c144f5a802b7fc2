"""From a float32 ONNX file to a bundle that has passed the gate, whatever made the file.

Choose what a precision leaves in float32, check the graph, wrap it, let the gate compare the
finished bundle with its original, and only then give the bundle its name. Where anything fails
nothing is left behind.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx

from zeroline.export.gate import Original, gate
from zeroline.export.graph_check import GraphReport, check_graph
from zeroline.export.precision import SampleFrames, narrow
from zeroline.export.wrap import InputRules, wrap_onnx
from zeroline.runtime.network.manifest import Manifest, write_manifest
from zeroline.runtime.network.model import Report
from zeroline.runtime.network.parity import Parity

#: How often the weights, in float32, lie on the disk at once: the network and its bundle; for
#: another precision also what was narrowed, and what rounds like it.
COPIES = {"fp32": 2, "fp16": 3, "int8": 3}


@dataclass(frozen=True)
class Exported:
    """A bundle that passed the gate, and what was measured on the way.

    Attributes
    ----------
    manifest : Manifest
    graph : GraphReport
    parity : Parity
    kept : tuple of str
        What stayed in float32.
    """

    manifest: Manifest
    graph: GraphReport
    parity: Parity
    kept: tuple[str, ...]


def make_bundle(
    plain: Path,
    output: Path,
    staging: Path,
    *,
    original: Original,
    samples: SampleFrames,
    precision: str,
    label: str,
    rules: InputRules,
    report: Report,
    **described: Any,
) -> Exported:
    """Make a bundle of a float32 ONNX file.

    Parameters
    ----------
    plain : Path
    output : Path
        The bundle's folder; must not exist yet, or be empty.
    staging : Path
        From `staged`.
    original : Original
        What the bundle shall do.
    samples : SampleFrames
    precision : {"fp32", "fp16", "int8"}
    label : str
        Names the network in errors.
    rules : InputRules
    report : callable
        Takes lines of progress.
    **described
        Further parts of the manifest, as `wrap_onnx` takes them.

    Raises
    ------
    ExportError
        If the graph is not fit for TensorRT.
    ParityError
        If the bundle differs too much from its original.
    """
    wanted = original.tokens(samples.gate)
    narrowed = narrow(plain, precision, original, samples, staging, wanted=wanted, report=report)
    graph = check_graph(onnx.load(narrowed.path, load_external_data=False), label=label)
    report(f"exported: {graph}")
    folder = staging / "bundle"
    manifest = wrap_onnx(
        narrowed.path,
        folder,
        rules=rules,
        precision=precision,
        kept_in_float32=narrowed.kept,
        **described,
    )
    parity = gate(folder, original, samples.gate, wanted=wanted, simulated=narrowed.simulated)
    report(f"parity: {parity}")
    manifest = manifest.model_copy(update={"parity": parity.figures()})
    write_manifest(folder, manifest)
    if output.exists():
        output.rmdir()
    folder.rename(output)
    return Exported(manifest, graph, parity, narrowed.kept)
