"""What every page shows: the demonstration banner and the rules of the lockout."""

from typing import Any

from django.conf import settings
from django.http import HttpRequest

from wire import Clock


def every_page(request: HttpRequest) -> dict[str, Any]:
    """Template context of every page. demonstration: how many times faster time runs, or nothing."""
    clock = Clock.from_environment()
    return {
        "demonstration": f"{clock.speed:g}" if clock.demo else "",
        "attempts": settings.AXES_FAILURE_LIMIT,
        "lock_minutes": int(settings.AXES_COOLOFF_TIME.total_seconds() // 60),
    }
