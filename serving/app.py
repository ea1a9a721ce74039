"""The addresses of the server: the page, the endpoint, and what describes them."""

import hmac
from typing import Annotated

from fastapi import FastAPI, Query, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse
from pydantic import BaseModel
from starlette.exceptions import HTTPException

from serving.body import Body
from serving.form import FIELD
from serving.guard import Guard
from serving.limits import Refusal
from serving.pages import docs_page, front_page
from serving.service import Service
from serving.upload import Room, uploaded


class Prediction(BaseModel):
    class_id: int
    label: str
    probability: float


class Answer(BaseModel):
    """What predict.py writes of a video, the likeliest class first; and if asked for, frames that the network saw.

    heat_maps: the same frames with the places in colours that speak for the likeliest class.
    """

    video: str
    predictions: list[Prediction]
    frames: list[str] | None = None
    heat_maps: list[str] | None = None


class InfoLimits(BaseModel):
    upload_mb: int
    seconds: float
    reading_seconds: float
    waiting: int


class Info(BaseModel):
    """What a probability depends on, and what is taken. weights: their SHA-256."""

    model: str
    protocol: str
    arithmetic: str
    weights: str
    num_classes: int
    topk: int
    limits: InfoLimits


class Health(BaseModel):
    status: str


class Problem(BaseModel):
    """One sentence."""

    error: str


def _problems(**reasons: str) -> dict[int, dict]:
    return {int(status[1:]): {"model": Problem, "description": reason} for status, reason in reasons.items()}


_TOKEN = _problems(_401="the token is missing or wrong", _403="a page of another site asks")
_REFUSED = _TOKEN | _problems(
    _400="the form is damaged, ended early, or lacks the field `video`",
    _408="the upload is too slow",
    _413="the upload is too large",
    _415="the body is no form, multipart/form-data",
    _422="the video cannot be read or is too long",
    _500="a defect of the server",
    _503="too many videos wait: try again after the seconds of Retry-After",
)
Frames = Annotated[bool, Query(description="True: at most 6 frames besides, as data: addresses of JPEGs")]
HeatMaps = Annotated[bool, Query(description="True: the same for heat maps, which take longer than the classes")]
_BODY = {
    "required": True,
    "content": {
        "multipart/form-data": {
            "schema": {
                "type": "object",
                "required": [FIELD],
                "properties": {FIELD: {"type": "string", "format": "binary", "description": "the file"}},
            }
        }
    },
}


def create_app(service: Service, info: dict, folder, token: str | None, names: set[str] | None) -> FastAPI:
    """The application. folder: for uploads. names: the hosts it may be called by; None: any.

    info: the model, its protocol and weights as `Info` has them, without the limits.
    """
    limits = service.limits
    first_page = front_page()
    room = Room(limits.waiting * limits.upload_bytes)
    facts = info | {
        "limits": {
            "upload_mb": limits.upload_bytes // 10**6,
            "seconds": limits.seconds,
            "reading_seconds": service.reading_seconds,
            "waiting": limits.waiting,
        }
    }
    app = FastAPI(title="Video classification", version="1", docs_url=None, redoc_url=None)
    app.add_middleware(Guard, names=names)

    def check_token(request: Request) -> None:
        if token is not None:
            given = request.headers.get("authorization", "").encode("latin-1")
            if not hmac.compare_digest(given, b"Bearer " + token.encode()):
                raise Refusal(401, "the token is missing or wrong: Authorization: Bearer TOKEN")

    @app.post("/api/predict", response_model=Answer, responses=_REFUSED, openapi_extra={"requestBody": _BODY})
    async def predict(request: Request, frames: Frames = False, heat_maps: HeatMaps = False):
        """The likeliest classes of a video."""
        body = Body(request)
        try:
            check_token(request)
            service.check_queue()
            async with uploaded(body, folder, limits.upload_bytes, room) as (path, name):
                answer = await service.answer(path, name, frames, heat_maps)
        except Refusal as refusal:
            if refusal.status not in (408, 422):
                await body.linger(limits.upload_bytes)
            return _refused(refusal)
        return JSONResponse(answer)

    @app.get("/api/info", response_model=Info, responses=_TOKEN)
    async def about(request: Request):
        """Model, protocol, weights and limits."""
        try:
            check_token(request)
        except Refusal as refusal:
            return _refused(refusal)
        return JSONResponse(facts)

    @app.get("/health", response_model=Health, responses=_problems(_503="the network has failed"))
    async def health():
        """Whether the server answers."""
        if service.failure is not None:
            return _refused(Refusal(503, "the network has failed"))
        return JSONResponse({"status": "ok"})

    @app.get("/", include_in_schema=False)
    async def page():
        return HTMLResponse(first_page)

    @app.get("/docs", include_in_schema=False)
    async def docs():
        return HTMLResponse(docs_page(app.openapi()))

    @app.exception_handler(HTTPException)
    async def of_http(request: Request, error: HTTPException):
        return JSONResponse({"error": str(error.detail)}, error.status_code, error.headers)

    @app.exception_handler(RequestValidationError)
    async def of_query(request: Request, error: RequestValidationError):
        found = error.errors()[0]
        return JSONResponse({"error": f"{'.'.join(map(str, found['loc']))}: {found['msg']}"}, 422)

    @app.exception_handler(Exception)
    async def of_ours(request: Request, error: Exception):
        return JSONResponse({"error": "the server failed; its log says more"}, 500)

    return app


def _refused(refusal: Refusal) -> JSONResponse:
    # What a refused client still sends is nothing that the next request could begin behind.
    headers = refusal.headers | ({} if refusal.status == 422 else {"Connection": "close"})
    return JSONResponse({"error": refusal.sentence}, refusal.status, headers)
