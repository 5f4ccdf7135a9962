"""Why an example could not go on."""

from __future__ import annotations


class DemoFailed(Exception):
    """Something did not start, or did not do what it must; the text says what, for people."""


class Interrupted(BaseException):
    """A signal asks to stop. Not an Exception: nothing on the way may catch it."""

    def __init__(self, signum: int) -> None:
        super().__init__(signum)
        self.signum = signum
