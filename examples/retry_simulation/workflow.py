"""A price is asked for at a service that is down now and then."""

import json
from urllib.error import HTTPError
from urllib.request import ProxyHandler, build_opener

from zart_decorators import durable, step

http = build_opener(ProxyHandler({}))


class ServiceDown(Exception):
    """The service had no answer. Asking again later may help."""


@step(retry="exponential(3, 200ms)")  # after 0.2, 0.4 and 0.8 s: four attempts at most
def fetch_price(url: str, item: str) -> int:
    """Not async, so it runs in a thread of the worker."""
    try:
        with http.open(f"{url}/prices/{item}", timeout=5) as answer:
            return int(json.load(answer)["price"])
    except HTTPError as error:
        with error:
            raise ServiceDown(f"{error.code} {error.reason}") from None


@durable
async def quote(url: str, item: str) -> str:
    try:
        price = await fetch_price(url, item)
    except ServiceDown as error:  # the step's own exception, once all attempts are spent
        return f"no price for {item}: {error}"
    return f"{item} costs {price}"
