"""The addresses of the local interface (docs/interface.md)."""

from __future__ import annotations

import logging
import threading
from dataclasses import asdict
from typing import Annotated, Any

from fastapi import FastAPI, Header, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, StreamingResponse
from starlette.exceptions import HTTPException

from zeroline.edge_app.control import Control, RefusedError
from zeroline.edge_app.interface.asked import (
    FeedbackAsked,
    RecipeAsked,
    SwitchAsked,
    ThresholdAsked,
    TriggerAsked,
)
from zeroline.edge_app.interface.live import BOUNDARY, LiveView
from zeroline.edge_app.interface.metrics import Metrics
from zeroline.edge_app.interface.problems import CONTENT_TYPE, STATUS, problem
from zeroline.edge_app.interface.repeated import Repeated

_log = logging.getLogger(__name__)
_DONE: dict[str, bool] = {"done": True}


def made_app(control: Control, metrics: Metrics, ended: threading.Event) -> FastAPI:
    """Return the application that answers for a station.

    Parameters
    ----------
    control : Control
    metrics : Metrics
    ended : Event
        Ends streams when it is set.
    """
    app = FastAPI(
        title="zeroline", docs_url=None, redoc_url=None, openapi_url="/api/v1/openapi.json"
    )
    _add_problems(app)
    _add_health(app, control, metrics)
    _add_pictures(app, control, ended)
    _add_requests(app, control)

    @app.get("/api/v1/state")
    def state() -> dict[str, Any]:
        return control.state()

    @app.get("/api/v1/recipes")
    def recipes() -> dict[str, Any]:
        now = control.state()
        running = {name: one.get("recipe") for name, one in (now.get("cameras") or {}).items()}
        return {"recipes": now.get("recipes", []), "running": running}

    return app


def _add_health(app: FastAPI, control: Control, metrics: Metrics) -> None:
    def answered(*, good: bool) -> JSONResponse:
        return JSONResponse(asdict(control.health()), status_code=200 if good else 503)

    @app.get("/healthz")
    def alive() -> JSONResponse:
        return answered(good=control.health().alive)

    @app.get("/readyz")
    def ready() -> JSONResponse:
        return answered(good=control.health().ready)

    @app.get("/api/v1/health")
    def health() -> dict[str, Any]:
        return asdict(control.health())

    @app.get("/metrics")
    def figures(accept: Annotated[str, Header()] = "") -> Response:
        page, kind = metrics.page(control, accept=accept)
        return Response(page, headers={"Content-Type": kind})


def _add_pictures(app: FastAPI, control: Control, ended: threading.Event) -> None:
    views: dict[str, LiveView] = {}

    def view(camera: str) -> LiveView:
        if camera not in views:
            control.newest(camera)  # an unknown one is refused, and not kept
            views[camera] = LiveView(control, camera)
        return views[camera]

    @app.get("/api/v1/cameras/{camera}/picture.jpg")
    async def picture(camera: str) -> Response:
        newest = await view(camera).newest()
        if newest is None:
            raise RefusedError(f'camera "{camera}" has given no frame yet', kind="unknown")
        headers = {"X-Zeroline-Frame": str(newest.number)}
        return Response(newest.jpeg, media_type="image/jpeg", headers=headers)

    @app.get("/api/v1/cameras/{camera}/stream.mjpg")
    async def stream(camera: str) -> StreamingResponse:
        parts = view(camera).stream(ended)
        return StreamingResponse(
            parts, media_type=f"multipart/x-mixed-replace; boundary={BOUNDARY}"
        )


def _add_requests(app: FastAPI, control: Control) -> None:
    repeated = Repeated()

    @app.post("/api/v1/trigger", status_code=202)
    def trigger(
        asked: TriggerAsked,
        idempotency_key: Annotated[str | None, Header(min_length=1, max_length=200)] = None,
    ) -> dict[str, str]:
        def call() -> str:
            return control.trigger(
                asked.name,
                part=asked.part,
                lot=asked.lot,
                serial=asked.serial,
                recipe=asked.recipe,
            )

        return {"part": repeated.answer(idempotency_key, asked, call)}

    @app.post("/api/v1/feedback")
    def feedback(asked: FeedbackAsked) -> dict[str, bool]:
        control.feedback(asked.part, asked.answer, note=asked.note, by=asked.by, join=asked.join)
        return _DONE

    @app.post("/api/v1/threshold")
    def threshold(asked: ThresholdAsked) -> dict[str, bool]:
        control.reset_operator(by=asked.by)
        return _DONE

    @app.post("/api/v1/recipe")
    def recipe(asked: RecipeAsked) -> dict[str, bool]:
        control.switch(asked.camera, asked.recipe, by=asked.by)
        return _DONE

    @app.post("/api/v1/pause")
    def pause(asked: SwitchAsked) -> dict[str, bool]:
        control.pause(asked.on, by=asked.by)
        return _DONE

    @app.post("/api/v1/setup")
    def setup(asked: SwitchAsked) -> dict[str, bool]:
        control.setup(asked.on, by=asked.by)
        return _DONE


def _add_problems(app: FastAPI) -> None:
    def answered(status: int, detail: str, **more: Any) -> JSONResponse:
        return JSONResponse(problem(status, detail, **more), status, media_type=CONTENT_TYPE)

    @app.exception_handler(RefusedError)
    async def refused(_: Request, error: RefusedError) -> JSONResponse:
        return answered(STATUS.get(error.kind, 409), str(error), kind=error.kind)

    @app.exception_handler(RequestValidationError)
    async def invalid(_: Request, error: RequestValidationError) -> JSONResponse:
        faults = [
            f"{'.'.join(map(str, fault['loc'][1:])) or 'body'}: "
            f"{fault['msg'].removeprefix('Value error, ')}"
            for fault in error.errors()
        ]
        return answered(422, "; ".join(faults), kind="invalid")

    @app.exception_handler(HTTPException)
    async def other(request: Request, error: HTTPException) -> JSONResponse:
        return answered(error.status_code, f"{request.method} {request.url.path}: {error.detail}")

    @app.exception_handler(Exception)
    async def failed(request: Request, error: Exception) -> JSONResponse:
        _log.warning("%s failed", request.url.path, exc_info=error)
        return answered(500, f"{type(error).__name__}: see the station's log")
