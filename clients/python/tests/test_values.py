"""Filters as Extended JSON, and documents as types of bson."""

import datetime
import decimal
import importlib.util
import math
import re
import unittest
import uuid
from typing import Any
from unittest import mock

from tidewire import BadFilterError
from tidewire._values import decoder_of, to_extended_json

UTC = datetime.timezone.utc
HAS_BSON = importlib.util.find_spec("bson") is not None


class FilterTest(unittest.TestCase):
    def test_plain_values_stay_as_they_are(self) -> None:
        filter = {"a": 1, "b": "x", "c": None, "d": True, "e": [1.5, {"$gt": -1}], "$or": ({"f": 1},)}
        self.assertEqual(to_extended_json(filter), {**filter, "$or": [{"f": 1}]})

    def test_types_of_python_become_extended_json(self) -> None:
        cases: list[tuple[Any, Any]] = [
            (2**53 - 1, 2**53 - 1),
            (2**53, {"$numberLong": str(2**53)}),
            (-(2**63), {"$numberLong": str(-(2**63))}),
            (math.inf, {"$numberDouble": "Infinity"}),
            (-math.inf, {"$numberDouble": "-Infinity"}),
            (math.nan, {"$numberDouble": "NaN"}),
            (datetime.datetime(2026, 5, 4, 12, 0, 0, 123_999), {"$date": "2026-05-04T12:00:00.123Z"}),
            (
                datetime.datetime(2026, 5, 4, 14, tzinfo=datetime.timezone(datetime.timedelta(hours=2))),
                {"$date": "2026-05-04T12:00:00.000Z"},
            ),
            (datetime.datetime(1969, 12, 31, 23, 59, 59, tzinfo=UTC), {"$date": {"$numberLong": "-1000"}}),
            (decimal.Decimal("1.10"), {"$numberDecimal": "1.10"}),
            (uuid.UUID(int=1), {"$uuid": "00000000-0000-0000-0000-000000000001"}),
            (re.compile("^a", re.I), {"$regularExpression": {"pattern": "^a", "options": "i"}}),
            (b"\x00\xff", {"$binary": {"base64": "AP8=", "subType": "00"}}),
        ]
        for value, expected in cases:
            self.assertEqual(to_extended_json({"a": value}), {"a": expected}, repr(value))

    def test_a_value_that_cannot_be_sent_is_an_error_that_names_its_path(self) -> None:
        for value in (object(), {1, 2}, 2**63, datetime.date(2026, 1, 1), re.compile(b"a"), "\ud800", 1j):
            with self.assertRaisesRegex(BadFilterError, r"filter\.a\.1") as caught:
                to_extended_json({"a": [1, value]})
            self.assertEqual((caught.exception.code, caught.exception.retry), ("bad-filter", "never"))
        with self.assertRaises(BadFilterError):
            to_extended_json({"a": {1: 2}})


class BsonTest(unittest.TestCase):
    def test_without_bson_the_error_says_what_to_install(self) -> None:
        with mock.patch.dict("sys.modules", {"bson": None}):
            with self.assertRaisesRegex(ImportError, r"tidewire\[bson\]"):
                decoder_of("bson")

    @unittest.skipUnless(HAS_BSON, "bson is not installed")
    def test_types_of_bson_become_extended_json(self) -> None:
        import bson

        cases: list[tuple[Any, Any]] = [
            (bson.ObjectId("65a5b1c2d3e4f5a6b7c8d901"), {"$oid": "65a5b1c2d3e4f5a6b7c8d901"}),
            (bson.Int64(5), {"$numberLong": "5"}),
            (bson.Decimal128("1.10"), {"$numberDecimal": "1.10"}),
            (bson.Timestamp(1, 2), {"$timestamp": {"t": 1, "i": 2}}),
            (bson.MinKey(), {"$minKey": 1}),
        ]
        for value, expected in cases:
            self.assertEqual(to_extended_json({"a": value}), {"a": expected}, repr(value))

    @unittest.skipUnless(HAS_BSON, "bson is not installed")
    def test_a_date_that_python_cannot_hold_stays_a_number(self) -> None:
        import bson
        from bson.datetime_ms import DatetimeMS

        decoded = decoder_of("bson")({"at": {"$date": {"$numberLong": "999999999999999"}}})
        self.assertEqual(decoded, {"at": DatetimeMS(999999999999999)})
        self.assertEqual(to_extended_json(bson.Code("x")), {"$code": "x"})

    @unittest.skipUnless(HAS_BSON, "bson is not installed")
    def test_documents_become_types_of_bson(self) -> None:
        import bson

        decode = decoder_of("bson")
        document = {
            "_id": {"$oid": "65a5b1c2d3e4f5a6b7c8d901"},
            "at": {"$date": "2026-05-04T12:00:00.5Z"},
            "old": {"$date": {"$numberLong": "-1000"}},
            "n": 1,
            "x": 1.5,
            "long": {"$numberLong": "9007199254740993"},
            "own": {"$oid": "a field of the document itself"},
            "price": {"$numberDecimal": "1.10"},
            "nan": {"$numberDouble": "NaN"},
            "id": {"$uuid": "00000000-0000-0000-0000-000000000001"},
            "list": [{"$oid": "65a5b1c2d3e4f5a6b7c8d901"}, {"inner": None}],
        }
        decoded = decode(document)
        self.assertTrue(math.isnan(decoded.pop("nan")))
        self.assertEqual(
            decoded,
            {
                "_id": bson.ObjectId("65a5b1c2d3e4f5a6b7c8d901"),
                "at": datetime.datetime(2026, 5, 4, 12, 0, 0, 500_000),
                "old": datetime.datetime(1969, 12, 31, 23, 59, 59),
                "n": 1,
                "x": 1.5,
                "long": bson.Int64(9007199254740993),
                "own": {"$oid": "a field of the document itself"},
                "price": bson.Decimal128("1.10"),
                "id": uuid.UUID(int=1),
                "list": [bson.ObjectId("65a5b1c2d3e4f5a6b7c8d901"), {"inner": None}],
            },
        )
