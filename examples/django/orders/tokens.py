"""Tokens for the service, signed with the secret of its configuration (`auth.jwt.secret`)."""

import time

import jwt
from django.conf import settings

LIFE_S = 600


def sign(subject: str, **claims: object) -> str:
    now = int(time.time())
    # `iat` lets a subscription resume over the change of tokens.
    payload = {"sub": subject, "iat": now, "exp": now + LIFE_S, **claims}
    return jwt.encode(payload, settings.TIDEWIRE_JWT_SECRET, algorithm="HS256")
