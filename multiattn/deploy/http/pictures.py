"""What is asked about pictures: /v1/classify, /v1/caption, /v1/answer, /v1/match."""

from typing import TypeVar

from fastapi import APIRouter, Request, Response

from ..work import Work
from . import examples
from .access import deadline_of, engine_of, hashable
from .bodies import Upload, read_form
from .examples import body_of, responses_of
from .options import AnswerOptions, CaptionOptions, ClassifyOptions, MatchOptions, PictureOptions
from .replies import replied

router = APIRouter(tags=["pictures"])

_Options = TypeVar("_Options", bound=PictureOptions)
_OF_WORK = {"model", "maps", "check", "question"}
"""Options that are fields of `Work`."""


async def _read(request: Request, schema: type[_Options]) -> tuple[_Options, Upload]:
    options, upload = await read_form(request, schema)
    assert upload is not None
    return options, upload


async def _answered(
    request: Request,
    task: str,
    options: PictureOptions,
    upload: Upload,
    *,
    find: str | None = None,
    questions: tuple[str, ...] = (),
) -> Response:
    """Find the model, do the work, and answer.

    Args:
        request: The request.
        task: The task.
        options: Its options.
        upload: The picture.
        find: The task that a model is found for, where that is another.
        questions: About the picture.
    """
    work = Work(
        model=engine_of(request).find(options.model, find or task).name,
        task=task,
        input=upload.data,
        options=hashable(options.model_dump(exclude=_OF_WORK, exclude_defaults=True)),
        questions=questions,
        maps=options.maps,
        check=options.check,
        deadline=deadline_of(request),
    )
    return await replied(request, work, file=upload.name)


@router.post(
    "/v1/classify",
    response_class=Response,
    openapi_extra=body_of(ClassifyOptions, {"top_k": 2}),
    responses=responses_of(examples.CLASSIFY),
)
async def classify(request: Request) -> Response:
    """Say what is in a picture: the labels of the model, or with `labels` your own, by a model that matches texts."""
    options, upload = await _read(request, ClassifyOptions)
    is_own = options.labels is not None and options.model is None
    return await _answered(request, "classify", options, upload, find="match" if is_own else None)


@router.post(
    "/v1/caption",
    response_class=Response,
    openapi_extra=body_of(CaptionOptions, {"num_beams": 3}),
    responses=responses_of(examples.CAPTION),
)
async def caption(request: Request) -> Response:
    """Describe a picture in a sentence."""
    return await _answered(request, "caption", *await _read(request, CaptionOptions))


@router.post(
    "/v1/answer",
    response_class=Response,
    openapi_extra=body_of(AnswerOptions, {"question": ["what color is the circle?"]}),
    responses=responses_of(examples.ANSWER),
)
async def answer(request: Request) -> Response:
    """Answer questions about a picture, which is encoded once for all of them, also for those of other requests."""
    options, upload = await _read(request, AnswerOptions)
    return await _answered(request, "answer", options, upload, questions=tuple(options.question))


@router.post(
    "/v1/match",
    response_class=Response,
    openapi_extra=body_of(MatchOptions, {"texts": ["a red circle", "a blue square"]}),
    responses=responses_of(examples.MATCH),
)
async def match(request: Request) -> Response:
    """Say how well texts fit a picture."""
    return await _answered(request, "match", *await _read(request, MatchOptions))
