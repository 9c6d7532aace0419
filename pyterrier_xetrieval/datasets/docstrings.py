"""Documents out of the running Python: docstrings of the standard library, and the language topics behind ``help()``.

Document names (``docno``) are

* the qualified name for modules, functions, classes and methods: ``json``, ``itertools.groupby``,
  ``argparse.ArgumentParser``; what lives in ``builtins`` goes without prefix: ``sorted``, ``str.split``;
* ``topic:NAME`` for the first part of a language topic and ``topic:NAME.2``, ``topic:NAME.3``, ... for the next ones:
  ``topic:lambda``, ``topic:function.4``.
"""

from __future__ import annotations

import functools
import importlib
import inspect
import re
import sys
import types
import warnings
from collections.abc import Iterator
from typing import Any

MIN_WORDS = 6  # shorter docstrings ("Return self+value.") say too little to retrieve
MAX_WORDS = 180  # about what an encoder with 256 tokens of input still reads
MAX_PARTS = 8  # of one language topic; the longest would otherwise make up a tenth of the collection

# Modules that import quietly and without side effects; the ones a platform lacks are skipped.
MODULES = """
    builtins
    abc argparse array ast asyncio atexit base64 binascii bisect bz2 calendar collections collections.abc colorsys
    concurrent.futures configparser contextlib contextvars copy csv dataclasses datetime decimal difflib email
    email.utils enum errno faulthandler fileinput fnmatch fractions functools gc getopt getpass gettext glob
    graphlib gzip hashlib heapq hmac html html.entities html.parser http http.cookies http.server importlib
    importlib.metadata importlib.resources inspect io ipaddress itertools json keyword locale logging
    logging.config logging.handlers lzma math mimetypes mmap multiprocessing multiprocessing.pool
    multiprocessing.shared_memory operator os os.path pathlib pdb pickle pkgutil platform plistlib pprint pydoc
    queue random re sched secrets shelve shlex shutil signal smtplib socket socketserver sqlite3 ssl statistics
    string struct subprocess sys sysconfig tarfile tempfile textwrap threading time timeit traceback types typing
    unicodedata unittest unittest.mock urllib.error urllib.parse urllib.request urllib.robotparser uuid venv
    warnings wave weakref webbrowser xml.etree.ElementTree xml.sax xml.sax.saxutils zipapp zipfile zlib zoneinfo
""".split()

# Modules whose classes are used through their methods. Elsewhere methods are mostly hooks for subclasses, and
# there are thousands of them.
WITH_METHODS = """
    builtins argparse collections concurrent.futures configparser csv datetime json pathlib queue random re sched
    sqlite3 string subprocess textwrap threading timeit unittest xml.etree.ElementTree zipfile
""".split()

# Hooks that notebooks, test runners and torch replace by functions of their own: their documents would come and go.
REPLACED = """
    inspect.getfile pdb.set_trace sys.breakpointhook sys.displayhook sys.excepthook sys.unraisablehook
    threading.excepthook warnings.formatwarning warnings.showwarning
""".split()


def _clean(text: str) -> str:
    """One line of plain text: no memory addresses, no underlining, single spaces."""
    text = re.sub(r" at 0x[0-9a-fA-F]+", "", text)
    text = re.sub(r"\+?([*=~^_-])\1{2,}\+?", " ", text)
    return " ".join(text.split())


def _words(text: str) -> int:
    """Number of tokens that hold a letter, so that operators and rulers do not count as words."""
    return sum(any(c.isalpha() for c in token) for token in text.split())


def _own_doc(obj: Any) -> str:
    """The object's own docstring; classes inherit one from their bases, instances from their class."""
    inherited = "__doc__" not in vars(obj) if isinstance(obj, type) else obj.__doc__ == type(obj).__doc__
    return obj.__doc__ if isinstance(obj.__doc__, str) and not inherited else ""


def _signature(obj: Any) -> str:
    """Parameter names only: defaults and annotations can hold paths, addresses or sets in arbitrary order."""
    try:
        params = inspect.signature(obj).parameters.values()
    except (TypeError, ValueError):
        return ""
    stars = {inspect.Parameter.VAR_POSITIONAL.name: "*", inspect.Parameter.VAR_KEYWORD.name: "**"}
    return "(" + ", ".join(stars.get(p.kind.name, "") + p.name for p in params if p.name != "self") + ")"


def _public_names(module: types.ModuleType) -> list[str]:
    if hasattr(module, "__all__"):
        return sorted(n for n in set(module.__all__) if not n.startswith("_"))
    # without __all__, leave out what the module merely imported
    own = (module.__name__, "_" + module.__name__)
    return [n for n in dir(module) if not n.startswith("_") and getattr(getattr(module, n), "__module__", None) in own]


def _objects() -> Iterator[tuple[str, Any]]:
    """Yields (qualified name, object) for modules, then their functions and classes, then the classes' methods."""
    modules = {}
    for name in MODULES:
        try:
            modules[name] = importlib.import_module(name)
        except ImportError:
            continue
    yield from modules.items()
    classes: list[tuple[str, type]] = []
    seen: set[int] = set()
    for mod_name, module in modules.items():
        for name in _public_names(module):
            obj = getattr(module, name, None)
            if not callable(obj) or id(obj) in seen or isinstance(obj, types.GenericAlias):
                continue
            if mod_name == "ast" and isinstance(obj, type):
                continue  # node types, documented by their grammar rule alone
            home = getattr(obj, "__module__", None) or mod_name
            if home.partition(".")[0] not in sys.stdlib_module_names:
                continue  # put there by somebody else
            if mod_name != "builtins" and home != mod_name and getattr(modules.get(home), name, None) is obj:
                continue  # a re-export: it is listed under the module that defines it
            seen.add(id(obj))
            qualname = name if mod_name == "builtins" else f"{mod_name}.{name}"
            if qualname in REPLACED:
                continue
            yield qualname, obj
            if isinstance(obj, type) and mod_name in WITH_METHODS:
                classes.append((qualname, obj))
    # shortest name first: where two types share a docstring, bytes goes before bytearray and set before frozenset
    for qualname, cls in sorted(classes, key=lambda item: (len(item[0]), item[0])):
        for name, member in sorted(vars(cls).items()):
            if isinstance(member, (classmethod, staticmethod)):
                member = getattr(cls, name)
            if not name.startswith("_") and (inspect.isroutine(member) or isinstance(member, property)):
                yield f"{qualname}.{name}", member


def _topics() -> Iterator[tuple[str, str, str]]:
    """Yields (docno, heading, text) for the language topics, long ones in parts that end at paragraphs."""
    from pydoc_data.topics import topics

    seen: set[str] = set()
    # some topics contain other topics in full: go from short to long and keep a paragraph where it first occurs
    for name, topic in sorted(topics.items(), key=lambda item: (len(item[1]), item[0])):
        heading, *paragraphs = [_clean(p) for p in re.split(r"\n\s*\n", topic.strip())]
        parts: list[list[str]] = [[]]
        for paragraph in paragraphs:
            if paragraph in seen:
                continue
            if _words(paragraph) >= MIN_WORDS:
                seen.add(paragraph)
            if parts[-1] and len(" ".join(parts[-1] + [paragraph]).split()) > MAX_WORDS:
                parts.append([])
            parts[-1].append(paragraph)
        for i, part in enumerate(parts[:MAX_PARTS], start=1):
            yield f"topic:{name}" + (f".{i}" if i > 1 else ""), heading, " ".join(part)


@functools.cache
def documents() -> tuple[tuple[str, str], ...]:
    """The (docno, text) pairs, sorted by docno.

    >>> dict(documents())["sorted"][:42]
    'sorted(iterable, key, reverse): Return a n'
    """
    docs: dict[str, str] = {}
    bodies: set[str] = set()

    def add(docno: str, head: str, body: str) -> None:
        if _words(body) >= MIN_WORDS and docno not in docs and body not in bodies:
            bodies.add(body)
            docs[docno] = " ".join(f"{head} {body}".split()[:MAX_WORDS])

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for docno, obj in _objects():
            body = _clean(_own_doc(obj))
            if isinstance(obj, types.ModuleType):
                head = f"{docno} module:"
            elif body.startswith(docno.rpartition(".")[2] + "("):
                head = f"{docno}:"  # the docstring itself opens with the signature
            else:
                head = f"{docno}{_signature(obj)}:"
            add(docno, head, body)
        for docno, heading, body in _topics():
            add(docno, f"{docno[len('topic:') :].partition('.')[0]}: {heading}.", body)
    return tuple(sorted(docs.items()))
