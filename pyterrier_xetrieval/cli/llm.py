"""The options that say which language model to ask, the same for every command that asks one."""

from __future__ import annotations

import functools
import http.client
import os
import urllib.error
import urllib.request
from pathlib import Path

import click

from .params import DEVICE, EXISTING

OPENAI = "https://api.openai.com/v1"


def language_model(function):
    """Adds the options; the command gets ``llm``, ready to be asked, and ``device``."""

    @click.option("--model", "name", help="Name of a model behind an OpenAI-compatible endpoint.")
    @click.option("--base-url", metavar="URL", help=f"The endpoint, e.g. http://localhost:8000/v1.  [default: {OPENAI}]")
    @click.option(
        "--api-key-env", metavar="NAME",
        help="Environment variable with the key; keys are never options.  [default: OPENAI_API_KEY without --base-url, else no key]",
    )  # fmt: skip
    @click.option("--local", type=EXISTING, help="A model in this process instead: a GGUF file or a transformers folder.")
    @click.option("--workers", type=click.IntRange(min=1), help="Requests in flight.  [default: 8; 1 with --local]")
    @click.option("--max-tokens", type=click.IntRange(min=1), default=1024, show_default=True, help="Longest answer.")
    @DEVICE
    @functools.wraps(function)
    def command(*, name, base_url, api_key_env, local, workers, max_tokens, device, **others):
        if local is not None:
            if name or base_url or api_key_env or workers:
                raise click.UsageError("--local goes without --model, --base-url, --api-key-env and --workers")
            llm = _local(local, max_tokens, device)
        else:
            llm = _endpoint(name, base_url, api_key_env, workers or 8, max_tokens)
        return function(llm=llm, device=device, **others)

    return command


def _local(path: Path, max_tokens: int, device: str | None):
    from ..llm import TransformersLLM

    if path.is_file():
        return TransformersLLM(str(path.parent), gguf_file=path.name, max_tokens=max_tokens, device=device)
    if not (path / "config.json").is_file():
        raise click.UsageError(f"--local expects a GGUF file or a folder with a config.json, found {path}")
    return TransformersLLM(str(path), max_tokens=max_tokens, device=device)


def _endpoint(name: str | None, base_url: str | None, api_key_env: str | None, workers: int, max_tokens: int):
    from ..llm import EndpointLLM

    if not name:
        raise click.UsageError("name the language model: --model NAME (with --base-url URL), or --local PATH")
    key = api_key_env or (None if base_url else "OPENAI_API_KEY")
    if key and not os.environ.get(key):
        raise click.UsageError(f"the environment variable {key} with the key for {base_url or OPENAI} is not set")
    _check_reachable(base_url or OPENAI)
    return EndpointLLM(name, base_url=base_url, api_key_env=api_key_env, workers=workers, max_tokens=max_tokens)


def _check_reachable(url: str) -> None:
    """A server that is not there is noticed now, and not after the retries of many requests."""
    try:
        urllib.request.urlopen(f"{url.rstrip('/')}/models", timeout=10).close()
    except urllib.error.HTTPError:
        pass  # somebody answers; whether to us, the first request will tell
    except TimeoutError:
        pass  # busy, perhaps
    except urllib.error.URLError as error:
        if not isinstance(error.reason, TimeoutError):
            raise click.UsageError(f"no language model answers at {url}: {error.reason}") from None
    except (ValueError, OSError, http.client.HTTPException) as error:
        raise click.UsageError(f"no language model answers at {url}: {error}") from None
