"""Fills the folder CARTRACE_CLOUD_STATE with the cloud of the page tests: `python -m cloud.tests.web_site`.

A real server is then started on it with `python -m cloud web`, as an administrator would.
"""

import os

import django
from django.core.management import call_command

NAME, PASSWORD = "qa", "quiet-harbour-42"


def fill() -> None:
    from django.contrib.auth.models import User

    from cloud.tests.web_story import whole_story

    call_command("migrate", verbosity=0)
    whole_story()
    User.objects.create_user(NAME, password=PASSWORD)


if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "cloud.settings")
    django.setup()
    fill()
