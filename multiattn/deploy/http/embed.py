"""Pictures, recordings and texts as vectors: /v1/embed."""

from fastapi import APIRouter, Request, Response

from ..work import EMBED, Work
from . import examples
from .access import deadline_of, engine_of, hashable
from .bodies import read_form
from .examples import body_of, responses_of
from .options import EmbedOptions
from .problems import ProblemError
from .replies import replied

router = APIRouter(tags=["vectors"])


@router.post(
    "/v1/embed",
    response_class=Response,
    openapi_extra=body_of(
        EmbedOptions, {"text": "a red circle"}, file="a picture, or a recording for a model of speech", required=False
    ),
    responses=responses_of(examples.EMBED),
)
async def embed(request: Request) -> Response:
    """Return a picture, a recording or a text as a vector; of a matching model, texts and pictures share one space."""
    options, upload = await read_form(request, EmbedOptions, required=False)
    if (upload is None) == (options.text is None):
        what = "are missing" if upload is None else "are both given"
        raise ProblemError(422, f"one of `file` and `text` must be given, but {what}")
    given = options.model_dump(exclude={"model", "text"}, exclude_defaults=True)
    work = Work(
        model=engine_of(request).find(options.model, EMBED).name,
        task=EMBED,
        input=options.text if upload is None else upload.data,
        options=hashable(given),
        deadline=deadline_of(request),
    )
    return await replied(request, work, file=None if upload is None else upload.name)
