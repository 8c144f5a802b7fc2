"""The outputs of a station, opened as its file or its options say."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from contextlib import ExitStack
from typing import TYPE_CHECKING, Protocol

from zeroline.edge_app.configuration.outputs import (
    JsonLinesOutput,
    PicturesOutput,
    WebhookOutput,
)
from zeroline.edge_app.errors import InputError
from zeroline.edge_app.outputs.json_lines import JsonLines, open_to_append
from zeroline.edge_app.outputs.pictures import DefectSheets, Pictures
from zeroline.edge_app.outputs.webhook import DurableWebhook, Webhook

if TYPE_CHECKING:
    from zeroline.edge_app.configuration.models import Station
    from zeroline.edge_app.outputs.output import Outbox, Output
    from zeroline.edge_app.runs import Run
    from zeroline.edge_app.station.extras import Extras


class Outboxes(Protocol):
    """Where messages stay until an output has delivered them: the store."""

    def outbox(self, output: str, /) -> Outbox:
        """Return the messages of an output, which is known from now on."""

    def delivered(self, output: str, number: int, /) -> None:
        """Take note that an output has delivered all messages up to one."""


def opened_outputs(
    station: Station, run: Run, extras: Extras, stack: ExitStack, *, store: Outboxes | None
) -> dict[str, Output]:
    """Open the outputs of a station, by their names; files are closed with the stack."""
    pictures = _pictures(station, run, extras)
    outputs: dict[str, Output] = {}
    for output in station.outputs:
        if isinstance(output, JsonLinesOutput):
            file = (
                sys.stdout
                if output.path is None
                else stack.enter_context(open_to_append(output.path))
            )
            outputs[_free("JSON lines", outputs)] = JsonLines(
                file, uncertain=output.uncertain, pictures=pictures
            )
        elif isinstance(output, WebhookOutput):
            name = _free("webhook", outputs)
            outputs[name] = _webhook(output, name, store)
    if pictures is not None:
        outputs["overlays"] = pictures
    sheets = _sheets(station, run)
    if sheets is not None:
        outputs["pictures of recurring defects"] = sheets
    return outputs


def _free(name: str, taken: dict[str, Output]) -> str:
    number, found = 1, name
    while found in taken:
        number += 1
        found = f"{name} {number}"
    return found


def _pictures(station: Station, run: Run, extras: Extras) -> Pictures | None:
    wanted = station.pictures
    folder, draw, keep = None, "ng", "none"
    if wanted is not None and (wanted.draw, wanted.keep) != ("none", "none"):
        folder, draw, keep = wanted.folder, wanted.draw, wanted.keep
    if folder is None and extras.video is None and not extras.show:
        return None
    return Pictures(
        run.id, folder=folder, draw=draw, keep=keep, video=extras.video, window=extras.show
    )


def _sheets(station: Station, run: Run) -> DefectSheets | None:
    wanted: PicturesOutput | None = station.pictures
    recipes = [station.recipe_of(camera) for camera in station.cameras]
    searched = [recipe.window for recipe in recipes if recipe.codegraph]
    if wanted is None or wanted.draw == "none" or not searched:
        return None
    return DefectSheets(run.id, wanted.folder, kept=max(searched))


def _webhook(output: WebhookOutput, name: str, store: Outboxes | None) -> Webhook:
    secret = _secret(output)
    if store is None:
        return Webhook(
            output.url, secret=secret, timeout_s=output.timeout_s, uncertain=output.uncertain
        )
    delivered: Callable[[int], None] = lambda number: store.delivered(name, number)  # noqa: E731
    return DurableWebhook(
        output.url,
        secret=secret,
        timeout_s=output.timeout_s,
        uncertain=output.uncertain,
        outbox=store.outbox(name),
        delivered=delivered,
    )


def _secret(output: WebhookOutput) -> str | None:
    """Return the secret that signs messages; it is shown by no error."""
    if output.secret_env is not None:
        if output.secret_env not in os.environ:
            raise InputError(
                f'webhook: the environment has no variable "{output.secret_env}" (secret_env)'
            )
        return os.environ[output.secret_env]
    if output.secret_file is None:
        return None
    try:
        lines = output.secret_file.read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "no text"
        raise InputError(f'webhook: secret file "{output.secret_file}": {reason}') from error
    return lines[0] if lines else ""
