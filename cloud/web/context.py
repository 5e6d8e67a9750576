"""What every page shows: the demonstration banner and the rules of the lockout."""

from typing import Any

from django.conf import settings
from django.http import HttpRequest

from wire import Clock


def every_page(request: HttpRequest) -> dict[str, Any]:
    """Template context of every page. demonstration: what is not real about the clock, or nothing."""
    clock = Clock.from_environment()
    return {
        "demonstration": demonstration(clock),
        "attempts": settings.AXES_FAILURE_LIMIT,
        "lock_minutes": int(settings.AXES_COOLOFF_TIME.total_seconds() // 60),
    }


def demonstration(clock: Clock) -> str:
    """What the banner says of a clock that is not the real one."""
    if not clock.demo:
        return ""
    if clock.speed == 1:
        return "the clock shows another time than the real one"
    return f"time runs {clock.speed:g} times faster"
