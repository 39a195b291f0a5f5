"""What ENABLE_ANALYTICS counts."""

from __future__ import annotations

from fastapi import APIRouter, Request

from todo_backend.dependencies import PrincipalDep

router = APIRouter(tags=["usage"])


@router.get("/usage")
def usage(request: Request, _: PrincipalDep) -> dict[str, object]:
    """How often each route was asked on each day; nothing while counting is off."""
    kept = request.app.state.usage
    counts = kept.counts() if kept is not None else []
    return {"enabled": kept is not None,
            "counts": [{"day": day, "route": route, "count": count} for day, route, count in counts]}  # fmt: skip
