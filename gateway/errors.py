"""What can go wrong at a gateway, as one sentence for a person and a stable code for a program."""


class GatewayError(Exception):
    """Something outside this program is wrong: code is stable, the text says what, where and what to do next."""

    code = "gateway_error"


class ConfigError(GatewayError):
    """The settings cannot be used. Nothing was started."""

    code = "bad_config"


class StateUnusableError(GatewayError):
    """The state directory cannot be made, opened or locked. Nothing was started."""

    code = "state_unusable"


class AlreadyRunningError(GatewayError):
    """Another process serves this state directory."""

    code = "already_running"


class SpoolFullError(GatewayError):
    """The disk has no room: nothing of this transaction was kept, nothing may be acknowledged."""

    code = "disk_full"


class SpoolBrokenError(GatewayError):
    """The store failed in a way that only opening it anew can judge; nothing of this transaction was acknowledged."""

    code = "spool_broken"
