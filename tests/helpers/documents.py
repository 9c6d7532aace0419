"""Short documents, and a teacher that says them backwards."""

import inspect


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
