"""Routes: the JSON API and the pages. Every route but the login asks for a session; cloud/tests holds the list."""

from django.urls import include, path

from cloud.api import api

urlpatterns = [
    path("api/", api.urls),
    path("", include("cloud.web.urls")),
]
