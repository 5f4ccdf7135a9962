"""Unit tests of workflows without a database: the same engine, a store in memory, and a clock that jumps."""

from __future__ import annotations

from zart_core.testing.driver import Stuck
from zart_core.testing.environment import TestRun
from zart_core.testing.handle import Handle

__all__ = ["Handle", "Stuck", "TestRun"]
