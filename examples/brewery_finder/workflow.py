"""Find the best breweries of a city: fetch all pages, filter, look each one up, report."""

import asyncio
from urllib.parse import urlencode

from pydantic import BaseModel

from examples.brewery_finder import directory
from zart_decorators import durable, step


class Brewery(BaseModel):
    id: str
    name: str
    city: str
    kind: str


class Rating(BaseModel):
    stars: float
    reviews: int


class Found(BaseModel):
    name: str
    stars: float


class Report(BaseModel):
    city: str
    looked_at: int
    best: list[Found]


@step("page-{page}", retry="exponential(4, 100ms)")
def fetch_page(url: str, page: int) -> list[Brewery]:
    """Return one page of the directory; an empty one is past its end."""
    query = urlencode({"page": page, "per_page": 20})
    return [Brewery.model_validate(entry) for entry in directory.get(f"{url}/breweries?{query}")]


@step("rate-{brewery_id}", retry="exponential(4, 100ms)")
def fetch_rating(url: str, brewery_id: str) -> Rating:
    return Rating.model_validate(directory.get(f"{url}/breweries/{brewery_id}/rating"))


@durable(timeout="10m")
async def find_breweries(url: str, city: str, kind: str = "micro", at_once: int = 4) -> Report:
    """Return the five best; never ask for more than `at_once` ratings at a time."""
    everything: list[Brewery] = []
    page = 1
    while found := await fetch_page(url, page):
        everything += found
        page += 1

    slots = asyncio.Semaphore(at_once)

    async def rated(brewery: Brewery) -> Found:
        async with slots:
            rating = await fetch_rating(url, brewery.id)
        return Found(name=brewery.name, stars=rating.stars)

    chosen = [brewery for brewery in everything if brewery.city == city and brewery.kind == kind]
    best = sorted(await asyncio.gather(*map(rated, chosen)), key=lambda one: (-one.stars, one.name))[:5]
    return Report(city=city, looked_at=len(everything), best=best)
