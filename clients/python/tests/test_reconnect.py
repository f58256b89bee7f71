"""When and how a client reconnects."""

import unittest

from tidewire._reconnect import Reconnect, action_for

ADVICE = {"minMs": 100, "maxMs": 1_000, "factor": 2, "stableAfterMs": 5_000}


def reconnect(random: float = 1.0, **options: float) -> Reconnect:
    given = Reconnect(lambda: random, {"attemptsPerMinute": 1_000, **options})
    return given


class ActionTest(unittest.TestCase):
    def test_the_range_of_a_code_decides(self) -> None:
        expected = {
            "stop": [1002, 1007, 1009, 1011, 4400, 4401, 4429, 4499],
            "token": [4100, 4101, 4102, 4199],
            "wait": [4200, 4202, 4299],
            "back-off": [1000, 1001, 1005, 1006, 1012, 1013, 4000, 4099, 4300],
        }
        for action, codes in expected.items():
            for code in codes:
                self.assertEqual(action_for(code), action, code)


class DelayTest(unittest.TestCase):
    def test_the_ceiling_grows_by_the_factor_up_to_the_maximum(self) -> None:
        waiting = reconnect()
        waiting.welcomed(ADVICE, 0)
        delays = [waiting.closed(1006, 1).delay_ms for _ in range(6)]
        self.assertEqual(delays, [100, 200, 400, 800, 1_000, 1_000])

    def test_the_delay_is_a_random_share_of_the_ceiling(self) -> None:
        waiting = reconnect(0.25)
        waiting.welcomed(ADVICE, 0)
        self.assertEqual(waiting.closed(1006, 1).delay_ms, 25)

    def test_a_connection_that_lasted_starts_the_delay_over_and_one_that_was_only_opened_does_not(self) -> None:
        waiting = reconnect()
        waiting.welcomed(ADVICE, 0)
        waiting.closed(1006, 1)
        waiting.welcomed(ADVICE, 10)
        self.assertEqual(waiting.closed(1006, 10 + 4_999).delay_ms, 200)
        waiting.welcomed(ADVICE, 20_000)
        self.assertEqual(waiting.closed(1006, 20_000 + 5_000).delay_ms, 100)

    def test_a_thousand_failures_do_not_overflow(self) -> None:
        waiting = reconnect()
        for _ in range(2_000):
            step = waiting.closed(1006, 0)
        self.assertEqual(step.delay_ms, 30_000)

    def test_a_drained_client_waits_as_long_as_the_service_said(self) -> None:
        waiting = reconnect(0.0)
        waiting.wait_at_least(3_000, 1_000)
        self.assertEqual(waiting.closed(4202, 2_000).delay_ms, 2_000)
        waiting.wait_at_least(3_000, 1_000)
        self.assertEqual(waiting.closed(1006, 2_000).delay_ms, 0)

    def test_at_most_twelve_connections_per_minute_whatever_the_random_delays(self) -> None:
        waiting = Reconnect(lambda: 0.0, {})
        for at in range(12):
            self.assertEqual(waiting.pause_ms(at), 0)
            waiting.attempted(at)
        self.assertEqual(waiting.pause_ms(12), 60_000 - 12)
        self.assertEqual(waiting.closed(1006, 12).delay_ms, 60_000 - 12)
        self.assertEqual(waiting.pause_ms(60_000), 0)

    def test_options_replace_the_advice_of_the_service(self) -> None:
        waiting = reconnect(minMs=7)
        waiting.welcomed(ADVICE, 0)
        self.assertEqual(waiting.closed(1006, 1).delay_ms, 7)

    def test_a_client_leaves_a_draining_node_with_a_fifth_of_the_time_left(self) -> None:
        self.assertEqual(reconnect(1.0).moment_within(1_000), 800)


class TokenTest(unittest.TestCase):
    def test_three_tokens_are_tried_without_a_welcome_between_them(self) -> None:
        waiting = reconnect()
        steps = [waiting.closed(4100, 0) for _ in range(4)]
        self.assertEqual([step.with_new_token for step in steps], [True, True, True, False])
        self.assertIsNone(steps[3].delay_ms)

    def test_a_welcome_starts_the_count_over(self) -> None:
        waiting = reconnect()
        for _ in range(3):
            waiting.closed(4100, 0)
        waiting.welcomed(ADVICE, 0)
        self.assertIsNotNone(waiting.closed(4100, 0).delay_ms)

    def test_a_hopeless_code_stops(self) -> None:
        self.assertIsNone(reconnect().closed(4401, 0).delay_ms)
