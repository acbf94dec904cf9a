"""What says how the server is: /health, /ready, /metrics."""

from fastapi import APIRouter, Request

router = APIRouter()


@router.get("/health")
async def health(request: Request) -> dict[str, str]:
    """Say that the process answers."""
    return {"status": "ok"}
