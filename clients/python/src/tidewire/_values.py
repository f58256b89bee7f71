"""Values of MongoDB: filters as Extended JSON, and documents as types of the package `bson`.

JSON cannot express most types of MongoDB. A filter that silently lost a type would match other documents, so a value
that cannot be expressed is an error.
"""

from __future__ import annotations

import base64
import datetime
import decimal
import math
import re
import sys
import uuid
from collections.abc import Callable, Mapping
from typing import Any, Literal

from ._errors import BadFilterError

# How documents reach the program: as JSON, as MongoDB Extended JSON, or as types of `bson`, which PyMongo contains.
Values = Literal["json", "ejson", "bson"]

_INT64_MAX = 2**63 - 1
# Integers beyond this are not exact in JSON for every reader.
_SAFE_INT_MAX = 2**53 - 1
_EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.timezone.utc)
_MAX_ISO = datetime.datetime(9999, 12, 31, 23, 59, 59, 999_999, tzinfo=datetime.timezone.utc)
_FLAGS = {re.IGNORECASE: "i", re.MULTILINE: "m", re.DOTALL: "s", re.VERBOSE: "x"}


def to_extended_json(value: Any, path: str = "filter") -> Any:
    """Encodes a value of a filter. Raises `BadFilterError` for a value that a filter cannot contain."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, Mapping):
        return {_key(key, path): to_extended_json(inner, f"{path}.{key}") for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [to_extended_json(inner, f"{path}.{at}") for at, inner in enumerate(value)]
    # Before texts and numbers, because `Code` of bson is a str, and `Int64` an int.
    encoded = _bson_to_extended_json(value)
    if encoded is not None:
        return encoded
    if isinstance(value, str):
        return _text(value, path)
    for kind, encode in _ENCODERS:
        if isinstance(value, kind):
            return encode(value, path)
    raise BadFilterError("bad-filter", f"{path} is a {type(value).__name__}, which a filter cannot contain")


def _key(key: object, path: str) -> str:
    if not isinstance(key, str):
        raise BadFilterError("bad-filter", f"{path} has a key that is not a string: {key!r}")
    return _text(key, path)


def _text(text: str, path: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise BadFilterError("bad-filter", f"{path} is not well-formed Unicode") from error
    return text


def _int(value: int, path: str) -> Any:
    if abs(value) <= _SAFE_INT_MAX:
        return int(value)
    if -_INT64_MAX - 1 <= value <= _INT64_MAX:
        return {"$numberLong": str(int(value))}
    raise BadFilterError("bad-filter", f"{path} is an integer of more than 64 bits")


def _float(value: float, _path: str) -> Any:
    if math.isfinite(value):
        return float(value)
    name = "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    return {"$numberDouble": name}


def _datetime(value: datetime.datetime, _path: str) -> Any:
    # As in PyMongo: a datetime without a time zone is UTC.
    utc = value.astimezone(datetime.timezone.utc) if value.tzinfo else value.replace(tzinfo=datetime.timezone.utc)
    milliseconds = (utc - _EPOCH) // datetime.timedelta(milliseconds=1)
    # Extended JSON uses ISO 8601 only for years up to 9999 and from 1970 on.
    if _EPOCH <= utc <= _MAX_ISO:
        whole = _EPOCH + datetime.timedelta(milliseconds=milliseconds)
        return {"$date": whole.replace(tzinfo=None).isoformat(timespec="milliseconds") + "Z"}
    return {"$date": {"$numberLong": str(milliseconds)}}


def _pattern(value: re.Pattern[Any], path: str) -> Any:
    if not isinstance(value.pattern, str):
        raise BadFilterError("bad-filter", f"{path} is a pattern of bytes")
    options = "".join(name for flag, name in _FLAGS.items() if value.flags & flag)
    return {"$regularExpression": {"pattern": _text(value.pattern, path), "options": options}}


def _bytes(value: bytes, _path: str) -> Any:
    return {"$binary": {"base64": base64.b64encode(value).decode(), "subType": "00"}}


_ENCODERS: tuple[tuple[type | tuple[type, ...], Callable[[Any, str], Any]], ...] = (
    (int, _int),
    (float, _float),
    (datetime.datetime, _datetime),
    (decimal.Decimal, lambda value, _: {"$numberDecimal": str(value)}),
    (uuid.UUID, lambda value, _: {"$uuid": str(value)}),
    (re.Pattern, _pattern),
    ((bytes, bytearray), _bytes),
)


def _bson_to_extended_json(value: object) -> Any:
    """The Extended JSON of a type of `bson`; None for others. A program that has such a value has imported `bson`."""
    module = type(value).__module__
    if not (module == "bson" or module.startswith("bson.")) or "bson" not in sys.modules:
        return None
    from bson import json_util

    try:
        return json_util.default(value, json_util.CANONICAL_JSON_OPTIONS)
    except TypeError:
        return None


def decoder_of(values: Values) -> Callable[[Any], Any]:
    """The function that turns a received value into the program's. Raises `ImportError` if `bson` is missing."""
    if values != "bson":
        return lambda value: value
    try:
        from bson import DatetimeConversion, json_util
    except ImportError as error:
        text = 'values="bson" needs the package bson of PyMongo: pip install "tidewire[bson]"'
        raise ImportError(text) from error
    # As PyMongo by default: no time zone, which means UTC. Dates that Python cannot hold become `DatetimeMS`.
    options = json_util.JSONOptions(
        json_mode=json_util.JSONMode.RELAXED,
        tz_aware=False,
        tzinfo=None,
        uuid_representation=4,
        datetime_conversion=DatetimeConversion.DATETIME_AUTO,
    )

    def decode(value: Any) -> Any:
        if isinstance(value, dict):
            # `object_hook` decodes one object whose inner values are decoded.
            inner = {key: decode(one) for key, one in value.items()}
            try:
                return json_util.object_hook(inner, options)
            except Exception:
                # A document may have fields such as `$oid` of its own. It must not end the connection.
                return inner
        if isinstance(value, list):
            return [decode(inner) for inner in value]
        return value

    return decode
