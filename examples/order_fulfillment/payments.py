"""Ask the payment gateway for a charge, over HTTP."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from examples.order_fulfillment import settings

_PATIENCE = 10.0
# The gateway is a neighbour: no proxy stands between.
_opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class GatewayUnavailable(Exception):
    """The gateway could not be reached, or had no answer. Asking again later may help."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What the gateway said: the id of the transaction, or why the card was declined."""

    transaction_id: str = ""
    declined: str | None = None


def charge(order_id: str, amount: float, *, key: str | None) -> Answer:
    """Ask for a charge, blocking for 10 s at most.

    Args:
        key: Asked again with the same key, the gateway repeats its answer and charges nothing.

    Raises:
        GatewayUnavailable: No answer; the card may have been charged all the same.
    """
    if settings.GATEWAY_URL is None:
        return Answer(transaction_id=f"test-{key}")
    request = urllib.request.Request(
        f"{settings.GATEWAY_URL}/charges",
        data=json.dumps({"order_id": order_id, "amount": amount}).encode(),
        headers={"Content-Type": "application/json", "Idempotency-Key": key or ""},
    )
    try:
        with _opener.open(request, timeout=_PATIENCE) as response:
            return Answer(transaction_id=_body(response)["transaction_id"])
    except urllib.error.HTTPError as error:
        with error:
            if error.code == HTTPStatus.PAYMENT_REQUIRED:
                return Answer(declined=_body(error)["reason"])
            raise GatewayUnavailable(f"the gateway answered {error.code}") from None
    except (OSError, ValueError) as error:
        raise GatewayUnavailable(f"no answer from the gateway: {error}") from None


def _body(response: Any) -> dict[str, str]:
    content: dict[str, str] = json.load(response)
    return content
