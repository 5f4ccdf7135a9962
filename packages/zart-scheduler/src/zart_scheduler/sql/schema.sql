-- name: has_version_table :one
SELECT to_regclass('zart_schema_version') IS NOT NULL;

-- name: get_version :one
SELECT max(version_num) FROM zart_schema_version;

-- name: list_grantable :many
-- The schema that holds Zart's objects, and those objects, as GRANT names them.
WITH home AS (SELECT relnamespace AS oid FROM pg_class WHERE oid = to_regclass('zart_tasks'))
SELECT 'schema', quote_ident(n.nspname) FROM pg_namespace n JOIN home USING (oid)
UNION ALL
SELECT CASE c.relkind WHEN 'r' THEN 'table' WHEN 'S' THEN 'sequence' ELSE 'view' END, c.oid::regclass::text
FROM pg_class c JOIN home ON home.oid = c.relnamespace
WHERE starts_with(c.relname, 'zart_') AND c.relkind IN ('r', 'v', 'S')
UNION ALL
SELECT 'function', p.oid::regprocedure::text
FROM pg_proc p JOIN home ON home.oid = p.pronamespace
WHERE starts_with(p.proname, 'zart_');
