"""When and how a client reconnects.

After an outage all clients want to reconnect at once, so the delays are random. A client must not retry for ever a
request that can never succeed.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

CloseAction = Literal["back-off", "token", "wait", "stop"]

# Codes of RFC 6455 after which another attempt would fail in the same way.
_HOPELESS = frozenset({1002, 1003, 1007, 1008, 1009, 1010, 1011})
# Used until a `welcome` contains other values.
FIRST_ADVICE: Mapping[str, float] = {"minMs": 250, "maxMs": 30_000, "factor": 2, "stableAfterMs": 5_000}
# How many tokens are tried without a `welcome` between them.
TOKEN_ATTEMPTS_MAX = 3
# A client leaves a draining node within this share of the time, so that it can finish.
_MOVE_SHARE = 0.8
_MINUTE_MS = 60_000
# Full jitter alone has no bound: several small random delays in a row would hammer a service that refuses.
ATTEMPTS_PER_MINUTE = 12


def action_for(code: int) -> CloseAction:
    """Decides by the range of a close code, so that a client understands codes that are newer than it is."""
    if code in _HOPELESS or 4400 <= code < 4500:
        return "stop"
    if 4100 <= code < 4200:
        return "token"
    if 4200 <= code < 4300:
        return "wait"
    return "back-off"


@dataclass(frozen=True)
class NextStep:
    """The next step after a connection has ended. Without a delay the client stops."""

    delay_ms: float | None
    with_new_token: bool = False


class Reconnect:
    """The delays between connections, with full jitter. The clock and the random numbers are arguments."""

    def __init__(self, random: Callable[[], float], options: Mapping[str, float]) -> None:
        """`options` replaces the service's advice; `attemptsPerMinute` bounds the connections of any minute."""
        self._random = random
        self._options = {name: value for name, value in options.items() if name != "attemptsPerMinute"}
        self._attempts_max = int(options.get("attemptsPerMinute", ATTEMPTS_PER_MINUTE))
        self._advice: Mapping[str, float] = {**FIRST_ADVICE, **self._options}
        self._failures = 0
        self._token_attempts = 0
        self._welcomed_at_ms: float | None = None
        # The service asked for no attempt before this time.
        self._not_before_ms = 0.0
        # When the connection attempts of the last minute began.
        self._attempts: deque[float] = deque(maxlen=self._attempts_max)

    def attempted(self, now_ms: float) -> None:
        """A connection attempt begins."""
        self._attempts.append(now_ms)

    def welcomed(self, advice: Mapping[str, float], now_ms: float) -> None:
        """The service has accepted a connection, which must last for a while before the back-off starts over."""
        self._advice = {**FIRST_ADVICE, **advice, **self._options}
        self._welcomed_at_ms = now_ms
        self._token_attempts = 0
        self._not_before_ms = 0.0

    def wait_at_least(self, wait_ms: float, now_ms: float) -> None:
        """The service has named a time to wait, by `draining` or `retryAfterMs`."""
        self._not_before_ms = now_ms + wait_ms

    def moment_within(self, within_ms: float) -> float:
        """A random moment within the time of a draining node, early enough to finish before its end."""
        return self._random() * within_ms * _MOVE_SHARE

    def next_delay_ms(self) -> float:
        """The next delay of the back-off, for a connection that has ended or that could not be made."""
        advice = self._advice
        # The exponent is bounded, because a float overflows where the maximum applies long since.
        ceiling = min(advice["maxMs"], advice["minMs"] * advice["factor"] ** min(self._failures, 64))
        self._failures += 1
        return self._random() * ceiling

    def pause_ms(self, now_ms: float) -> float:
        """How long the next connection must wait at least, so that the limit per minute holds."""
        if len(self._attempts) < self._attempts_max:
            return 0.0
        return max(0.0, self._attempts[0] + _MINUTE_MS - now_ms)

    def closed(self, code: int, now_ms: float) -> NextStep:
        """A connection has ended."""
        began_ms, self._welcomed_at_ms = self._welcomed_at_ms, None
        if began_ms is not None and now_ms - began_ms >= self._advice["stableAfterMs"]:
            self._failures = 0
        action = action_for(code)
        if action == "stop":
            return NextStep(None)
        if action == "token":
            self._token_attempts += 1
            if self._token_attempts > TOKEN_ATTEMPTS_MAX:
                return NextStep(None)
        wait_ms = max(0.0, self._not_before_ms - now_ms) if action == "wait" else 0.0
        delay_ms = max(wait_ms + self.next_delay_ms(), self.pause_ms(now_ms))
        return NextStep(delay_ms, with_new_token=action == "token")
