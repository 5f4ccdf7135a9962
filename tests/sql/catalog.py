"""Everything that a schema consists of, as text that can be compared."""

from __future__ import annotations

import psycopg

_QUERIES = (
    """SELECT 'column', c.relname, a.attnum::text, a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull::text,
              a.attidentity::text, coalesce(pg_get_expr(d.adbin, d.adrelid), ''), a.attcompression::text,
              coalesce(l.collname, '')
       FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid LEFT JOIN pg_collation l ON l.oid = a.attcollation
       LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
       WHERE c.relnamespace = quote_ident(current_schema())::regnamespace AND a.attnum > 0""",
    """SELECT 'relation', relname, relkind::text, coalesce(array_to_string(reloptions, ','), '')
       FROM pg_class WHERE relnamespace = quote_ident(current_schema())::regnamespace""",
    "SELECT 'index', indexname, indexdef FROM pg_indexes WHERE schemaname = current_schema()",
    """SELECT 'constraint', conname, pg_get_constraintdef(oid) FROM pg_constraint
       WHERE connamespace = quote_ident(current_schema())::regnamespace""",
    "SELECT 'view', viewname, definition FROM pg_views WHERE schemaname = current_schema()",
    """SELECT 'function', proname, pg_get_functiondef(oid) FROM pg_proc
       WHERE pronamespace = quote_ident(current_schema())::regnamespace AND prokind = 'f'""",
    "SELECT 'type', typname FROM pg_type WHERE typnamespace = quote_ident(current_schema())::regnamespace",
)


def catalog(url: str) -> list[tuple[str, ...]]:
    """Return one row per column, relation, index, constraint, view, function and type of the current schema."""
    with psycopg.connect(url) as connection:
        return sorted(row for query in _QUERIES for row in connection.execute(query.encode()).fetchall())


def names(url: str, kind: str) -> set[str]:
    return {row[1] for row in catalog(url) if row[0] == kind}
