"""The list of models, as OpenAI's API has it: /v1/models."""

from typing import Any

from fastapi import APIRouter, Request

from ..work import Served, UnknownModelError
from .access import engine_of
from .examples import MODEL, MODELS, responses_of
from .openai_errors import OpenAIRoute

router = APIRouter(route_class=OpenAIRoute)


@router.get("/v1/models", responses=responses_of(MODELS))
async def models(request: Request) -> dict[str, Any]:
    """List the models that are served."""
    return {"object": "list", "data": [_shown(one) for one in engine_of(request).served()]}


@router.get("/v1/models/{name:path}", responses=responses_of(MODEL))
async def model(request: Request, name: str) -> dict[str, Any]:
    """Say which model a name stands for."""
    served = engine_of(request).served()
    found = next((one for one in served if one.name == name), None)
    if found is None:
        there_are = ", ".join(one.name for one in served)
        raise UnknownModelError(f"no model {name[:200]!r} is served; there are: {there_are}")
    return _shown(found)


def _shown(one: Served) -> dict[str, Any]:
    return {
        "id": one.name,
        "object": "model",
        "created": one.created,
        "owned_by": "multiattn",
        "task": one.task,
        "model": one.model,
        "is_default": one.default,
        "is_loaded": one.is_loaded,
    }
