"""Cameras, and what makes a part of their frames."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, model_validator

from zeroline.edge_app.configuration.setting import Name, Number, Setting, Whole


class Trigger(Setting):
    """What makes a part of a camera's frames."""

    mode: Literal["every-frame", "software", "interval"] = Field(
        default="every-frame", title="Mode",
        description="every-frame: each frame is a part. software: a part for each call of "
        '"zeroline trigger", or of the local interface. interval: a part by the clock.',
    )  # fmt: skip
    name: Name = Field(
        default="main",
        title="Name",
        description="Cameras whose triggers have one name see one part. Not with every-frame.",
    )
    delay_ms: Number = Field(
        default=0.0, title="Delay", ge=0, le=60_000,
        description="Milliseconds from the trigger to the frame: the next one after them counts.",
    )  # fmt: skip
    queue: Whole = Field(
        default=16, title="Queue", ge=1, le=10_000,
        description="Triggers that may wait. One more is refused.",
    )  # fmt: skip
    interval_s: Number | None = Field(
        default=None, title="Interval", gt=0, le=86_400,
        description="Seconds from part to part, with the mode interval.",
    )  # fmt: skip

    @model_validator(mode="after")
    def _fits(self) -> Trigger:
        if (self.mode == "interval") != (self.interval_s is not None):
            raise ValueError("interval_s belongs to the mode interval, and is needed there")
        return self


class Camera(Setting):
    """A camera, or another source of frames."""

    name: Name = Field(default="camera", title="Name", description="Name of the camera.")
    source: str = Field(
        title="Source", min_length=1,
        description="Device number, RTSP or HTTP URL, GStreamer pipeline, video file, folder of "
        "images, watch:FOLDER, or sim://parts. ${NAME} stands for a variable of the environment, "
        "${file:PATH} for the first line of a file: passwords belong there. Cameras with one "
        "source share it.",
    )  # fmt: skip
    recipe: Name = Field(
        default="default", title="Recipe", description="Name of the recipe that it runs."
    )
    trigger: Trigger = Field(
        default=Trigger(), title="Trigger", description="What makes a part of its frames."
    )

    @model_validator(mode="before")
    @classmethod
    def _number(cls, given: Any) -> Any:
        """Take a device number as it is written."""
        if isinstance(given, dict) and type(given.get("source")) is int:
            return {**given, "source": str(given["source"])}
        return given
