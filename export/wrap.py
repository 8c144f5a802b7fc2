"""Wrap an ONNX file that has the right outputs (export/README.md) as a bundle."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
from pydantic import ValidationError

from zeroline.export.staging import free_output, staged
from zeroline.runtime.batch import patch_and_image_scores
from zeroline.runtime.errors import BundleError, MissingExtraError
from zeroline.runtime.network.drawn import DRAWN, write_drawn
from zeroline.runtime.network.engines import FOLDER
from zeroline.runtime.network.external import external_files
from zeroline.runtime.network.manifest import (
    MANIFEST_NAME,
    ClassTokenOutput,
    Defaults,
    InputSpec,
    Manifest,
    Outputs,
    Rules,
    Source,
    TokenOutput,
    problems_of,
    write_manifest,
)
from zeroline.runtime.network.model import (
    Session,
    check_class_tokens,
    check_finite,
    check_network,
    fixed_batch,
    probe_images,
)
from zeroline.runtime.network.onnxruntime import OnnxRuntimeSession
from zeroline.runtime.network.open import sha256_of

CLASS_TOKEN = "class_token"  # noqa: S105 - the name of an output
TOKENS_PREFIX = "tokens_"
_MODEL = "model.onnx"
_OWN_FILES = frozenset({_MODEL, MANIFEST_NAME, DRAWN, FOLDER})


@dataclass(frozen=True)
class InputRules:
    """How frames become the network's input; mean and std for RGB, in the value range."""

    size: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    colour: str = "RGB"
    value_range: str = "0..1"
    interpolation: str = "bicubic"


def wrap_onnx(
    onnx_file: Path,
    output: Path,
    *,
    rules: InputRules,
    name: str | None = None,
    defaults: Defaults | None = None,
    source: Source | None = None,
    layers: tuple[int, ...] = (),
    parity: dict[str, float] | None = None,
    tools: dict[str, str] | None = None,
    precision: str = "fp32",
    kept_in_float32: tuple[str, ...] = (),
    network_rules: Rules | None = None,
    unit_class_token: bool = True,
) -> Manifest:
    """Make a bundle of an ONNX file, its external data included.

    Parameters
    ----------
    onnx_file : Path
        One input (B, 3, S, S); outputs ``tokens_0``, ``tokens_1``, …, each (B, P, C_l) without
        a class token, and ``class_token`` (B, D), of unit length where `unit_class_token`. Other
        outputs are ignored.
    output : Path
        The bundle's folder; must not exist yet, or be empty.
    rules : InputRules
    name : str, optional
        Of the bundle; the output folder's name when not given.
    defaults, source, layers, parity, tools, precision, kept_in_float32, network_rules : optional
        Parts of the manifest; the tools join those that are used here.

    Returns
    -------
    Manifest
        As written.

    Raises
    ------
    BundleError
        If the file is no ONNX, its input or outputs are of another form, or the output folder
        is taken. Nothing is left behind then.
    """
    free_output(output)
    if not onnx_file.exists():
        raise BundleError(f'ONNX file "{onnx_file}" does not exist')
    if not onnx_file.is_file():
        raise BundleError(f'ONNX file "{onnx_file}" is not a file')
    parts = _external_files(onnx_file)
    names = [onnx_file.name, *parts]
    size = sum((onnx_file.parent / part).stat().st_size for part in names)
    try:
        with staged(output, size=size) as folder:
            staging = folder / "bundle"
            staging.mkdir()
            shutil.copyfile(onnx_file, staging / _MODEL)
            for part in parts:
                (staging / part).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(onnx_file.parent / part, staging / part)
            manifest = _describe(
                staging,
                label=str(onnx_file),
                files=[_MODEL, *parts],
                rules=rules,
                name=name or output.resolve().name,
                defaults=defaults or Defaults(),
                source=source or Source(),
                layers=layers,
                parity=parity,
                tools=tools or {},
                precision=precision,
                kept_in_float32=kept_in_float32,
                network_rules=network_rules or Rules(),
                unit_class_token=unit_class_token,
            )
            write_manifest(staging, manifest)
            if output.exists():
                output.rmdir()
            staging.rename(output)
    except ValidationError as error:
        raise BundleError(
            f'no bundle can be made of "{onnx_file}": {problems_of(error)}'
        ) from error
    return manifest


def _external_files(onnx_file: Path) -> list[str]:
    """List the files, relative to the ONNX file, that hold its large tensors."""
    try:
        import onnx
        from google.protobuf.message import DecodeError
    except ModuleNotFoundError as error:
        raise MissingExtraError("onnx", extra="export", purpose="to read ONNX files") from error
    try:
        onnx.load(onnx_file, load_external_data=False)
        onnx.checker.check_model(str(onnx_file))
    except (DecodeError, onnx.checker.ValidationError) as error:
        reason = str(error).strip().splitlines()[0]
        raise BundleError(f'"{onnx_file}" is not a valid ONNX file: {reason}') from error
    names = external_files(onnx_file)
    for name in names:
        if name.lower() in _OWN_FILES or PurePosixPath(name).parts[0].lower() in _OWN_FILES:
            raise BundleError(
                f'"{onnx_file}": external data "{name}" has the name of a bundle\'s own file: save '
                "it under another one"
            )
        if not (onnx_file.parent / name).is_file():
            raise BundleError(
                f'"{onnx_file}": external data "{name}" is missing, or not a regular file'
            )
    return names


def _describe(
    folder: Path,
    *,
    label: str,
    files: list[str],
    rules: InputRules,
    name: str,
    defaults: Defaults,
    source: Source,
    layers: tuple[int, ...],
    parity: dict[str, float] | None,
    tools: dict[str, str],
    precision: str,
    kept_in_float32: tuple[str, ...],
    network_rules: Rules,
    unit_class_token: bool,
) -> Manifest:
    """Build the manifest from what the network really does."""
    import onnxruntime

    session = OnnxRuntimeSession(folder / _MODEL, device="cpu")
    input_name = next(iter(session.inputs))
    mean, std = rules.mean, rules.std
    if rules.colour == "BGR":
        mean, std = (mean[2], mean[1], mean[0]), (std[2], std[1], std[0])
    manifest = Manifest.model_validate(
        {
            "name": name,
            "input": InputSpec.model_validate(
                {
                    "name": input_name,
                    "size": rules.size,
                    "colour": rules.colour,
                    "value_range": rules.value_range,
                    "mean": mean,
                    "std": std,
                    "interpolation": rules.interpolation,
                }
            ),
            "outputs": _outputs(
                session, input_name, rules.size, unit=unit_class_token, label=f'"{label}"'
            ),
            "layers": layers,
            "precision": precision,
            "kept_in_float32": kept_in_float32,
            "defaults": defaults,
            "source": source,
            "rules": network_rules,
            "files": {file: sha256_of(folder / file) for file in files},
            "tools": {
                "onnxruntime": onnxruntime.__version__,
                "numpy": np.__version__,
                **tools,
            },
            "parity": parity,
        }
    )
    check_network(session, manifest, label=label)
    write_drawn(folder, manifest, session, patch_and_image_scores)
    hashes = {**manifest.files, DRAWN: sha256_of(folder / DRAWN)}
    return manifest.model_copy(update={"files": hashes})


def _outputs(session: Session, input_name: str, size: int, *, unit: bool, label: str) -> Outputs:
    """Find the token outputs and their sizes by a probe run."""
    numbered = {
        int(output.removeprefix(TOKENS_PREFIX)): output
        for output in session.outputs
        if output.startswith(TOKENS_PREFIX) and output.removeprefix(TOKENS_PREFIX).isdigit()
    }
    if (
        CLASS_TOKEN not in session.outputs
        or sorted(numbered) != list(range(len(numbered)))
        or not numbered
    ):
        raise BundleError(
            f"{label} has the outputs {', '.join(session.outputs)}; "
            f'"{TOKENS_PREFIX}0", "{TOKENS_PREFIX}1", … and "{CLASS_TOKEN}" are expected'
        )
    batch = fixed_batch(session, input_name, size, label=label)
    outputs = session.run(input_name, probe_images(size, batch=batch or 2))
    for output in (*numbered.values(), CLASS_TOKEN):
        dimensions = 2 if output == CLASS_TOKEN else 3
        if outputs[output].ndim != dimensions:
            raise BundleError(
                f'{label}: output "{output}" has shape {outputs[output].shape}, '
                f"{dimensions} dimensions are expected"
            )
        check_finite(outputs[output], output, label=label)
    check_class_tokens(outputs[CLASS_TOKEN], unit=unit, label=label)
    return Outputs(
        tokens=tuple(
            TokenOutput(
                name=output, patches=outputs[output].shape[1], channels=outputs[output].shape[2]
            )
            for _, output in sorted(numbered.items())
        ),
        class_token=ClassTokenOutput(
            name=CLASS_TOKEN, channels=outputs[CLASS_TOKEN].shape[1], unit=unit
        ),
    )
