"""The addresses that speak as OpenAI's do: transcriptions and translations. A stub."""

from fastapi import APIRouter

router = APIRouter()
