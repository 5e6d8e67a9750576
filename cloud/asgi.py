"""ASGI application of the cloud's pages and API."""

import os

from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "cloud.settings")
application = get_asgi_application()
