"""Live transcription over a WebSocket. A stub."""

from fastapi import APIRouter

router = APIRouter()
