"""The OpenAPI document as a page of HTML, without a script or anything from another host. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from html import escape
from typing import Any, Final

_STYLE: Final = """
:root { color-scheme: light dark; --line: #8884; --soft: #8881 }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem }
code, pre { font: 0.9em/1.45 ui-monospace, monospace }
pre { background: var(--soft); padding: 0.8rem; overflow-x: auto; border-radius: 6px }
h2 { margin-top: 2.5rem; border-bottom: 1px solid var(--line) }
article { border: 1px solid var(--line); border-radius: 8px; padding: 0 1rem 0.8rem; margin: 1rem 0 }
article h3 { margin: 0.8rem 0; overflow-wrap: anywhere }
.method { display: inline-block; min-width: 3.2rem; font-weight: 700 }
table { border-collapse: collapse; width: 100%; margin: 0.5rem 0 }
td, th { text-align: left; vertical-align: top; padding: 0.25rem 0.6rem 0.25rem 0; border-top: 1px solid var(--line) }
summary { cursor: pointer }
"""


def page(document: Mapping[str, Any]) -> str:
    """Return the whole page."""
    info = document["info"]
    schemas = document["components"]["schemas"]
    return "".join(
        [
            '<!doctype html><html lang="en"><head><meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>{escape(info['title'])} API</title><style>{_STYLE}</style></head><body>",
            f"<h1>{escape(info['title'])} API {escape(info['version'])}</h1>",
            f"<p>{_prose(info['description'])}</p>",
            '<p>For programs: <a href="openapi.json">openapi.json</a></p>',
            *_operations(document),
            "<h2>Schemas</h2>",
            *(_schema(name, schema) for name, schema in schemas.items()),
            "</body></html>",
        ]
    )


def _operations(document: Mapping[str, Any]) -> Iterator[str]:
    seen = None
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            tag = next(iter(operation.get("tags", [])), "")
            if tag != seen:
                yield f"<h2>{escape(tag.capitalize())}</h2>"
                seen = tag
            yield from _operation(method, path, operation)


def _operation(method: str, path: str, operation: Mapping[str, Any]) -> Iterator[str]:
    name = escape(operation["operationId"])
    yield f'<article id="{name}"><h3><span class="method">{method.upper()}</span> <code>{escape(path)}</code></h3>'
    yield f"<p>{_prose(operation.get('description', ''))}</p>"
    if parameters := operation.get("parameters"):
        yield from _table("Parameter", "", map(_parameter, parameters))
    if body := operation.get("requestBody"):
        need = "required" if body.get("required") else "optional"
        yield f"<p>Body ({need}): {_shape(body)}</p>"
    yield from _table("Answer", "", map(_answer, operation["responses"].items()))
    yield "</article>"


def _table(left: str, right: str, rows: Iterator[tuple[str, str]]) -> Iterator[str]:
    yield f"<table><tr><th>{left}</th><th>{right}</th></tr>"
    for name, text in rows:
        yield f"<tr><td>{name}</td><td>{text}</td></tr>"
    yield "</table>"


def _parameter(parameter: Mapping[str, Any]) -> tuple[str, str]:
    name = f"<code>{escape(parameter['name'])}</code> in {escape(parameter['in'])}"
    return name, _prose(parameter.get("description", "")) + (
        " Required." if parameter.get("required") else ""
    )


def _answer(item: tuple[str, Mapping[str, Any]]) -> tuple[str, str]:
    status, response = item
    return f"<code>{escape(status)}</code>", f"{_prose(response['description'])} {_shape(response)}"


def _shape(holder: Mapping[str, Any]) -> str:
    for kind, content in holder.get("content", {}).items():
        schema = content.get("schema", {})
        names = [option["$ref"] for option in (schema, *schema.get("anyOf", ())) if "$ref" in option]
        links = (f'<a href="#{_anchor(name)}">{escape(name.rpartition("/")[2])}</a>' for name in names)
        return " or ".join(links) or _prose(schema.get("description", "")) or escape(kind)
    return ""


def _schema(name: str, schema: Mapping[str, Any]) -> str:
    text = escape(json.dumps(schema, indent=2))
    return f'<details id="{_anchor(name)}"><summary><code>{escape(name)}</code></summary><pre>{text}</pre></details>'


def _anchor(name: str) -> str:
    return f"schema-{escape(name.rpartition('/')[2])}"


def _prose(text: str) -> str:
    """Return text with what stands in back quotes as code."""
    parts = escape(text.strip()).split("`")
    return "".join(f"<code>{part}</code>" if at % 2 else part for at, part in enumerate(parts)).replace(
        "\n\n", "</p><p>"
    )
