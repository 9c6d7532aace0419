"""Short documents, prompts about them, and teachers that answer with the prompt."""

import inspect

SHORT = {"summary": "Shorten: {text}", "topic": "Topic of: {text}"}
DOCS = [
    {"docno": "d1", "text": "Rabbits eat grass."},
    {"docno": "d2", "title": "Tea", "text": "Hot water on leaves."},
    {"docno": "d3", "text": "A {brace} and a \u2028 separator."},
]


def short_documents() -> list[dict]:
    """Eighty docstrings of methods of built-in types."""
    found = {
        f"{kind.__name__}.{name}": " ".join((inspect.getdoc(method) or "").split())[:60]
        for kind in (str, bytes, list, dict, set, int, float, tuple)
        for name, method in sorted(vars(kind).items())
        if not name.startswith("_")
    }
    return [{"docno": docno, "text": text} for docno, text in found.items() if len(text) > 20][:80]


def reverse(prompt: str) -> str:
    return " ".join(reversed(prompt.split()))


def upper(prompt: str) -> str:
    return prompt.upper() + "?"
