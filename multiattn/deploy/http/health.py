"""What says how the server is: /health, /ready, /metrics."""

from fastapi import APIRouter, Request, Response

from .problems import problem

router = APIRouter(tags=["the server"])


@router.get("/health")
async def health() -> dict[str, str]:
    """Say that the process answers."""
    return {"status": "ok"}


@router.get("/ready", response_model=None)
async def ready(request: Request) -> Response | dict[str, object]:
    """Say whether requests are taken: 503 before the start is over, and while the server ends."""
    if not request.app.state.is_ready:
        return problem(503, None, "the server starts or ends: try again in a moment", headers={"Retry-After": "5"})
    models = request.app.state.engine.served()
    return {"status": "ready", "models": {one.name: one.is_loaded for one in models}}


@router.get("/metrics", response_class=Response)
async def metrics(request: Request) -> Response:
    """Return the measurements as Prometheus reads them."""
    return Response(request.app.state.metrics.text(), media_type="text/plain; version=0.0.4; charset=utf-8")
