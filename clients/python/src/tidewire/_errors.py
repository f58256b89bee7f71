"""Errors, by the codes of the protocol (docs/errors.md)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


class TidewireError(Exception):
    """A request has failed. `code` is for programs, the text for people."""

    def __init__(
        self,
        code: str,
        message: str,
        *,
        details: Mapping[str, Any] | None = None,
        retry: str | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        # For programs: which limit, path or reason.
        self.details: Mapping[str, Any] = details or {}
        # `now`, `later`, `token` or `never`: when the same request may succeed.
        self.retry = retry or RETRY.get(code, "later")
        # The shortest pause before the next attempt, in seconds.
        self.retry_after = retry_after

    def __str__(self) -> str:
        return f"{self.code}: {self.message}"


class BadRequestError(TidewireError):
    """The request does not follow the protocol."""


class BadFilterError(TidewireError):
    """The filter or the sort is not allowed, or holds a value that cannot be sent."""


class UnauthenticatedError(TidewireError):
    """The token is missing, not genuine, expired or revoked."""


class ForbiddenError(TidewireError):
    """No rule allows this user this request."""


class UnknownCollectionError(TidewireError):
    """The configuration of the service has no collection of this name."""


class TooManySubscriptionsError(TidewireError):
    """The connection or its user has reached a limit."""


class TooManyRequestsError(TidewireError):
    """A rate or a count was exceeded."""


class SnapshotTooLargeError(TidewireError):
    """The result has too many documents or groups."""


class UnavailableError(TidewireError):
    """The service, or its database, cannot answer now."""


class ClosedError(UnavailableError):
    """The program has closed the client."""

    def __init__(self) -> None:
        super().__init__("unavailable", "the client was closed", details={"reason": "closed"}, retry="never")


RETRY: Mapping[str, str] = {
    "bad-request": "never",
    "bad-filter": "never",
    "unauthenticated": "token",
    "forbidden": "never",
    "unknown-collection": "never",
    "duplicate-id": "never",
    "unknown-id": "never",
    "too-many-subscriptions": "later",
    "too-many-requests": "later",
    "snapshot-too-large": "never",
    "unavailable": "later",
    "internal": "later",
}

_CLASSES: Mapping[str, type[TidewireError]] = {
    "bad-request": BadRequestError,
    "bad-filter": BadFilterError,
    "unauthenticated": UnauthenticatedError,
    "forbidden": ForbiddenError,
    "unknown-collection": UnknownCollectionError,
    "too-many-subscriptions": TooManySubscriptionsError,
    "too-many-requests": TooManyRequestsError,
    "snapshot-too-large": SnapshotTooLargeError,
    "unavailable": UnavailableError,
}


def error_of(
    code: str,
    message: str,
    *,
    details: Mapping[str, Any] | None = None,
    retry: str | None = None,
    retry_after: float | None = None,
) -> TidewireError:
    """Makes an error of the class of its code. A code that is newer than this client gives a `TidewireError`."""
    kind = _CLASSES.get(code, TidewireError)
    return kind(code, message, details=details, retry=retry, retry_after=retry_after)


def from_message(message: Mapping[str, Any]) -> TidewireError:
    """Converts an `error` message of the service."""
    wait_ms = message.get("retryAfterMs")
    return error_of(
        message["code"],
        message["message"],
        details=message.get("details"),
        retry=message.get("retry"),
        retry_after=None if wait_ms is None else wait_ms / 1_000,
    )


def end_error(code: int, reason: str) -> TidewireError:
    """The error for a connection that ended without a message of the service."""
    text = reason or f"the connection ended ({code})"
    return error_of(_code_of(code), text, details={"code": code})


def _code_of(close_code: int) -> str:
    if close_code == 4403:
        return "forbidden"  # The code hides the documents, even if the message before it was lost.
    is_auth = 4100 <= close_code < 4200 or close_code == 4401
    return "unauthenticated" if is_auth else "unavailable"
