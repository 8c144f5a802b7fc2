"""What the simulated line is like; an address such as ``sim://parts?seed=3`` says it."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal, get_args
from urllib.parse import parse_qsl, urlsplit

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from zeroline.edge_app.errors import InputError
from zeroline.edge_app.passwords import without_password

PartName = Literal["plate", "ring", "connector"]
ADDRESSES: dict[str, PartName] = {
    "sim://parts": "plate",
    "sim://ring": "ring",
    "sim://connector": "connector",
}
"""The part that an address shows."""
Kind = Literal["scratch", "dent", "stain", "missing", "crack"]
KINDS: tuple[Kind, ...] = get_args(Kind)
TOOL_MARK = "tool_mark"

_WIDEST, _TALLEST = 2448, 2048
_Share = Annotated[float, Field(ge=0, le=1)]


class LineSettings(BaseModel):
    """The simulated line, as ``sim://ring?seed=3&parts=100``; the address begins with the part."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    part: PartName = Field(default="plate", description="What is made: plate, ring or connector")
    seed: int = Field(default=0, ge=0, lt=2**32, description="The same seed gives the same frames")
    parts: int | None = Field(default=None, ge=1, description="Parts until the line ends")
    size: int | tuple[int, int] = Field(
        default=480, description="Side of the frames in pixels, or WIDTHxHEIGHT up to 2448x2048"
    )
    rate: float | None = Field(default=None, gt=0, le=1000, description="Frames in a second")
    defects: _Share = Field(default=0.1, description="Share of parts with a random defect")
    kinds: tuple[Kind, ...] = Field(
        default=KINDS, min_length=1, description="Kinds of random defects, with commas"
    )
    defect_area: float = Field(
        default=0.01,
        gt=0.0005,
        le=0.02,
        description="Largest defect, as a share of the part's area. A missing hole or notch has "
        "0.008, a missing pin 0.013",
    )
    strength: float = Field(
        default=1.0, gt=0, le=3, description="Depth and contrast of defects and tool marks"
    )
    tool_marks: _Share = Field(
        default=0.0, description="Share of parts with a tool mark: the same defect on each"
    )
    tool_marks_from: int = Field(default=0, ge=0, description="First part that may be marked")
    second_lot: _Share = Field(default=0.0, description="Share of parts from another lot of metal")
    place: float = Field(
        default=0.0,
        ge=0,
        le=0.5,
        description="Largest shift of a part to each side, as a share of the picture's shorter "
        "side. Parts may lie partly out of view",
    )
    turn: float = Field(
        default=0.0,
        ge=0,
        le=180,
        description="Largest turn of a part in degrees, either way. 180: any turn",
    )
    empty: float = Field(default=0.0, ge=0, le=0.9, description="Share of frames without a part")
    stop_every: int = Field(
        default=0, ge=0, description="Parts between two stops of the belt. 0: no stop"
    )
    stop_frames: int = Field(
        default=25, ge=1, le=10_000, description="Frames of one part while the belt stops"
    )
    variation: float = Field(
        default=1.0, ge=0, le=3, description="Strength of normal variation between good parts"
    )

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width of the frames in pixels."""
        return (self.size, self.size) if isinstance(self.size, int) else self.size[::-1]

    @field_validator("size", mode="before")
    @classmethod
    def _measure(cls, value: Any) -> int | tuple[int, int]:
        text = "x".join(str(side) for side in value) if isinstance(value, tuple) else str(value)
        sides = re.fullmatch(r"([0-9]{1,5})(?:x([0-9]{1,5}))?", text)
        if sides is not None:
            width, height = int(sides[1]), int(sides[2] or sides[1])
            if 64 <= width <= _WIDEST and 64 <= height <= _TALLEST:
                return (width, height) if sides[2] else width
        raise ValueError(
            f"a side of 64 to {_TALLEST} pixels, or WIDTHxHEIGHT up to {_WIDEST}x{_TALLEST}"
        )

    @field_validator("kinds", mode="before")
    @classmethod
    def _split(cls, value: Any) -> Any:
        return tuple(k.strip() for k in value.split(",")) if isinstance(value, str) else value


def settings_from(address: str) -> LineSettings:
    """Read an address such as ``sim://parts?seed=3&tool_marks=0.25``.

    Raises
    ------
    InputError
        If it names another product, an unknown setting, or a value that is not allowed.
    """
    shown = without_password(address)
    try:
        parts = urlsplit(address)
    except ValueError as error:
        raise InputError(f'source "{shown}" is no address: {error}') from error
    part = ADDRESSES.get(f"{parts.scheme}://{parts.netloc}{parts.path.rstrip('/')}")
    if part is None or parts.fragment:
        raise InputError(
            f'source "{shown}" is not simulated: {", ".join(ADDRESSES)} are, with [?name=value&…]'
        )
    pairs = parse_qsl(parts.query, keep_blank_values=True)
    known = [name for name in LineSettings.model_fields if name != "part"]
    for name, _ in pairs:
        if name not in known:
            near = difflib.get_close_matches(name, known, 1)
            hint = f'did you mean "{near[0]}"?' if near else f"allowed: {', '.join(known)}"
            raise InputError(f'source "{shown}": there is no setting "{name}"; {hint}')
        if [other for other, _ in pairs].count(name) > 1:
            raise InputError(f'source "{shown}": setting "{name}" is given twice')
    try:
        return settings_of({"part": part, **dict(pairs)})
    except InputError as error:
        raise InputError(f'source "{shown}": {error}') from error


def settings_of(values: Mapping[str, str], *, option: bool = False) -> LineSettings:
    """Read settings from text.

    Parameters
    ----------
    values : mapping
        By the names of the settings, all known.
    option : bool
        Whether an error names an option of the command line.

    Raises
    ------
    InputError
        If a value is not allowed.
    """
    try:
        return LineSettings.model_validate(dict(values))
    except ValidationError as error:
        first = error.errors()[0]
        name = str(first["loc"][0])
        shown = f"--{name.replace('_', '-')} {values[name]}" if option else f"{name}={values[name]}"
        reason = first["msg"].removeprefix("Input should be ").removeprefix("Value error, ")
        reason = reason.partition(", unable")[0]
        raise InputError(f"{shown}: {reason} is expected") from error
