"""The settings of a project that needs no more than this. Django's own database holds the users, MongoDB the orders."""

import os
from pathlib import Path

BASE_DIR = Path(__file__).resolve().parent.parent

DEBUG = True
SECRET_KEY = os.environ.get("DJANGO_SECRET_KEY", "for this example only")
ALLOWED_HOSTS = ["localhost", "127.0.0.1"]

# As for the service.
MONGODB_URI = os.environ["MONGODB_URI"]
MONGODB_DATABASE = os.environ.get("MONGODB_DATABASE", "shop")
TIDEWIRE_JWT_SECRET = os.environ["TIDEWIRE_JWT_SECRET"]
# The address of the service, for the pages and for the command.
TIDEWIRE_URL = os.environ.get("TIDEWIRE_URL", "http://127.0.0.1:8480")

INSTALLED_APPS = [
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.staticfiles",
    "orders",
]
MIDDLEWARE = [
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
]
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
            ]
        },
    }
]
ROOT_URLCONF = "orders.urls"
LOGIN_URL = "/login/"
LOGIN_REDIRECT_URL = "/"

DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": os.environ.get("DJANGO_DATABASE", BASE_DIR / "db.sqlite3"),
    }
}

STATIC_URL = "static/"
# `npm run build:browser` writes the JavaScript client there.
STATICFILES_DIRS = [BASE_DIR.parent.parent / "dist" / "browser"]
