"""All settings, read from the environment; the defaults run one machine without any service.

What each variable is for stands in docs/settings.md, which a test holds against this file.
"""

from datetime import timedelta
from pathlib import Path

import environ
from django.utils.translation import gettext_lazy as _

from config.logs import build_logging
from config.secrets import load_secret_key
from config.startup import (
    prepare_data_dir,
    read_address,
    read_choice,
    read_labels,
    read_number,
    read_origins,
    read_secret_key,
    read_store,
    read_switch,
    read_time_zone,
    read_token,
    read_url,
)

BASE_DIR = Path(__file__).resolve().parent.parent
env = environ.Env()

DATA_DIR = prepare_data_dir(env("DATA_DIR", default=str(BASE_DIR / "data")))
HOST = env("HOST", default="127.0.0.1")
PORT = read_number("PORT", env("PORT", default="8000"), least=1, most=65535)
WEB_WORKERS = read_number("WEB_WORKERS", env("WEB_WORKERS", default="1"), least=1, most=256)
DEBUG = read_switch("DEBUG", env("DEBUG", default="0"))
SECRET_KEY = read_secret_key(env("SECRET_KEY", default="")) or load_secret_key(DATA_DIR / "secret_key")
ALLOWED_HOSTS = env.list("ALLOWED_HOSTS", default=["127.0.0.1", "localhost", "[::1]"])
CSRF_TRUSTED_ORIGINS = read_origins("CSRF_TRUSTED_ORIGINS", env.list("CSRF_TRUSTED_ORIGINS", default=[]))

INSTALLED_APPS = [
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "config.apps.StaticFiles",
    "django.contrib.humanize",
    "django_htmx",
    "template_partials",
    "allauth",
    "allauth.account",
    "rest_framework",
    "knox",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "models_registry",
    "annotate",
    "training",
    "config.apps.HouseConfig",
]

MIDDLEWARE = [
    # First, so that it sees every answer, those of the ones below too.
    "config.request_log.watch_requests",
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "csp.middleware.CSPMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.locale.LocaleMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    # Deny by default: a view is open to the world only when it says @login_not_required.
    "config.middleware.LeadBackToPages",
    "config.middleware.RefuseImpossibleNames",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
    "allauth.account.middleware.AccountMiddleware",
    "config.middleware.explain_wrong_method",
]

ROOT_URLCONF = "config.urls"
WSGI_APPLICATION = "config.wsgi.application"

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
            "builtins": ["template_partials.templatetags.partials"],
        },
    }
]

# -- Database: SQLite with serialised writers, or PostgreSQL ----------------------------------------------------------

_url = env("DATABASE_URL", default=f"sqlite:///{DATA_DIR / 'plumbline.sqlite3'}")
_database = environ.Env.db_url_config(read_url("DATABASE_URL", _url, ["sqlite", "postgres", "postgresql"]))
if "sqlite" in _database["ENGINE"]:
    _database |= {
        "ENGINE": "config.sqlite",
        # Kept: the last connection that closes writes the whole WAL back, and a new one reads the schema again.
        "CONN_MAX_AGE": None,
        "OPTIONS": {
            "transaction_mode": "IMMEDIATE",
            "timeout": 20,
            # FULL: an acknowledged answer survives a power cut. No mmap: see DECISIONS.md.
            "init_command": (
                "PRAGMA journal_mode=WAL;PRAGMA synchronous=FULL;PRAGMA cache_size=-16000;PRAGMA temp_store=MEMORY"
            ),
        },
        # A file, not memory: the live server's threads and worker processes of the tests share it.
        "TEST": {"NAME": str(DATA_DIR / "test.sqlite3")},
    }
else:
    _database |= {"CONN_MAX_AGE": 600, "CONN_HEALTH_CHECKS": True}
DATABASES = {"default": _database}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

# Files, so that the counts of failed logins hold across web processes. Beyond MAX_ENTRIES some are dropped.
CACHES = {
    "default": {
        "BACKEND": "config.cache.SharedFiles",
        "LOCATION": str(DATA_DIR / "cache"),
        "OPTIONS": {"MAX_ENTRIES": 10_000},
    }
}

# -- Accounts: by invitation only -------------------------------------------------------------------------------------

AUTHENTICATION_BACKENDS = ["allauth.account.auth_backends.AuthenticationBackend"]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator", "OPTIONS": {"min_length": 10}},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
]
ACCOUNT_LOGIN_METHODS = {"username"}
ACCOUNT_SIGNUP_FIELDS = ["username*", "password1*", "password2*"]
ACCOUNT_EMAIL_VERIFICATION = "none"
ACCOUNT_ADAPTER = "config.adapter.HouseAdapter"
ACCOUNT_RATE_LIMITS = {"login_failed": "10/m/ip,5/5m/key"}
LOGIN_URL = "account_login"
LOGIN_REDIRECT_URL = "home"
ACCOUNT_LOGOUT_REDIRECT_URL = "account_login"

# -- Security ---------------------------------------------------------------------------------------------------------

SECURE = read_switch("SECURE", env("SECURE", default="0"))
TRUSTED_PROXIES = ALLAUTH_TRUSTED_PROXY_COUNT = read_number(
    "TRUSTED_PROXIES", env("TRUSTED_PROXIES", default="0"), most=20
)
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = SECURE
SECURE_SSL_REDIRECT = SECURE
SECURE_HSTS_SECONDS = 31_536_000 if SECURE else 0
SECURE_HSTS_INCLUDE_SUBDOMAINS = SECURE_HSTS_PRELOAD = SECURE
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if SECURE else None
SECURE_REFERRER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"
CSRF_FAILURE_VIEW = "config.views.explain_csrf"
# A labeler's session lasts a working week, and an open page must not lose its answer to a rotated token.
SESSION_COOKIE_AGE = 7 * 24 * 3600
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": ["'self'"],
        "img-src": ["'self'", "data:"],
        "object-src": ["'none'"],
        "base-uri": ["'none'"],
        "form-action": ["'self'"],
        "frame-ancestors": ["'none'"],
    }
}
# For Prometheus; without it /metrics is not there.
METRICS_TOKEN = read_token("METRICS_TOKEN", env("METRICS_TOKEN", default=""))
DATA_UPLOAD_MAX_MEMORY_SIZE = 5 * 1024 * 1024
FILE_UPLOAD_TEMP_DIR = None

# -- Language and time ------------------------------------------------------------------------------------------------

LANGUAGE_CODE = "en"
LANGUAGES = [("en", _("English")), ("ko", _("Korean"))]
LOCALE_PATHS = [BASE_DIR / "locale"]
FORMAT_MODULE_PATH = "config.formats"
USE_I18N = True
USE_TZ = True
TIME_ZONE = read_time_zone("TIME_ZONE", env("TIME_ZONE", default="UTC"))

# -- Mail: notices for those who want them so, see models_registry/mailing.py ------------------------------------------

SITE_URL = read_origins("SITE_URL", [env("SITE_URL", default=f"http://{HOST}:{PORT}").rstrip("/")])[0]
_mail = env("EMAIL_URL", default="")
MAIL_ON = bool(_mail)
_mail_schemes = ["smtp", "smtp+tls", "smtp+ssl", "consolemail", "memorymail"]
_server = environ.Env.email_url_config(read_url("EMAIL_URL", _mail or "memorymail://", _mail_schemes))
EMAIL_BACKEND = _server["EMAIL_BACKEND"] if MAIL_ON else "django.core.mail.backends.dummy.EmailBackend"
EMAIL_HOST, EMAIL_PORT = _server.get("EMAIL_HOST") or "localhost", _server.get("EMAIL_PORT") or 25
EMAIL_HOST_USER = _server.get("EMAIL_HOST_USER") or ""
EMAIL_HOST_PASSWORD = _server.get("EMAIL_HOST_PASSWORD") or ""
EMAIL_USE_TLS, EMAIL_USE_SSL = _server.get("EMAIL_USE_TLS", False), _server.get("EMAIL_USE_SSL", False)
EMAIL_TIMEOUT = 10
DEFAULT_FROM_EMAIL = SERVER_EMAIL = env("EMAIL_FROM", default="plumbline@localhost")

# -- Static files -----------------------------------------------------------------------------------------------------

STATIC_URL = "/static/"
STATIC_ROOT = DATA_DIR / "static"
STATICFILES_DIRS = [BASE_DIR / "static"]
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": "whitenoise.storage.CompressedManifestStaticFilesStorage"},
}
WHITENOISE_MANIFEST_STRICT = False

# -- API --------------------------------------------------------------------------------------------------------------

REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": [
        "knox.auth.TokenAuthentication",
        "rest_framework.authentication.SessionAuthentication",
    ],
    "DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.IsAuthenticated"],
    "DEFAULT_PARSER_CLASSES": [
        "config.parsers.CheckedJSONParser",
        "rest_framework.parsers.FormParser",
        "rest_framework.parsers.MultiPartParser",
    ],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_PAGINATION_CLASS": "annotate.pagination.NewestFirst",
    "DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema",
    "DEFAULT_THROTTLE_RATES": {"login": "10/min"},
    "NUM_PROXIES": TRUSTED_PROXIES,
}
REST_KNOX = {"TOKEN_TTL": timedelta(days=90), "AUTO_REFRESH": False}
SPECTACULAR_SETTINGS = {
    "TITLE": "Plumbline API",
    "DESCRIPTION": "What the pages do, through the same services.",
    "VERSION": "1",
    "SERVE_INCLUDE_SCHEMA": False,
    "SERVE_PERMISSIONS": ["rest_framework.permissions.IsAuthenticated"],
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
    "SCHEMA_PATH_PREFIX": r"/api/v1",
    "COMPONENT_SPLIT_REQUEST": True,
    "ENUM_NAME_OVERRIDES": {
        "SkipReasonEnum": "annotate.models.SkipReason",
        "FlagReasonEnum": "annotate.models.FlagReason",
        "JudgmentActionEnum": "annotate.models.Judgment.Action",
        "StandingActionEnum": "annotate.models.StandingDecision.Action",
    },
}

# -- Work in the background: the broker only wakes workers up; see models_registry/leases.py ---------------------------

CELERY_BROKER_URL = read_url(
    "CELERY_BROKER_URL", env("CELERY_BROKER_URL", default="files://"), ["files", "redis", "rediss", "amqp", "amqps"]
)
LEASE_SECONDS = read_number("LEASE_SECONDS", env("LEASE_SECONDS", default="120"), least=2, most=3600)
HEARTBEAT_SECONDS = read_number("HEARTBEAT_SECONDS", env("HEARTBEAT_SECONDS", default="10"), least=1, most=3600)
RECONCILE_SECONDS = read_number("RECONCILE_SECONDS", env("RECONCILE_SECONDS", default="15"), least=1, most=3600)
WORKER_LABELS = read_labels("WORKER_LABELS", env.list("WORKER_LABELS", default=[]))
# Where workers of other machines reach this one, for runs on several; empty: its address on the way to the database.
WORKER_ADDRESS = read_address("WORKER_ADDRESS", env("WORKER_ADDRESS", default=""))
MAX_CRASHES = 3
GARBAGE_GRACE_DAYS = read_number("GARBAGE_GRACE_DAYS", env("GARBAGE_GRACE_DAYS", default="7"), least=0, most=3650)
# Of a run that asks for no others; 0 means none.
RUN_LIMIT_HOURS = read_number("RUN_LIMIT_HOURS", env("RUN_LIMIT_HOURS", default="0"), most=100_000)
RUN_LIMIT_GB = read_number("RUN_LIMIT_GB", env("RUN_LIMIT_GB", default="0"))

# Folders whose subfolders an admin may register as base models; no request can name another place.
MODEL_ROOTS = [
    Path(root).resolve() for root in env.list("MODEL_ROOTS", default=[str(DATA_DIR / "import-models")]) if root
]

# What hosts without a common disk share (models_registry/store.py); empty: everything stays in DATA_DIR.
STORE_URL = read_store("STORE_URL", env("STORE_URL", default=""))
STORE_S3 = {
    "endpoint": env("AWS_ENDPOINT_URL", default=""),
    "region": env("AWS_REGION", default="us-east-1"),
    "access_key_id": env("AWS_ACCESS_KEY_ID", default=""),
    "secret_access_key": env("AWS_SECRET_ACCESS_KEY", default=""),
}
# Where models are pushed to and pulled from, in the layout of a hub; empty: "hub" in the store or in DATA_DIR.
HUB_URL = read_store("HUB_URL", env("HUB_URL", default=""))

ASSIGNMENT_LEASE_SECONDS = 15 * 60

# -- Logs -------------------------------------------------------------------------------------------------------------

LOG_FORMAT = read_choice("LOG_FORMAT", env("LOG_FORMAT", default="text"), ["text", "json"])
LOG_LEVEL = read_choice(
    "LOG_LEVEL", env("LOG_LEVEL", default="INFO"), ["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"]
)
LOGGING = build_logging(LOG_FORMAT, LOG_LEVEL)
