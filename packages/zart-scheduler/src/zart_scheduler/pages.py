"""Lists of runs, page by page."""

from __future__ import annotations

from zart_core import Page, RunSummary
from zart_core.spi import ListOptions, list_request, page_of
from zart_scheduler.access import Access
from zart_scheduler.store.reads import list_runs


async def list_page(access: Access, options: ListOptions) -> Page[RunSummary]:
    """Return one page of runs, newest first.

    Raises:
        UsageError: A filter or the cursor cannot be.
        TypeError: There is no such filter.
    """
    wanted, limit, after = list_request(options)
    return page_of(await access.read(list_runs(wanted, limit + 1, after)), limit)
