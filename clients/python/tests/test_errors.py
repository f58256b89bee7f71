"""The codes and classes of errors."""

import unittest
from pathlib import Path

import tidewire
from tidewire._errors import RETRY, error_of, from_message

PAGE = Path(__file__).parents[3] / "docs" / "errors.md"


class ErrorTest(unittest.TestCase):
    def test_an_error_has_the_class_of_its_code_and_the_fields_of_the_message(self) -> None:
        message = {"code": "forbidden", "message": "no", "retry": "later", "retryAfterMs": 1_500, "details": {"part": "sort"}}
        error = from_message(message)
        self.assertIsInstance(error, tidewire.ForbiddenError)
        self.assertEqual((error.code, error.message, error.retry, error.retry_after), ("forbidden", "no", "later", 1.5))
        self.assertEqual((error.details, str(error)), ({"part": "sort"}, "forbidden: no"))

    def test_a_code_that_is_newer_than_the_client_is_an_error_all_the_same(self) -> None:
        error = error_of("future", "text")
        self.assertEqual((type(error), error.code, error.retry), (tidewire.TidewireError, "future", "later"))

    @unittest.skipUnless(PAGE.exists(), "the package alone has no page of errors")
    def test_the_codes_are_those_of_the_page(self) -> None:
        sections = PAGE.read_text("utf-8").split("## Error codes")[1].split("## Close codes")[0].split("\n### ")[1:]
        self.assertEqual({section.split("\n")[0] for section in sections}, set(RETRY))
