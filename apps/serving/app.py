"""Define the server's addresses: the page, the endpoint and their descriptions."""

import hmac
from typing import Annotated

from fastapi import FastAPI, Query, Request, Security
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse, PlainTextResponse
from fastapi.security import HTTPBearer
from pydantic import BaseModel, ConfigDict, Field
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware

from apps.serving.body import Body, Refused
from apps.serving.form import FIELD
from apps.serving.guard import Guard
from apps.serving.pages import docs_page, front_page
from apps.serving.quotas import Options, Refusal
from apps.serving.record import Metrics
from apps.serving.service import Service
from apps.serving.upload import Room, uploaded

_SAMPLE = {
    "video": "clip.mp4",
    "predictions": [{"class_id": 23, "label": "bungee_jumping", "probability": 0.074906}],
}


class ClassProbability(BaseModel):
    class_id: int = Field(description="the number of the class, from 0; -1 for none of the classes")
    label: str = Field(description="the name of the class")
    probability: float = Field(description="from 0 to 1")


class VideoAnswer(BaseModel):
    """The predictions for a video, and on request frames that the network saw."""

    model_config = ConfigDict(json_schema_extra={"examples": [_SAMPLE]})
    video: str = Field(description="the name of the file as it was sent")
    predictions: list[ClassProbability] = Field(
        description="the likeliest class first; with several labels per video, all classes above their thresholds"
    )
    frames: list[str] | None = Field(None, description="with `frames=true`: JPEGs as data: addresses")
    heat_maps: list[str] | None = Field(
        None, description="with `heat_maps=true`: the same frames; colours show which places speak for the class"
    )


class InfoLimits(BaseModel):
    upload_mb: int = Field(description="the largest upload in megabytes")
    seconds: float = Field(description="the longest video in seconds")
    reading_seconds: float = Field(description="the longest time for reading a video in seconds")
    waiting: int = Field(description="the most videos that may wait for their answers")


class Info(BaseModel):
    """The facts that a probability depends on, and the limits."""

    model: str = Field(description="the network")
    protocol: str = Field(description="how frames are chosen, resized and cropped")
    arithmetic: str = Field(description="the precision of the computation")
    weights: str = Field(description="the SHA-256 of the weights")
    num_classes: int = Field(description="the number of classes")
    labels: str = Field(description="single: answers have the likeliest classes; multi: all above their thresholds")
    classes: list[str] = Field(description="the names of the classes, in the order of their numbers")
    topk: int = Field(description="the number of classes in an answer, unless the request has `topk`")
    limits: InfoLimits = Field(description="the limits of the server")


class Health(BaseModel):
    status: str = Field(description="always ok")


class Problem(BaseModel):
    """The reason why there is no answer."""

    error: str = Field(description="the reason in one sentence")


def _problems(**reasons: str) -> dict[int, dict]:
    return {int(status[1:]): {"model": Problem, "description": reason} for status, reason in reasons.items()}


_TOKEN = _problems(_401="the token is missing or wrong", _403="the request comes from a page of another site")
_REFUSED = _TOKEN | _problems(
    _400="the form is damaged, ended early, or lacks the field `video`",
    _408="the upload is too slow",
    _413="the upload is too large",
    _415="the body is not a form of type multipart/form-data",
    _422="the video cannot be read or is too long, or a parameter is unknown or does not fit",
    _500="the server failed; its log says more",
    _503="too many videos are waiting: try again after as many seconds as Retry-After says",
)
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


def create_app(
    service: Service, info: dict, folder, options: Options, names: set[str] | None, metrics: Metrics | None = None
) -> FastAPI:
    """Return the application. folder: for uploads. names: host names that requests may use; None: any.

    info: model, protocol and weights as in `Info`, without the limits.
    """

    class PredictForm(BaseModel, extra="forbid"):
        frames: bool = Field(False, description="also return at most 6 frames that the network saw")
        heat_maps: bool = Field(False, description="also return heat maps of these frames, which take longer")
        topk: int = Field(info["topk"], ge=1, le=info["num_classes"], description="return at most this many classes")

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
    # Relative to the document, because a proxy may serve it at any path.
    servers = [{"url": "./"}]
    app = FastAPI(title="Video classification", version="1", docs_url=None, redoc_url=None, servers=servers)
    app.router.redirect_slashes = False  # it would redirect to the address behind the proxy
    if options.origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=options.origins,
            allow_methods=["GET", "POST"],
            allow_headers=["Authorization"],
            expose_headers=["Retry-After"],
        )
    app.add_middleware(Guard, names=names, origins=options.origins)
    bearer = HTTPBearer(auto_error=False)
    locked = [Security(bearer)] if options.token else []  # for the document only; it refuses nothing itself

    async def check_token(request: Request) -> None:
        if options.token is not None:
            given = await bearer(request)
            if given is None or not hmac.compare_digest(given.credentials.encode(), options.token.encode()):
                raise Refusal(401, "the token is missing or wrong: Authorization: Bearer TOKEN")

    def refused(refusal: Refusal, body: Body | None = None) -> Refused:
        again = {"Retry-After": str(service.retry_after())} if refusal.status == 503 else {}
        return Refused(refusal, again, body)

    @app.post(
        "/api/predict",
        response_model=VideoAnswer,
        responses=_REFUSED,
        openapi_extra={"requestBody": _BODY},
        dependencies=locked,
    )
    async def predict(request: Request, asked: Annotated[PredictForm, Query()]):
        """Return the likeliest classes of a video."""
        body = Body(request.headers, request.receive)
        service.uploads.add(body)
        try:
            await check_token(request)
            service.check_queue()
            async with uploaded(body, folder, limits.upload_bytes, room) as (path, name):
                answer = await body.unless_gone(service.answer(path, name, asked, request.scope["state"]))
        except Refusal as refusal:
            return refused(refusal, body)
        finally:
            service.uploads.discard(body)
        return JSONResponse(answer)

    @app.get("/api/info", response_model=Info, responses=_TOKEN, dependencies=locked)
    async def about(request: Request):
        """Return the model, protocol, weights, classes and limits."""
        await check_token(request)
        return JSONResponse(facts)

    if metrics is not None:

        @app.get("/metrics", include_in_schema=False, response_class=PlainTextResponse)
        async def numbers(request: Request):
            await check_token(request)
            return metrics.page()

    @app.head("/health", include_in_schema=False)
    @app.get("/health", response_model=Health, responses=_problems(_503="the network has failed"))
    async def health():
        """Return whether the server answers."""
        if service.failure is not None:
            raise Refusal(503, "the network has failed")
        return JSONResponse({"status": "ok"})

    @app.api_route("/", methods=["GET", "HEAD"], include_in_schema=False)
    async def page():
        return HTMLResponse(first_page)

    @app.get("/docs", include_in_schema=False)
    async def docs(request: Request):
        return HTMLResponse(docs_page(app.openapi(), _address(request)))

    @app.exception_handler(Refusal)
    async def of_refusal(request: Request, refusal: Refusal):
        return refused(refusal)

    @app.exception_handler(HTTPException)
    async def of_http(request: Request, error: HTTPException):
        return JSONResponse({"error": str(error.detail)}, error.status_code, error.headers)

    @app.exception_handler(RequestValidationError)
    async def of_query(request: Request, error: RequestValidationError):
        found = error.errors()[0]
        said = "there is no such parameter" if found["type"] == "extra_forbidden" else found["msg"]
        return Refused(Refusal(422, f"{'.'.join(map(str, found['loc']))}: {said}", reason="a wrong parameter"))

    @app.exception_handler(Exception)
    async def of_ours(request: Request, error: Exception):
        return JSONResponse({"error": "the server failed; its log says more"}, 500)

    return app


def _address(request: Request) -> str:
    """Return the server's address as the client sees it; a proxy in between reports it."""
    headers = request.headers
    host = headers.get("x-forwarded-host", request.url.netloc)
    return f"{request.url.scheme}://{host}{headers.get('x-forwarded-prefix', '').rstrip('/')}"
