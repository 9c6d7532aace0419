"""The options that say which language model to ask, the same for every command that asks one."""

from __future__ import annotations

import functools
import http.client
import os
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..llm.endpoints import OPENAI
from .params import DEVICE, EXISTING, POSITIVE

if TYPE_CHECKING:
    from ..llm import EndpointLLM, TransformersLLM
    from ..llm.endpoints import LanguageModel

KEY_HELP = "Environment variable with the key; keys are never options.  [default: OPENAI_API_KEY without --base-url, else no key]"


def language_model(function: Callable[..., None]) -> Callable[..., None]:
    """Adds the options; the command gets ``llm``, ready to be asked, and ``device``."""

    @click.option("--model", "name", help="Name of a model behind an OpenAI-compatible endpoint.")
    @click.option("--base-url", metavar="URL", help=f"The endpoint, e.g. http://localhost:8000/v1.  [default: {OPENAI}]")
    @click.option("--api-key-env", metavar="NAME", help=KEY_HELP)
    @click.option("--local", type=EXISTING, help="A model in this process instead: a GGUF file or a transformers folder.")
    @click.option("--workers", type=POSITIVE, help="Requests in flight.  [default: 8; 1 with --local]")
    @click.option("--max-tokens", type=POSITIVE, default=1024, show_default=True, help="Longest answer.")
    @DEVICE
    @functools.wraps(function)
    def command(*, local: Path | None, max_tokens: int, device: str | None, **options: Any) -> None:
        endpoint = {name: options.pop(name) for name in ("name", "base_url", "api_key_env", "workers")}
        if local is None:
            llm: LanguageModel = _endpoint(**endpoint, max_tokens=max_tokens)
        elif any(endpoint.values()):
            raise click.UsageError("--local goes without --model, --base-url, --api-key-env and --workers")
        else:
            llm = _local(local, max_tokens, device)
        function(llm=llm, device=device, **options)

    return command


def _local(path: Path, max_tokens: int, device: str | None) -> TransformersLLM:
    from ..llm import TransformersLLM

    if path.is_file():
        return TransformersLLM(str(path.parent), gguf_file=path.name, max_tokens=max_tokens, device=device)
    if not (path / "config.json").is_file():
        raise click.UsageError(f"--local expects a GGUF file or a folder with a config.json, found {path}")
    return TransformersLLM(str(path), max_tokens=max_tokens, device=device)


def _endpoint(
    name: str | None, base_url: str | None, api_key_env: str | None, workers: int | None, max_tokens: int
) -> EndpointLLM:
    from ..llm import EndpointLLM

    if not name:
        raise click.UsageError("name the language model: --model NAME (with --base-url URL), or --local PATH")
    llm = EndpointLLM(name, base_url=base_url, api_key_env=api_key_env, workers=workers or 8, max_tokens=max_tokens)
    if llm.key_variable and not os.environ.get(llm.key_variable):
        raise click.UsageError(f"the environment variable {llm.key_variable} with the key for {base_url or OPENAI} is not set")
    _check_reachable(base_url or OPENAI)
    return llm


def _check_reachable(url: str) -> None:
    """A server that is not there is noticed now, and not after the retries of many requests."""
    try:
        urllib.request.urlopen(f"{url.rstrip('/')}/models", timeout=10).close()
    except (ValueError, OSError, http.client.HTTPException) as error:
        reason = getattr(error, "reason", error)
        # an error that a server sends is an answer: the first request tells whether to us; and a slow one may be busy
        if not isinstance(error, urllib.error.HTTPError) and not isinstance(reason, TimeoutError):
            raise click.UsageError(f"no language model answers at {url}: {reason}") from None
