"""Django settings of the cloud: SQLite, sessions, lockout, a strict content policy.

Everything that varies between installations comes from cloud/config.py.
"""

import os
import sqlite3
from datetime import timedelta

from django.utils.functional import SimpleLazyObject

from cloud.config import load_config, session_secret

CONFIG = load_config()
SECRET_KEY = SimpleLazyObject(lambda: session_secret(CONFIG))  # made when it is needed: a question makes no file
DEBUG = False
ALLOWED_HOSTS = CONFIG.cloud_hosts

INSTALLED_APPS = [
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "axes",
    "django_htmx",
    "ninja",
    "cloud.ledger",
    "cloud.batches",
    "cloud.web",
]
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "cloud.middleware.ContentPolicyMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
    "axes.middleware.AxesMiddleware",
]
ROOT_URLCONF = "cloud.urls"
ASGI_APPLICATION = "cloud.asgi.application"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "cloud.web.context.every_page",
            ]
        },
    }
]

# Before 3.51.3 a write-ahead log with two connections can corrupt the database when the log is reset; there the
# rollback journal with EXTRA is used. Both pairs keep every committed row over a power cut; ledger/apps.py checks the
# pair on every connection.
WAL_SAFE = sqlite3.sqlite_version_info >= (3, 51, 3)
JOURNAL_MODE, SYNCHRONOUS = ("wal", "FULL") if WAL_SAFE else ("delete", "EXTRA")
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": CONFIG.database,
        "OPTIONS": {
            "transaction_mode": "IMMEDIATE",
            "timeout": 5,  # seconds another writer is waited for; ingest then says so and tries again
            "init_command": f"PRAGMA journal_mode={JOURNAL_MODE}; PRAGMA synchronous={SYNCHRONOUS};",
        },
        # Tests use a real file: a database in memory has no journal, and no second process could open it.
        "TEST": {"NAME": CONFIG.cloud_state / f"test-{os.getpid()}.sqlite3"},
    }
}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

AUTHENTICATION_BACKENDS = ["axes.backends.AxesStandaloneBackend", "django.contrib.auth.backends.ModelBackend"]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator", "OPTIONS": {"min_length": 12}},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
]
AXES_FAILURE_LIMIT = 5
AXES_COOLOFF_TIME = timedelta(minutes=15)
AXES_LOCKOUT_PARAMETERS = [["username", "ip_address"]]
AXES_RESET_ON_SUCCESS = True
AXES_ENABLE_ADMIN = False
AXES_LOCKOUT_TEMPLATE = "registration/locked.html"
AXES_VERBOSE = False

LOGIN_URL = "/login/"
LOGIN_REDIRECT_URL = "/"
LOGOUT_REDIRECT_URL = "/login/"
SESSION_COOKIE_AGE = 8 * 3600  # one shift
SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_SAMESITE = "Strict"
CSRF_COOKIE_SAMESITE = "Strict"
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = CONFIG.cloud_https
SECURE_CONTENT_TYPE_NOSNIFF = True
SECURE_REFERRER_POLICY = "same-origin"
SECURE_HSTS_SECONDS = 365 * 86_400 if CONFIG.cloud_https else 0
X_FRAME_OPTIONS = "DENY"

LANGUAGE_CODE = "en"
USE_TZ = True
TIME_ZONE = "UTC"

STATIC_URL = "static/"
STATICFILES_FINDERS = [
    "django.contrib.staticfiles.finders.AppDirectoriesFinder",
    "cloud.web.assets.ChartFinder",  # the chart library, out of its installed wheel
]
WHITENOISE_USE_FINDERS = True  # served from the installed packages: no collecting step to forget
LOGGING_CONFIG = None  # cloud/logs.py configures structlog and the standard loggers together
