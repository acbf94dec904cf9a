"""The list of models, as OpenAI's API has it. A stub."""

from fastapi import APIRouter

router = APIRouter()
