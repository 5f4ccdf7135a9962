"""A pipeline over an HTTP service: fetch pages, filter, enrich in parallel, report."""
