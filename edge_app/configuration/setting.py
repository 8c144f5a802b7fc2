"""What all models of a station's file share."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, Strict

Whole = Annotated[int, Strict()]  # without it "true" would be 1
Number = Annotated[float, Strict()]
Switch = Annotated[bool, Strict()]
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$", max_length=64)]


class Setting(BaseModel):
    """What all models share: unknown keys are errors, nothing changes later."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=False)


class PlacedError(ValueError):
    """What is wrong with a model, where it is one of its values that is.

    Parameters
    ----------
    place : tuple of str and int
        From the model to the value: keys, and numbers in lists.
    text : str
    """

    def __init__(self, place: tuple[str | int, ...], text: str) -> None:
        super().__init__(text)
        self.place = place
