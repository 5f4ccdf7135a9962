"""Weather stations are asked side by side, and parts are inspected until one is found broken."""

import asyncio

from zart_decorators import durable, step


class PartBroken(Exception):
    """There is no use in looking at the other parts."""


@step
async def measure(station: str) -> int:
    await asyncio.sleep(0.5)  # the station is far away
    return len(station)


@step
async def calibrate(station: str, raw: int) -> str:
    return f"{station} {raw} °C"


@durable
async def survey(stations: list[str]) -> list[str]:
    """Ask all stations at once. Each is a branch of its own, so no crash makes them swap their results."""

    async def branch(station: str) -> str:
        return await calibrate(station, await measure(station))

    return await asyncio.gather(*map(branch, stations))


@step
async def inspect(part: str, seconds: float) -> str:
    await asyncio.sleep(seconds)
    if part == "gearbox":
        raise PartBroken(part)
    return f"{part} is fine"


@step
async def order_replacement(part: str) -> str:
    return f"a new {part} is ordered"


@durable
async def inspection() -> str:
    """Inspect three parts at once. The first failure cancels what is still under way, as in any task group."""
    broken = None
    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(inspect("wheel", 0))
            group.create_task(inspect("gearbox", 0.2))
            group.create_task(inspect("engine", 60))
    except* PartBroken as found:
        broken = str(found.exceptions[0])
    return "all is fine" if broken is None else await order_replacement(broken)
