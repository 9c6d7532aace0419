"""Language models to ask: what is needed of one, an OpenAI-compatible endpoint, any Python function."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field, fields
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

if TYPE_CHECKING:
    from openai import OpenAI

OPENAI = "https://api.openai.com/v1"
NO_KEY = "none"  # the client wants some key, also for servers that want none


class TeacherError(RuntimeError):
    """A reason to stop asking altogether: a wrong key, an unknown model, a server that stays away."""


class Answer(NamedTuple):
    """What came back for one prompt.

    Attributes:
        text: the answer.
        input_tokens, output_tokens: as the model counts them; None where it does not say.
        finish: why it ended, ``"stop"`` or ``"length"``; None where the model does not say.
        problem: why there is no usable answer, or None.
        final: asking again would not help, or has been tried.
    """

    text: str
    input_tokens: int | None = None
    output_tokens: int | None = None
    finish: str | None = None
    problem: str | None = None
    final: bool = False


class LanguageModel(Protocol):
    """All that is needed of a model that is to be asked.

    ``name`` goes into every line of the output. ``generate`` answers up to ``batch_size`` prompts, in order, and is
    called from ``workers`` threads at once; it raises :class:`TeacherError` where going on makes no sense.
    """

    @property
    def name(self) -> str: ...

    @property
    def batch_size(self) -> int: ...

    @property
    def workers(self) -> int: ...

    def generate(self, prompts: Sequence[str]) -> list[Answer]: ...


def as_model(llm: LanguageModel | Callable[[str], str]) -> LanguageModel:
    """The model itself, or a function from prompt to text as one."""
    return llm if hasattr(llm, "generate") else FunctionLLM(llm)  # type: ignore[return-value]  # a model has generate


class Options:
    """Base of frozen dataclasses: the representation shows what differs from the defaults, and no cache is pickled."""

    def __repr__(self) -> str:
        shown = []
        for f in fields(self):  # type: ignore[arg-type]  # subclasses are dataclasses
            value = getattr(self, f.name)
            if not f.kw_only:
                shown.append(repr(value))
            elif value != f.default:
                shown.append(f"{f.name}={value!r}")
        return f"{type(self).__name__}({', '.join(shown)})"

    def __getstate__(self) -> dict[str, Any]:
        return {f.name: getattr(self, f.name) for f in fields(self)}  # type: ignore[arg-type]  # as above


@dataclass(frozen=True, repr=False)
class EndpointLLM(Options):
    """A model behind an OpenAI-compatible endpoint: vLLM, llama.cpp, Ollama, DeepSeek, OpenAI, ….

    Requests go through the ``openai`` client, whose own retry is used: 408, 409, 429 and 5xx answers, timeouts and
    dropped connections are tried again up to ``max_retries`` times after 0.5 to 8 s with jitter, or after what
    ``Retry-After`` says (up to two minutes). The key is read from the environment and kept nowhere else.

    Args:
        model: the model's name at the endpoint.
        base_url: the endpoint, e.g. ``"http://localhost:8000/v1"``; None for OpenAI's.
        api_key_env: name of the environment variable with the key. None sends ``OPENAI_API_KEY`` to OpenAI and no key
            to any other ``base_url``.
        max_tokens, temperature: of each answer; None leaves them to the server. At temperature 0 answers repeat, and
            so do malformed ones.
        extra: further fields of the request body, e.g. ``{"chat_template_kwargs": {"enable_thinking": False}}``.
        timeout: seconds for one request.
        max_retries: of one request.
        workers: requests in flight.

    Raises:
        ImportError: ``openai`` is not installed (on first use).
        ValueError: the environment variable is not set (on first use).
        TeacherError: an answer that no retry can change, such as 401 or 404.

    Example::

        llm = EndpointLLM("deepseek-chat", base_url="https://api.deepseek.com", api_key_env="DEEPSEEK_API_KEY")
        llm.generate(["Say hello."])   # [Answer(text='Hello!', input_tokens=6, output_tokens=3, finish='stop', …)]
    """

    model: str
    _: KW_ONLY
    base_url: str | None = None
    api_key_env: str | None = None
    max_tokens: int | None = 1024
    temperature: float | None = None
    extra: Mapping[str, Any] | None = field(default=None, hash=False)
    timeout: float = 120.0
    max_retries: int = 6
    workers: int = 8

    batch_size = 1

    @property
    def name(self) -> str:
        return self.model

    @property
    def key_variable(self) -> str | None:
        """The environment variable whose key is sent there; None where none is."""
        return self.api_key_env or (None if self.base_url else "OPENAI_API_KEY")

    def generate(self, prompts: Sequence[str]) -> list[Answer]:
        return [self._ask(prompt) for prompt in prompts]

    def _ask(self, prompt: str) -> Answer:
        client = self._client  # first, for its message where openai is missing
        import openai

        limits = {"max_tokens": self.max_tokens, "temperature": self.temperature}
        options: dict[str, Any] = {name: value for name, value in limits.items() if value is not None}
        try:
            body = client.chat.completions.create(
                model=self.model, messages=[{"role": "user", "content": prompt}], extra_body=dict(self.extra or {}), **options
            )
        except openai.APIStatusError as error:
            problem = self._line(f"HTTP {error.status_code}: {error.message}")
            # 400, 413 and 422 may be about this one document: too long, or refused by a filter
            if error.status_code in (400, 408, 409, 413, 422, 429) or error.status_code >= 500:
                return Answer("", problem=problem, final=True)
            raise TeacherError(f"{self!r} was refused: {problem}") from None
        except openai.APIConnectionError as error:
            cause = f" ({error.__cause__})" if str(error.__cause__ or "") else ""
            return Answer("", problem=self._line(f"{error.message}{cause}"), final=True)
        except ValueError as error:  # a body that calls itself JSON and is none
            return Answer("", problem=self._line(f"not a chat completion: {error}"))
        return self._read(body)

    def _read(self, body: Any) -> Answer:  # the client hands on whatever a server sends
        try:
            choice = body.choices[0]
            content = choice.message.content
            finish = choice.finish_reason
        except (AttributeError, IndexError, KeyError, TypeError):
            return Answer("", problem=self._line(f"not a chat completion: {body}"))
        usage = getattr(body, "usage", None)
        counts = [getattr(usage, name, None) for name in ("prompt_tokens", "completion_tokens")]
        used, made = (count if type(count) is int else None for count in counts)
        problem = "stopped by the content filter" if finish == "content_filter" else None
        if isinstance(content, list):  # parts, of which those with a text are the answer
            texts = [part.get("text") for part in content if isinstance(part, dict)]
            content = "".join(text for text in texts if isinstance(text, str))
        if content is not None and not isinstance(content, str):
            problem = self._line(f"the answer is {type(content).__name__}, not a text: {content}")
            content = ""
        return Answer(content or "", used, made, finish if isinstance(finish, str) else None, problem)

    def _line(self, text: str) -> str:
        """One line of at most 300 characters, without the key, should the server have repeated it."""
        key = self._client.api_key
        return " ".join((text if key == NO_KEY else text.replace(key, "<key>")).split())[:300]

    @cached_property
    def _client(self) -> OpenAI:
        try:
            import openai
        except ImportError:
            raise ImportError("EndpointLLM needs the openai client: pip install 'pyterrier-xetrieval[teacher]'") from None
        key = os.environ.get(self.key_variable) if self.key_variable else NO_KEY
        if not key:
            raise ValueError(f"{self!r} expects a key in the environment variable {self.key_variable}, which is not set")
        return openai.OpenAI(api_key=key, base_url=self.base_url or OPENAI, timeout=self.timeout, max_retries=self.max_retries)


@dataclass(frozen=True, repr=False)
class FunctionLLM(Options):
    """Any function from prompt to text. What it raises ends the run; what was written before stays.

    Args:
        function: prompt in, text out.
        name: recorded with every text; default the function's own name.
        workers: calls at once; more than 1 only for a function that allows it.

    Example::

        >>> FunctionLLM(str.upper, name="upper").generate(["Tea?"])[0].text
        'TEA?'
    """

    function: Callable[[str], str]
    _: KW_ONLY
    name: str = ""
    workers: int = 1

    batch_size = 1

    def __post_init__(self) -> None:
        if not callable(self.function):
            raise ValueError(f"FunctionLLM expects a function from prompt to text, found {self.function!r}")
        if not self.name:
            object.__setattr__(self, "name", getattr(self.function, "__qualname__", type(self.function).__name__))

    def generate(self, prompts: Sequence[str]) -> list[Answer]:
        return [self._answer(self.function(prompt)) for prompt in prompts]

    def _answer(self, text: object) -> Answer:
        if isinstance(text, str):
            return Answer(text)
        return Answer("", problem=f"{self.name} returned {type(text).__name__}, not a text")

    def __repr__(self) -> str:
        return f"FunctionLLM(<{self.name}>)"
