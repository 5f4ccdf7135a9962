"""When a failed step is tried again: the policy, its text and its arithmetic. Pure: chance comes from the caller."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from decimal import Decimal
from typing import Final, Literal, NoReturn, TypeAlias, get_args

from zart_core.duration import MAX_SECONDS, Duration, seconds
from zart_core.errors import InvalidText, NonRetryable, PayloadError, StepTimeout, UsageError

Jitter: TypeAlias = Literal["none", "full"]
"""`full` draws each delay evenly between zero and what it would be."""

ErrorTypes: TypeAlias = tuple[type[BaseException], ...]

MAX_RETRIES: Final = 1_000_000
MAX_FACTOR: Final = 1_000.0

_WHAT: Final = "retry policy"
_FORMS: Final = (
    "'fixed(N, DURATION)' or 'exponential(N, DURATION[, factor=2][, max=DURATION][, jitter=full])'"
)
_NEVER: Final = (NonRetryable, StepTimeout, PayloadError, UsageError)


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How often and after which delays a failed step is tried again.

    Attributes:
        retries: Attempts after the first one; 0 to 1,000,000.
        delay: Seconds before the first retry; at most 100 years.
        factor: By what each delay is longer than the one before; 1 to 1,000.
        max_delay: Seconds that no delay exceeds, or None.
        jitter: `"full"` draws each delay evenly between zero and its value.
    """

    retries: int
    delay: float
    factor: float = 2.0
    max_delay: float | None = None
    jitter: Jitter = "none"

    def __post_init__(self) -> None:
        object.__setattr__(self, "delay", _delay(self.delay, "delay"))
        if self.max_delay is not None:
            object.__setattr__(self, "max_delay", _delay(self.max_delay, "max_delay"))
        if isinstance(self.retries, bool) or not isinstance(self.retries, int):
            _refuse("retries", self.retries, "expected a whole number")
        if not 0 <= self.retries <= MAX_RETRIES:
            _refuse("retries", self.retries, f"expected 0 to {MAX_RETRIES:,}")
        if isinstance(self.factor, bool) or not isinstance(self.factor, int | float):
            _refuse("factor", self.factor, "expected a number")
        if not 1 <= self.factor <= MAX_FACTOR:
            _refuse("factor", self.factor, f"expected 1 to {MAX_FACTOR:,.0f}")
        object.__setattr__(self, "factor", float(self.factor))
        if self.jitter not in get_args(Jitter):
            _refuse("jitter", self.jitter, "expected 'full' or 'none'")

    @classmethod
    def fixed(cls, retries: int, delay: Duration, *, jitter: Jitter = "none") -> RetryPolicy:
        """Wait the same `delay` before each of at most `retries` retries."""
        return cls(retries, _delay(delay, "delay"), 1.0, None, jitter)

    @classmethod
    def exponential(
        cls,
        retries: int,
        delay: Duration,
        *,
        factor: float = 2.0,
        max_delay: Duration | None = None,
        jitter: Jitter = "none",
    ) -> RetryPolicy:
        """Wait `delay`, then each time `factor` times longer, never more than `max_delay`."""
        longest = None if max_delay is None else _delay(max_delay, "max_delay")
        return cls(retries, _delay(delay, "delay"), factor, longest, jitter)

    @classmethod
    def parse(cls, text: str) -> RetryPolicy:
        """Read `fixed(N, D)` or `exponential(N, D)` with the options `factor= max= jitter=`.

        Raises:
            InvalidText: The text does not follow the grammar; `column` counts from 1.
        """
        return _Reader(text).policy()

    def next_delay(self, attempt: int, random: float) -> float | None:
        """Return the seconds to wait after a failed attempt, or None if no retry is left.

        Args:
            attempt: Number of the attempt that has just failed, from 1.
            random: Drawn by the caller from [0, 1); matters with jitter only.
        """
        if attempt > self.retries:
            return None
        longest = MAX_SECONDS if self.max_delay is None else self.max_delay
        delay = min(self.delay * _power(self.factor, attempt - 1), longest) if self.delay else 0.0
        return delay * random if self.jitter == "full" else delay

    def __str__(self) -> str:
        name = "fixed" if self.factor == 1 and self.max_delay is None else "exponential"
        options = [str(self.retries), _plain(self.delay) + "s"]
        if name == "exponential" and self.factor != 2:  # noqa: PLR2004 - the default of the grammar
            options.append(f"factor={_plain(self.factor)}")
        if self.max_delay is not None:
            options.append(f"max={_plain(self.max_delay)}s")
        if self.jitter != "none":
            options.append(f"jitter={self.jitter}")
        return f"{name}({', '.join(options)})"


def as_policy(value: str | RetryPolicy | None) -> RetryPolicy:
    """Return the policy that `value` means; None means one attempt.

    Raises:
        InvalidText: The text does not follow the grammar, or `value` is something else.
    """
    if value is None:
        return NO_RETRY
    if isinstance(value, RetryPolicy):
        return value
    if isinstance(value, str):
        return RetryPolicy.parse(value)
    raise InvalidText(_WHAT, repr(value), 1, f"expected a RetryPolicy or text: {_FORMS}")


def should_retry(error: BaseException, retry_on: ErrorTypes = (), no_retry_on: ErrorTypes = ()) -> bool:
    """Return whether the kind of `error` allows another attempt; `no_retry_on` wins, no `retry_on` means all.

    What another attempt cannot mend is never retried: `NonRetryable`, a step's timeout (but silence is), a payload that
    cannot be stored, a misuse of Zart.
    """
    if isinstance(error, _NEVER) and not (isinstance(error, StepTimeout) and error.silent):
        return False
    return not isinstance(error, no_retry_on) and (not retry_on or isinstance(error, retry_on))


class _Reader:
    """Reads one policy text from left to right; `_at` is the position that an error points to."""

    _TOKEN = re.compile(r"\s*([^\s,()=]+|[,()=]|$)")

    def __init__(self, text: str) -> None:
        self._text, self._at, self._end = text, 0, 0

    def policy(self) -> RetryPolicy:
        name = self._next()
        if name not in {"fixed", "exponential"}:
            self._fail(f"expected {_FORMS}")
        self._expect("(")
        retries = self._retries()
        self._expect(",")
        delay = self._duration()
        options = self._options(name)
        if self._next():
            self._fail("expected nothing after ')'")
        return RetryPolicy(
            retries,
            delay,
            options.get("factor", 1.0 if name == "fixed" else 2.0),
            options.get("max"),
            "full" if options.get("jitter") else "none",
        )

    def _options(self, name: str) -> dict[str, float]:
        """Read up to the closing parenthesis; jitter is 1 for full and 0 for none."""
        known = ("jitter",) if name == "fixed" else ("factor", "max", "jitter")
        found: dict[str, float] = {}
        while (separator := self._next()) == ",":
            option = self._next()
            if option not in known:
                self._fail(f"expected an option of {name}: {', '.join(f'{word}=' for word in known)}")
            if option in found:
                self._fail(f"{option}= is given twice")
            self._expect("=")
            found[option] = self._value(option)
        if separator != ")":
            self._fail("expected ',' or ')'")
        return found

    def _value(self, option: str) -> float:
        if option == "max":
            return self._duration()
        if option == "factor":
            return self._factor()
        jitter = self._next()
        if jitter not in get_args(Jitter):
            self._fail("expected 'full' or 'none'")
        return float(jitter == "full")

    def _retries(self) -> int:
        token = self._next()
        if not re.fullmatch("[0-9]{1,9}", token) or int(token) > MAX_RETRIES:
            self._fail(f"expected a number of retries, 0 to {MAX_RETRIES:,}")
        return int(token)

    def _factor(self) -> float:
        token = self._next()
        if not re.fullmatch(r"[0-9]+(\.[0-9]+)?", token) or not 1 <= float(token) <= MAX_FACTOR:
            self._fail(f"expected a factor, 1 to {MAX_FACTOR:,.0f}")
        return float(token)

    def _duration(self) -> float:
        token = self._next()
        if not token or token in set(",()="):
            self._fail("expected a duration, such as '2s'")
        try:
            return seconds(token, what=_WHAT)
        except InvalidText as error:
            raise InvalidText(_WHAT, self._text, self._at + error.column, error.expected) from None

    def _expect(self, mark: str) -> None:
        if self._next() != mark:
            self._fail(f"expected '{mark}'")

    def _next(self) -> str:
        """Return the next token, "" at the end, and point at it."""
        match = self._TOKEN.match(self._text, self._end)
        assert match is not None  # noqa: S101 - whatever is no mark is a word, or the end
        self._at, self._end = match.span(1)
        return match[1]

    def _fail(self, expected: str) -> NoReturn:
        raise InvalidText(_WHAT, self._text, self._at + 1, expected)


def _delay(value: Duration, name: str) -> float:
    delay = seconds(value, what=f"{_WHAT} {name}")
    if delay < 0:
        _refuse(name, value, "expected zero or more")
    return delay


def _refuse(name: str, value: object, expected: str) -> NoReturn:
    raise InvalidText(f"{_WHAT} {name}", repr(value), 1, expected)


def _power(factor: float, exponent: int) -> float:
    try:
        return factor**exponent
    except OverflowError:
        return math.inf


def _plain(number: float) -> str:
    """Return a float exactly, without an exponent, so that the text parses to the same number."""
    text = format(Decimal(repr(number)), "f")
    return text.removesuffix(".0")


NO_RETRY: Final = RetryPolicy(0, 0.0, 1.0)
