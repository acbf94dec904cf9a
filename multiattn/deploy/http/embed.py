"""Pictures, recordings and texts as vectors: /v1/embed."""

from fastapi import APIRouter

router = APIRouter()
