"""What describes a line: one model for each concern, each setting with what is allowed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal

import click
from pydantic import BeforeValidator, Field, model_validator

from zeroline.edge_app.configuration.cameras import Camera
from zeroline.edge_app.configuration.lanes import Lane, lanes_of
from zeroline.edge_app.configuration.outputs import (
    JsonLinesOutput,
    Output,
    PicturesOutput,
)
from zeroline.edge_app.configuration.setting import (
    Name,
    Number,
    PlacedError,
    Setting,
    Switch,
    Whole,
)
from zeroline.edge_app.configuration.storage import Storage
from zeroline.edge_app.settings.framing import AreaType, FramingOptions, PixelsType, TilesType
from zeroline.edge_app.settings.options import (
    DegreesType,
    NumberList,
    Rate,
    ScoreOptions,
    ThresholdType,
)

Area = tuple[tuple[float, float], ...]


def _by(kind: click.ParamType[Any], *, wrap: Callable[[Any], Any] | None = None) -> Any:
    """Return a validator that reads a value as the option of a command does."""

    def read(value: Any) -> Any:
        if value is None:
            return None
        try:
            return kind.convert(value if wrap is None else wrap(value), None, None)
        except click.UsageError as error:
            raise ValueError(error.message) from error

    return BeforeValidator(read)


def _commas(value: Any) -> Any:
    """Write a list as an option is written: 1,3,5."""
    if isinstance(value, list):
        return ",".join(map(str, value))
    return value if isinstance(value, tuple) else str(value)


def _text(value: Any) -> Any:
    """Write a number as an option is written."""
    return str(value) if isinstance(value, int | float) else value


def _area(value: Any) -> Any:
    """Write an area as an option is written, from a list of numbers or of corners."""
    if isinstance(value, list) and value and all(isinstance(part, list) for part in value):
        return " ".join(",".join(map(str, corner)) for corner in value)
    return _commas(value)


class Recipe(Setting):
    """All that belongs to a product."""

    model: str = Field(
        default="tiny",
        title="Model",
        min_length=1,
        description="Bundled model, or the folder of a bundle.",
    )
    window: Whole = Field(
        default=64, title="Window", ge=2, le=4096,
        description="Frames in the window. Each new frame is compared with them.",
    )  # fmt: skip
    min_window: Whole = Field(
        default=16, title="Least window", ge=2, le=4096,
        description="Frames in the window before the first OK or NG.",
    )  # fmt: skip
    degrees: Annotated[
        tuple[int, ...] | Literal["fused"] | None, _by(DegreesType(), wrap=_commas)
    ] = Field(
        default=None, title="Degrees",
        description="Neighbourhood sizes of LNAMD, such as [1, 3, 5], or fused. Without: the "
        "model's.",
    )  # fmt: skip
    rscin: Annotated[
        tuple[int, ...] | None, _by(NumberList(least=1, most=1000, empty="off"), wrap=_commas)
    ] = Field(
        default=None, title="RsCIN",
        description="Neighbourhood sizes of RsCIN, such as [1, 2, 3], or off. Without: the "
        "model's.",
    )  # fmt: skip
    threshold: Annotated[float | None, _by(ThresholdType())] = Field(
        default=None, title="Threshold",
        description="A frame with a higher score is NG. A distance, 0 to 2, or auto.",
    )  # fmt: skip
    false_alarm_rate: Annotated[float, _by(Rate())] = Field(
        default=0.01, title="False-alarm rate", gt=0, le=0.5,
        description="Share of good frames that auto may call NG, as a mean.",
    )  # fmt: skip
    band: Number = Field(
        default=0.0, title="Band", ge=0, le=2, allow_inf_nan=False,
        description="A score nearer to the threshold than this is UNCERTAIN.",
    )  # fmt: skip
    exclusion: Whole = Field(
        default=0, title="Exclusion", ge=0, le=10_000,
        description="Frames before each frame that show the same part. They do not match it.",
    )  # fmt: skip
    settle: Whole | None = Field(
        default=None, title="Settle", ge=1, le=10_000,
        description="Judge each frame once more, so many frames later. Without: never.",
    )  # fmt: skip
    codegraph: Switch = Field(
        default=True, title="Recurring defects",
        description="Search for recurring defects: defects that several frames share.",
    )  # fmt: skip
    matching: Literal["exact", "fast"] = Field(
        default="fast", title="Matching",
        description="How neighbours are found. exact: by float32 products. fast: by the form that "
        "is quickest here.",
    )  # fmt: skip
    reference: Path | None = Field(
        default=None, title="Reference set",
        description="File of a reference set that the window starts with. Without it a defect that "
        "begins on all parts at once cannot be seen.",
    )  # fmt: skip
    crop: Annotated[Area | None, _by(AreaType(), wrap=_area)] = Field(
        default=None, title="Crop",
        description='Look at this part of the picture alone: "x,y,width,height", or the corners of '
        'a polygon "x,y x,y x,y", in pixels.',
    )  # fmt: skip
    ignore: tuple[Annotated[Area, _by(AreaType(), wrap=_area)], ...] = Field(
        default=(),
        title="Ignored areas",
        description="Areas that are not looked at, each written as a crop.",
    )
    mask: Path | None = Field(
        default=None, title="Mask", description="Picture; what is black in it is not looked at."
    )
    aspect: Literal["stretch", "fit"] = Field(
        default="stretch", title="Aspect",
        description="How the network's square is filled. stretch: the picture is pressed into it. "
        "fit: the aspect is kept.",
    )  # fmt: skip
    align: Literal["off", "outline", "pattern"] = Field(
        default="off",
        title="Align",
        description="Find the part in each picture, and lay it upright.",
    )
    taught: Path | None = Field(
        default=None,
        title="Taught picture",
        description="Picture of a good part by which it is found.",
    )
    tiles: Annotated[tuple[int, int] | None, _by(TilesType(), wrap=_text)] = Field(
        default=None, title="Tiles", description="Rows and columns of tiles, such as 2x3."
    )
    smallest_defect: Annotated[float | None, _by(PixelsType(), wrap=_text)] = Field(
        default=None, title="Smallest defect",
        description="Take the fewest tiles in which a defect of this side shows, such as 12px. Not "
        "with tiles.",
    )  # fmt: skip
    framing: Path | None = Field(
        default=None, title="Framing",
        description='All of what is looked at, in a file that "zeroline teach" has written.',
    )  # fmt: skip

    @model_validator(mode="after")
    def _tiles_or_defect(self) -> Recipe:
        if self.tiles is not None and self.smallest_defect is not None:
            raise ValueError("tiles and smallest_defect exclude each other")
        return self

    def framed(self) -> FramingOptions:
        """Return what of a picture is looked at."""
        return FramingOptions(**{name: getattr(self, name) for name in _FRAMING})


_FRAMING = tuple(FramingOptions.__dataclass_fields__)


class Page(Setting):
    """The local interface."""

    listen: str = Field(
        default="127.0.0.1:8321", title="Address",
        pattern=r"^(off|(127\.0\.0\.1|localhost|\[::1\]):[0-9]{1,5})$",
        json_schema_extra={"allowed": "an address on this machine, such as 127.0.0.1:8321, or off"},
        description="Address on this machine and port, or off.",
    )  # fmt: skip


class Station(Setting):
    """One line's inspection on one machine."""

    station: Name = Field(default="station", title="Station", description="Name of the station.")
    data: Path = Field(
        default=Path("data"), title="Data folder",
        description="What outputs write is relative to it. It is itself relative to this file.",
    )  # fmt: skip
    device: Literal["auto", "cpu", "cuda", "tensorrt"] = Field(
        default="auto", title="Device", description="Device that runs the network."
    )
    threads: Whole | None = Field(
        default=None, title="Threads", ge=1, le=256, description="CPU threads. Without: all cores."
    )
    cameras: tuple[Camera, ...] = Field(
        title="Cameras", min_length=1, max_length=8, description="Cameras, or other sources."
    )
    recipes: dict[Name, Recipe] = Field(
        default_factory=dict, title="Recipes",
        description="Recipes by their names. What a recipe does not say is as in the default one.",
    )  # fmt: skip
    outputs: tuple[Output, ...] = Field(
        default=(JsonLinesOutput(kind="json_lines"),),
        title="Outputs",
        description="Where verdicts go.",
    )
    storage: Storage = Field(
        default=Storage(), title="Storage", description="What is kept on disk, and for how long."
    )
    page: Page = Field(
        default=Page(), title="Page", description="The local interface, for programs and commands."
    )
    deadline_ms: Number | None = Field(
        default=None, title="Deadline", ge=10, le=600_000,
        description="Milliseconds from a part's trigger, or its frame, to its verdict. Without a "
        "verdict by then it is FAULT, reason late. Without: no bound.",
    )  # fmt: skip
    store_wait_ms: Number = Field(
        default=50.0, title="Wait for the store", ge=0, le=10_000,
        description="Milliseconds that a verdict waits for the store. Then it leaves, with the "
        "flag unstored.",
    )  # fmt: skip
    memory_gb: Number = Field(
        default=1.0, title="Warm windows", ge=0, le=1000,
        description="GB that windows of recipes that do not run may take. The oldest goes to disk.",
    )  # fmt: skip
    operator_rule: Switch = Field(
        default=False,
        title="Operator's rule",
        description="Let answers to NG parts move the threshold (docs/algorithms.md).",
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        default="error",
        title="Log level",
        description="Least level of what is logged, beside the events, which are always told.",
    )

    @model_validator(mode="after")
    def _known_recipes(self) -> Station:
        for number, camera in enumerate(self.cameras):
            if camera.recipe != "default" and camera.recipe not in self.recipes:
                known = ", ".join(self.recipes) or "none"
                raise PlacedError(
                    ("cameras", number, "recipe"),
                    f'camera "{camera.name}" runs the recipe "{camera.recipe}", there are: {known}',
                )
        pictures, written = 0, set[Path | None]()
        for number, output in enumerate(self.outputs):
            if isinstance(output, JsonLinesOutput):
                if output.path in written:
                    to = output.path or "standard output"
                    raise PlacedError(("outputs", number), f"two outputs write JSON lines to {to}")
                written.add(output.path)
            pictures += isinstance(output, PicturesOutput)
            if pictures > 1:
                raise PlacedError(
                    ("outputs", number),
                    "two outputs of the kind pictures, one is supported in this version",
                )
        lanes_of(self.cameras)
        return self

    @property
    def lanes(self) -> tuple[Lane, ...]:
        """Its cameras by the parts that they see."""
        return lanes_of(self.cameras)

    def recipe_of(self, camera: Camera) -> Recipe:
        """Return the recipe that a camera runs at the start."""
        return self.recipe(camera.recipe)

    def recipe(self, name: str) -> Recipe:
        """Return a recipe by its name; only what differs from the default is stored."""
        default = self.recipes.get("default", Recipe())
        own = self.recipes.get(name, default)
        given = {name: getattr(own, name) for name in own.model_fields_set}
        return default.model_copy(update=given)

    @property
    def pictures(self) -> PicturesOutput | None:
        """The output of pictures."""
        found = [output for output in self.outputs if isinstance(output, PicturesOutput)]
        return found[0] if found else None

    def options(self, recipe: Recipe) -> ScoreOptions:
        """Return a recipe as options of scoring."""
        return ScoreOptions(
            model=recipe.model,
            device=self.device,
            matching=recipe.matching,
            codegraph=recipe.codegraph,
            degrees=recipe.degrees,
            rscin=recipe.rscin,
            threshold=recipe.threshold,
            false_alarm_rate=recipe.false_alarm_rate,
            threads=self.threads,
        )
