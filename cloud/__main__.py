"""`python -m cloud COMMAND`: sets Django up, then hands over to cloud/cli/."""

import os
import sys

import django

from cloud.config import ConfigError


def main() -> None:
    """Run one command; settings that cannot be used end it with one sentence and exit code 2."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "cloud.settings")
    try:
        django.setup()
    except ConfigError as error:
        sys.stderr.write(f"{error.code}: {error}\n")
        raise SystemExit(2) from None
    from cloud.cli import app  # only now: models need a configured Django

    app(prog_name="cartrace cloud")


if __name__ == "__main__":
    main()
