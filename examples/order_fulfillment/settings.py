"""What may differ from place to place, from the environment: ORDER_GATEWAY_URL, ORDER_RETRY_DELAY and so on."""

from __future__ import annotations

import os

GATEWAY_URL = os.environ.get("ORDER_GATEWAY_URL")
"""Where payments are asked for, such as http://127.0.0.1:8099. Without it nobody is asked and every card is good."""

RETRY_DELAY = os.environ.get("ORDER_RETRY_DELAY", "2s")
"""The pause before the second attempt of a payment; it doubles with every further one."""

SETTLE = os.environ.get("ORDER_SETTLE", "60s")
"""How long the warehouse takes to settle."""

SHIPMENT_WAIT = os.environ.get("ORDER_SHIPMENT_WAIT", "1h")
"""How long to wait for the shipment."""

TIMEOUT = os.environ.get("ORDER_TIMEOUT", "30m")
"""The longest an order may take in all."""
