"""Where the tests' database lies: in the state directory, which only `migrate` makes."""

import pytest
from django.conf import settings


@pytest.fixture(scope="session")
def django_db_modify_db_settings(django_db_modify_db_settings_parallel_suffix: None) -> None:
    """pytest-django asks for this before it makes the database."""
    settings.CONFIG.cloud_state.mkdir(parents=True, exist_ok=True, mode=0o700)
