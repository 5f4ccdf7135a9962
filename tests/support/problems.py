"""What every error of the API looks like."""

from __future__ import annotations

from typing import Any

import httpx2


def problem(answer: httpx2.Response, status: int, code: str | None = None) -> dict[str, Any]:
    """Check that `answer` is a problem in the documented form, and return it."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    body: dict[str, Any] = answer.json()
    assert {"type", "title", "status", "detail", "instance", "code"} <= body.keys()
    assert body["status"] == status
    assert all(body[field] for field in ("type", "title", "detail", "instance", "code"))
    assert code is None or body["code"] == code
    return body
