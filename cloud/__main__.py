"""`python -m cloud COMMAND`: sets Django up, then hands over to cloud/cli/."""

import json
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
        said = json.dumps({"code": error.code, "message": str(error)})  # as cloud/cli/speech.py, which is not there yet
        sys.stderr.write((said if "--json" in sys.argv else f"{error.code}: {error}") + "\n")
        raise SystemExit(2) from None
    from cloud.cli import app  # only now: models need a configured Django

    app(prog_name="cartrace cloud")


if __name__ == "__main__":
    main()
