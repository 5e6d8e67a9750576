"""The batches app."""

from django.apps import AppConfig


class BatchesConfig(AppConfig):
    """Recipes, orders and reports."""

    name = "cloud.batches"
