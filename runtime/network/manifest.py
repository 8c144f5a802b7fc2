"""The manifest of a model bundle: everything that the runtime must know about the model."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path, PurePosixPath
from reprlib import repr as shown
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from zeroline.runtime.errors import BundleError, ScoringError
from zeroline.runtime.files import open_regular
from zeroline.runtime.grid import grid_side

SCHEMA_VERSION = 1
MANIFEST_NAME = "manifest.json"
_MOST_PROBLEMS = 5  # that are named
_LONGEST = 4 << 20  # bytes; a manifest has a few thousand

# no pixel value comes near; what is divided stays a finite float32
_Channel = Annotated[float, Field(ge=-1e6, le=1e6, allow_inf_nan=False)]
_LEAST_STD = 1e-6
_Triple = tuple[_Channel, _Channel, _Channel]
_Fraction = Annotated[float, Field(ge=0, le=1)]
_Positive = Annotated[int, Field(ge=1)]
_Name = Annotated[str, Field(min_length=1, max_length=200)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class InputSpec(_Part):
    """How a uint8 BGR frame becomes the network's input tensor."""

    name: _Name = Field(description="Name of the ONNX input, shape (B, 3, S, S), float32")
    size: Annotated[int, Field(ge=8, le=4096)] = Field(description="Side S in pixels")
    colour: Literal["RGB", "BGR"] = Field("RGB", description="Channel order of the tensor")
    value_range: Literal["0..1", "0..255"] = Field(
        "0..1", description="Range of the pixel values from which mean is subtracted"
    )
    mean: _Triple = Field(description="Per channel, in the tensor's order and value range")
    std: _Triple = Field(description="Per channel, in the tensor's order and value range")
    resize: Literal["stretch"] = Field(
        "stretch", description="stretch: both sides to S, the aspect is not kept"
    )
    interpolation: Literal["bicubic", "bilinear", "lanczos", "nearest"] = Field(
        "bicubic", description="As Pillow does it: on uint8, antialiased where it shrinks"
    )

    @field_validator("std")
    @classmethod
    def _not_zero(cls, std: _Triple) -> _Triple:
        if min(std) < _LEAST_STD:
            raise ValueError(f"all three values must be over 0, {_LEAST_STD:f} at least")
        return std


class TokenOutput(_Part):
    """One output of patch tokens, shape (B, patches, channels), without a class token."""

    name: _Name
    patches: _Positive
    channels: _Positive


class ClassTokenOutput(_Part):
    """The output of class tokens, shape (B, channels)."""

    name: _Name
    channels: _Positive
    unit: bool = Field(
        True, description="Rows of unit length; false: as the network makes them, so in RsCIN"
    )


class Outputs(_Part):
    """The network's outputs; `tokens` in the order of the layers."""

    tokens: Annotated[tuple[TokenOutput, ...], Field(min_length=1)]
    class_token: ClassTokenOutput

    @model_validator(mode="after")
    def _one_grid(self) -> Outputs:
        names = [output.name for output in self.tokens]
        if len(set(names)) < len(names):
            raise ValueError(f"outputs {names}: each may be named once")
        patches = {output.patches for output in self.tokens}
        if len(patches) > 1:
            raise ValueError(f"outputs with {sorted(patches)} patches: all must have as many")
        try:
            grid_side(*patches)
        except ScoringError as error:
            raise ValueError(str(error)) from error
        return self


class Defaults(_Part):
    """Scoring options that suit this backbone; the caller may override each."""

    degrees: Annotated[tuple[_Positive, ...], Field(min_length=1)] = (1, 3, 5)
    rscin: tuple[_Positive, ...] = Field(
        default=(1, 2, 3), description="Neighbourhood sizes of RsCIN; empty: off"
    )
    interval: tuple[_Fraction, _Fraction] = (0.0, 0.3)

    @field_validator("degrees")
    @classmethod
    def _odd(cls, degrees: tuple[int, ...]) -> tuple[int, ...]:
        if any(degree % 2 == 0 for degree in degrees):
            raise ValueError("degrees must be odd")
        return degrees

    @field_validator("interval")
    @classmethod
    def _in_order(cls, interval: tuple[float, float]) -> tuple[float, float]:
        if interval[0] >= interval[1]:
            raise ValueError("the first fraction must be less than the second")
        return interval


class Source(_Part):
    """Where the network comes from; shown in reports."""

    architecture: str = "unknown"
    weights: str = "unknown"
    licence: str = "unknown"
    sha256: Annotated[str, Field(description="Of the checkpoint's file, where it was one")] = (
        "unknown"
    )


class Rules(_Part):
    """Whose network it is, where a tower can be built in more than one way."""

    follows: Annotated[
        Literal["musc", "framework", "unknown"],
        Field(description="musc: the published figures; framework: its makers"),
    ] = "unknown"
    position_table: Annotated[
        str, Field(description="How it was brought to this size from the trained one")
    ] = "unknown"
    activation: str = "unknown"


class Manifest(_Part):
    """The content of ``manifest.json``."""

    schema_version: Literal[1] = 1
    name: _Name
    model: _Name = Field("model.onnx", description="The ONNX file, relative to the bundle")
    input: InputSpec
    outputs: Outputs
    layers: tuple[int, ...] = Field((), description="Blocks behind the token outputs, 0-based")
    precision: Literal["fp32", "fp16", "int8"] = Field(
        "fp32", description="Of weights and activations; input and outputs are float32"
    )
    kept_in_float32: tuple[str, ...] = Field(
        (), description="What is not of that precision, by kind or by node"
    )
    defaults: Defaults = Defaults()
    source: Source = Source()
    rules: Rules = Rules()
    files: dict[str, Annotated[str, Field(pattern="^[0-9a-f]{64}$")]] = Field(
        description="sha256 of every file of the bundle but the manifest itself"
    )
    tools: dict[str, str] = Field(default_factory=dict, description="Versions that made it")
    parity: dict[str, float] | None = Field(
        None, description="How closely the exported file follows the framework's model"
    )

    checksum: str | None = Field(
        None, description="sha256 of all other keys; without it the manifest is taken as it is"
    )

    @property
    def network(self) -> str:
        """sha256 of the ONNX file: what tells one network from another."""
        return self.files[self.model]

    @model_validator(mode="after")
    def _files_inside(self) -> Manifest:
        for name in (self.model, *self.files):
            path = PurePosixPath(name)
            if path.is_absolute() or ".." in path.parts or "\\" in name:
                raise ValueError(f'file "{name}" does not lie inside the bundle')
        if self.model not in self.files:
            raise ValueError(f'model "{self.model}" is not among the files')
        return self


def read_manifest(folder: Path) -> Manifest:
    """Read and check a bundle's manifest.

    Raises
    ------
    BundleError
        If it is missing, not JSON, of another schema version, or has wrong fields.
    """
    path = folder / MANIFEST_NAME
    try:
        with open_regular(path) as file:
            text = file.read(_LONGEST + 1)
        if len(text) > _LONGEST:
            raise BundleError(
                f'bundle "{folder}": {MANIFEST_NAME} is longer than {_LONGEST >> 20} MiB'
            )
        content: Any = json.loads(text.decode("utf-8"))
    except FileNotFoundError as error:
        raise BundleError(f'"{folder}" is not a model bundle: it has no {MANIFEST_NAME}') from error
    except (OSError, ValueError, RecursionError) as error:
        reason = getattr(error, "strerror", None) or error
        raise BundleError(f'bundle "{folder}": {MANIFEST_NAME} cannot be read: {reason}') from error
    if not isinstance(content, dict):
        raise BundleError(f'bundle "{folder}": {MANIFEST_NAME} is not a JSON object')
    version = content.get("schema_version")
    if type(version) is not int or version != SCHEMA_VERSION:
        raise BundleError(
            f'bundle "{folder}": schema_version is {shown(version)}, '
            f"this zeroline reads {SCHEMA_VERSION}"
        )
    try:
        _check_sum(folder, content)
        # strict would refuse JSON's lists where tuples are declared, so JSON mode is used
        return Manifest.model_validate_json(json.dumps(content))
    except RecursionError as error:
        raise BundleError(f'bundle "{folder}": {MANIFEST_NAME} is nested too deep') from error
    except ValidationError as error:
        raise BundleError(f'bundle "{folder}": {MANIFEST_NAME}: {problems_of(error)}') from error


def _check_sum(folder: Path, content: dict[str, Any]) -> None:
    """Refuse a manifest with a changed value: another mean or size would pass else."""
    if content.get("checksum") not in (None, _sum_of(content)):
        raise BundleError(
            f'bundle "{folder}": {MANIFEST_NAME} was changed or damaged: its checksum does not '
            'fit. If you changed it, remove the key "checksum"'
        )


def _sum_of(content: dict[str, Any]) -> str:
    others = {key: value for key, value in content.items() if key != "checksum"}
    return hashlib.sha256(json.dumps(others, sort_keys=True).encode()).hexdigest()


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write a bundle's manifest, with its checksum."""
    content = json.loads(manifest.model_dump_json(exclude={"checksum"}))
    content["checksum"] = _sum_of(content)
    text = json.dumps(content, indent=1, ensure_ascii=False)
    (folder / MANIFEST_NAME).write_text(text + "\n", encoding="utf-8")


def problems_of(error: ValidationError) -> str:
    """Return what pydantic found wrong on one line: field, reason, value."""
    parts = []
    problems = error.errors(include_url=False)
    for problem in problems[:_MOST_PROBLEMS]:
        field = ".".join(map(str, problem["loc"])) or "manifest"
        reason = problem["msg"].removeprefix("Value error, ")
        value = shown(problem["input"])
        parts.append(f"{field[:80]}: {reason}" + (f" (is {value})" if len(value) <= 60 else ""))
    more = len(problems) - len(parts)
    return "; ".join(parts) + (f"; and {more} more" if more else "")
