"""The best breweries of a city, out of a directory that is busy now and then: make example-brewery-finder."""

import sys
from pathlib import Path

from examples.brewery_finder.service import BREWERIES, RATINGS, serve
from examples.brewery_finder.workflow import find_breweries
from examples.stage import Stage, play

WORKFLOW = Path(__file__).with_name("workflow.py")
CITY = "Bruges"
AT_ONCE = 4
BUSY = ["page-2", "rate-b0"]  # at the first request


def main(stage: Stage) -> None:
    with serve() as directory:
        stage.say(f"a directory of {len(BREWERIES)} breweries is at {directory.url}")
        stage.start_worker(WORKFLOW)
        handle = stage.client.start(find_breweries, directory.url, CITY, "micro", AT_ONCE)
        report = handle.result("30s")
        stage.say(f"\nThe best micro breweries of {report.city}, out of {report.looked_at}:")
        for found in report.best:
            stage.say(f"  {found.stars:.1f}  {found.name}")
        stage.say()

        steps = handle.describe().steps
        retried = sorted(step.name for step in steps if step.attempt > 1)
        ratings = [step for step in steps if step.name.startswith("rate-")]
        stage.say(f"{len(steps)} steps, {len(directory.asked)} requests; tried again: {', '.join(retried)}")
        stars = [found.stars for found in report.best]
        stage.check("all pages were read", holds=report.looked_at == len(BREWERIES))
        stage.check("the best are reported, best first", holds=stars == best_stars())
        stage.check("only what was chosen was looked up", holds=len(ratings) == len(chosen()))
        stage.check(
            f"never more than {AT_ONCE} requests at a time", holds=1 < directory.most_at_once <= AT_ONCE
        )
        stage.check(
            "each busy answer cost one more request, and nothing else was asked twice",
            holds=len(directory.asked) == len(steps) + len(retried) and retried == BUSY,
        )


def chosen() -> list[str]:
    return [one["id"] for one in BREWERIES if one["city"] == CITY and one["kind"] == "micro"]


def best_stars() -> list[float]:
    return sorted((RATINGS[one]["stars"] for one in chosen()), reverse=True)[:5]


if __name__ == "__main__":
    sys.exit(play(main))
