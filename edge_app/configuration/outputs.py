"""Outputs of a station: one model for each kind."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from zeroline.edge_app.configuration.setting import Number, Setting

Uncertain = Literal["reject", "third", "stop"]
UNCERTAIN: Any = Field(
    default="reject", title="UNCERTAIN",
    description="What the action of an UNCERTAIN part is. reject: as of NG. third: a lane of its "
    "own. stop: the line stops.",
)  # fmt: skip


class JsonLinesOutput(Setting):
    """One JSON line for each frame, revision, alarm and event."""

    kind: Literal["json_lines"]
    path: Path | None = Field(
        default=None, title="File", description="Lines are added to it. Without: standard output."
    )
    uncertain: Uncertain = UNCERTAIN


class PicturesOutput(Setting):
    """Overlays, and pictures of recurring defects."""

    kind: Literal["pictures"]
    folder: Path = Field(title="Folder", description="Pictures are written to it.")
    draw: Literal["ng", "all", "none"] = Field(
        default="ng", title="Overlays", description="Overlays to write. ng: those that are not OK."
    )
    keep: Literal["ng", "all", "none"] = Field(
        default="none",
        title="Frames",
        description="Frames to keep as they came, beside their overlays.",
    )


class WebhookOutput(Setting):
    """One HTTP POST for each part, revision, alarm and event."""

    kind: Literal["webhook"]
    url: str = Field(
        title="URL", pattern=r"^https?://\S+$",
        json_schema_extra={"allowed": "an address that begins with http:// or https://"},
        description="Address that takes the messages. ${NAME} and ${file:PATH} stand for secrets, "
        "as in a source.",
    )  # fmt: skip
    secret_env: str | None = Field(
        default=None, title="Secret", pattern=r"^[A-Za-z_][A-Za-z0-9_]*$",
        json_schema_extra={"allowed": "the name of a variable"},
        description="Variable of the environment with the secret that signs each message. "
        "Without: messages are not signed.",
    )  # fmt: skip
    secret_file: Path | None = Field(
        default=None, title="Secret file",
        description="File whose first line is the secret, in place of a variable.",
    )  # fmt: skip
    timeout_s: Number = Field(
        default=5.0, title="Patience", gt=0, le=60,
        description="Seconds to wait for an answer.",
    )  # fmt: skip
    uncertain: Uncertain = UNCERTAIN

    @model_validator(mode="after")
    def _one_secret(self) -> WebhookOutput:
        if self.secret_env is not None and self.secret_file is not None:
            raise ValueError("secret_env and secret_file exclude each other")
        return self


Output = Annotated[JsonLinesOutput | PicturesOutput | WebhookOutput, Field(discriminator="kind")]
