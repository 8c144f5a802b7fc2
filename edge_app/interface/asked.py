"""What may be posted: one model for each thing that a station can be told."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from zeroline.edge_app.control import Answer


class _Asked(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, str_strip_whitespace=True)


class _ByPerson(_Asked):
    by: str = Field(min_length=1, max_length=100, description="Who says so; kept with it.")


class TriggerAsked(_Asked):
    """A part is to be inspected."""

    name: str = Field(default="main", max_length=64, description="Name of the trigger.")
    part: str | None = Field(
        default=None, min_length=1, max_length=200, description="Name of the part."
    )
    lot: str | None = Field(default=None, min_length=1, max_length=200, description="Its lot.")
    serial: str | None = Field(
        default=None, min_length=1, max_length=200, description="Its serial number."
    )
    recipe: str | None = Field(
        default=None, min_length=1, max_length=64,
        description="Recipe that its cameras run from this part on.",
    )  # fmt: skip


class FeedbackAsked(_ByPerson):
    """What a person says of a part's verdict."""

    part: str = Field(min_length=1, max_length=200, description="Name of the part.")
    answer: Answer = Field(description="What is said.")
    note: str = Field(default="", max_length=2000, description="In words.")
    join: bool = Field(
        default=False, strict=True, description="A false alarm's part joins the reference set."
    )

    @model_validator(mode="after")
    def _says_something(self) -> FeedbackAsked:
        if self.answer is Answer.NOTE and not self.note:
            raise ValueError("the answer note needs a note")
        if self.join and self.answer is not Answer.FALSE_ALARM:
            raise ValueError("join belongs to the answer false_alarm")
        return self


class RecipeAsked(_ByPerson):
    """Another recipe is to run."""

    recipe: str = Field(min_length=1, max_length=64, description="Name of the recipe.")
    camera: str | None = Field(
        default=None, min_length=1, max_length=64, description="Name of the camera; null: all."
    )


class SwitchAsked(_ByPerson):
    """Something is to be on or off."""

    on: bool = Field(strict=True, description="Whether it is to be on.")


class ThresholdAsked(_ByPerson):
    """The answers that have moved thresholds are to be taken back."""

    reset: Literal[True] = Field(description="Take all of them back.")
