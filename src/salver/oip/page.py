"""A page for people, made of an OpenAPI document: no scripts, nothing from elsewhere."""

from __future__ import annotations

import html
import json
from collections.abc import Iterator, Mapping
from typing import Any, Final

__all__ = ("page_of",)

_STYLE: Final = (
    "body{font:16px/1.5 system-ui,sans-serif;max-width:52rem;margin:2rem auto;padding:0 1rem}"
    "code,pre{font:14px/1.4 ui-monospace,monospace}"
    "pre{background:#8881;padding:.8rem;overflow:auto}"
    "h2{margin-top:2rem;font-size:1.1rem}b{display:inline-block;min-width:3.5rem}"
    "@media(prefers-color-scheme:dark){body{background:#111;color:#ddd}}"
)


def page_of(document: Mapping[str, Any], links: Mapping[str, str] | None = None) -> str:
    """The document as HTML; `links` are further pages, by what they are called."""
    about = document["info"]
    return "".join(
        (
            '<!doctype html><html lang="en"><head><meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width">',
            f"<title>{_text(about['title'])}</title><style>{_STYLE}</style></head><body>",
            f"<h1>{_text(about['title'])}</h1>",
            f"<p>{_text(about.get('description', ''))}</p>",
            *_links(links or {}),
            '<p>As OpenAPI: <a href="docs/dataplane.json">dataplane.json</a></p>',
            *_operations(document["paths"]),
            *_schemas(document["components"]["schemas"]),
            "</body></html>",
        )
    )


def _links(links: Mapping[str, str]) -> Iterator[str]:
    for name, to in links.items():
        yield f'<p><a href="{_text(to)}">{_text(name)}</a></p>'


def _operations(paths: Mapping[str, Any]) -> Iterator[str]:
    for path, methods in paths.items():
        for method, operation in methods.items():
            if "summary" not in operation:
                continue
            yield f"<h2><b>{method.upper()}</b> <code>{_text(path)}</code></h2>"
            answers = ", ".join(
                f"{status} {_text(answer['description'])}"
                for status, answer in operation["responses"].items()
            )
            yield f"<p>{_text(operation['summary'])}. {_body(operation)}Answers: {answers}.</p>"


def _body(operation: Mapping[str, Any]) -> str:
    if "requestBody" not in operation:
        return ""
    schema = operation["requestBody"]["content"]["application/json"]["schema"]
    name = _text(schema.get("$ref", "").rpartition("/")[2])
    return f'Takes <a href="#{name}">{name}</a>. '


def _schemas(schemas: Mapping[str, Any]) -> Iterator[str]:
    for name, schema in schemas.items():
        yield f'<h2 id="{_text(name)}">{_text(name)}</h2>'
        yield f"<pre>{_text(json.dumps(schema, indent=2, ensure_ascii=False))}</pre>"


def _text(value: object) -> str:
    return html.escape(str(value))
