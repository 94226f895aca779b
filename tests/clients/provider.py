"""A scripted, deterministic provider that speaks OpenAI's wire.

What it answers is a function of the request alone, so a client that asks it directly and a client that asks it
through the gateway must get equal objects. Ids come from the messages, times are fixed, tokens are words.

Scripts, as the text of the last user message:
  error:STATUS         that status in OpenAI's error shape
  flaky:NAME:COUNT     503 for the first COUNT requests of that name, then an answer
  long:COUNT           an answer of COUNT words
"""

import base64
import email
import email.policy
import hashlib
import json
import struct
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

MODEL = "scripted-1"
KEY = "sk-provider-of-the-tests"
CREATED = 1_700_000_000
ERRORS = {
    400: ("invalid_request_error", "invalid_value"),
    401: ("invalid_request_error", "invalid_api_key"),
    404: ("invalid_request_error", "model_not_found"),
    413: ("invalid_request_error", "request_too_large"),
    422: ("invalid_request_error", None),
    429: ("requests", "rate_limit_exceeded"),
    500: ("server_error", None),
    503: ("server_error", "overloaded"),
}


class Refusal(Exception):
    def __init__(self, status, message, param=None):
        super().__init__(message)
        self.status, self.message, self.param = status, message, param

    def body(self):
        kind, code = ERRORS.get(self.status, ("server_error", None))
        return {"error": {"message": self.message, "type": kind, "param": self.param, "code": code}}


def ident(prefix, value):
    text = json.dumps(value, sort_keys=True).encode()
    return prefix + hashlib.sha256(text).hexdigest()[:24]


def words(text):
    return len(str(text).split())


def pieces(text):
    """The text in deltas: a word each, spaces kept."""
    return [w if i == 0 else " " + w for i, w in enumerate(text.split(" "))]


def text_of(content):
    if isinstance(content, str):
        return content
    return " ".join(p.get("text", "") for p in content or [] if isinstance(p, dict))


def fill(schema, path="value"):
    """The smallest value that fits a JSON schema, named after its place."""
    if "enum" in schema:
        return schema["enum"][0]
    if "const" in schema:
        return schema["const"]
    if "anyOf" in schema:
        return fill(schema["anyOf"][0], path)
    kind = schema.get("type", "object")
    kind = kind[0] if isinstance(kind, list) else kind
    if kind == "object":
        return {name: fill(part, name) for name, part in schema.get("properties", {}).items()}
    if kind == "array":
        return [fill(schema.get("items", {"type": "string"}), path)]
    return {"string": f"a {path}", "integer": 7, "number": 1.5, "boolean": True, "null": None}[kind]


class Provider(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 256

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.lock = threading.Lock()
        self.flaky = {}
        self.seen = []  # (path, headers, raw body)

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}/v1"

    def start(self):
        threading.Thread(target=self.serve_forever, daemon=True).start()
        return self

    def run_script(self, text):
        name, _, rest = text.partition(":")
        if name == "error":
            status = int(rest)
            raise Refusal(status, f"scripted error {status}")
        if name == "flaky":
            label, _, count = rest.rpartition(":")
            with self.lock:
                failed = self.flaky.get(label, 0)
                self.flaky[label] = failed + 1
            if failed < int(count):
                raise Refusal(503, "scripted overload")
        if name == "long":
            return " ".join(f"word{i}" for i in range(int(rest)))
        return f"You said: {text}"


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def log_message(self, *_):
        pass

    def setup(self):
        super().setup()
        self.chunked = False

    def do_GET(self):
        self.answer(self.get)

    def do_POST(self):
        self.answer(self.post)

    def answer(self, act):
        self.chunked = False
        try:
            raw = self.body()
            with self.server.lock:
                self.server.seen.append((self.path, dict(self.headers.items()), raw))
            given = self.headers.get("authorization")
            if given is not None and given != f"Bearer {KEY}":
                raise Refusal(401, "Incorrect API key provided")
            act(raw)
        except Refusal as refusal:
            self.json(refusal.body(), refusal.status)
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True

    def body(self):
        """The body, which some SDKs send in chunks when it is a form."""
        if "chunked" not in self.headers.get("transfer-encoding", ""):
            return self.rfile.read(int(self.headers.get("content-length", 0)))
        whole = b""
        while length := int(self.rfile.readline(), 16):
            whole += self.rfile.read(length)
            self.rfile.readline()
        self.rfile.readline()
        return whole

    def json(self, value, status=200):
        body = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.send_header("x-request-id", "req_of_the_provider")
        self.end_headers()
        self.wfile.write(body)

    def open_stream(self):
        self.send_response(200)
        self.send_header("content-type", "text/event-stream; charset=utf-8")
        self.send_header("transfer-encoding", "chunked")
        self.end_headers()

    def event(self, value, name=None):
        text = value if isinstance(value, str) else json.dumps(value)
        frame = (f"event: {name}\n" if name else "") + f"data: {text}\n\n"
        data = frame.encode()
        self.wfile.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")

    def close_stream(self):
        self.wfile.write(b"0\r\n\r\n")

    def get(self, _raw):
        model = {"id": MODEL, "object": "model", "created": CREATED, "owned_by": "tests"}
        if self.path == "/v1/models":
            return self.json({"object": "list", "data": [model]})
        if self.path == f"/v1/models/{MODEL}":
            return self.json(model)
        raise Refusal(404, "no such model")

    def post(self, raw):
        if self.path == "/v1/audio/transcriptions":
            return self.transcribe(raw)
        try:
            body = json.loads(raw)
        except ValueError:
            raise Refusal(400, "the body is not JSON") from None
        if body.get("model") != MODEL:
            raise Refusal(404, f"The model `{body.get('model')}` does not exist", "model")
        act = {
            "/v1/chat/completions": self.chat,
            "/v1/completions": self.completion,
            "/v1/embeddings": self.embeddings,
            "/v1/responses": self.respond,
        }.get(self.path)
        if act is None:
            raise Refusal(404, f"Invalid URL (POST {self.path})")
        act(body)

    # Transcriptions

    def transcribe(self, raw):
        head = f"content-type: {self.headers['content-type']}\r\n\r\n".encode()
        form = email.message_from_bytes(head + raw, policy=email.policy.HTTP)
        fields, content = {}, None
        for part in form.iter_parts():
            name = part.get_param("name", header="content-disposition")
            if name == "file":
                content = part.get_payload(decode=True)
            else:
                fields[name] = part.get_payload(decode=True).decode()
        if fields.get("model") != MODEL:
            raise Refusal(404, f"The model `{fields.get('model')}` does not exist", "model")
        if not content:
            raise Refusal(400, "the file is empty", "file")
        # What is said depends on every byte of the file, and on every field but the name of the model.
        fields.pop("model")
        self.server.run_script(fields.get("prompt", ""))
        said = f"heard {hashlib.sha256(content).hexdigest()[:8]} {ident('with ', fields)}"
        usage = {"type": "duration", "seconds": 4}
        form = fields.get("response_format", "json")
        if fields.get("stream") == "true":
            self.open_stream()
            for piece in pieces(said):
                self.event({"type": "transcript.text.delta", "delta": piece})
            self.event({"type": "transcript.text.done", "text": said, "usage": usage})
            return self.close_stream()
        if form in ("text", "srt", "vtt"):
            cues = {"text": "", "srt": "1\n00:00:00,000 --> 00:00:03,300\n", "vtt": "WEBVTT\n\n00:00.000 --> 00:03.300\n"}
            return self.text(f"{cues[form]}{said}\n")
        answer = {"text": said, "usage": usage}
        if form == "verbose_json":
            answer |= {"task": "transcribe", "language": "english", "duration": 3.3, "segments": [], "words": []}
        self.json(answer)

    def text(self, value):
        body = value.encode()
        self.send_response(200)
        self.send_header("content-type", "text/plain; charset=utf-8")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    # Chat Completions

    def chat(self, body):
        messages = body.get("messages")
        if not isinstance(messages, list) or not messages:
            raise Refusal(400, "messages must not be empty", "messages")
        if isinstance(body.get("temperature"), (int, float)) and body["temperature"] > 2:
            raise Refusal(400, "temperature must be at most 2", "temperature")
        choices = [self.choice(body, messages, i) for i in range(body.get("n") or 1)]
        said = sum(words(text_of(m.get("content"))) for m in messages)
        made = sum(words(c["message"]["content"] or "call") for c in choices)
        usage = {
            "prompt_tokens": said,
            "completion_tokens": made,
            "total_tokens": said + made,
            "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
            "completion_tokens_details": {"reasoning_tokens": 0, "audio_tokens": 0},
        }
        head = {"id": ident("chatcmpl-", messages), "created": CREATED, "model": MODEL}
        if body.get("stream"):
            return self.chat_stream(body, head, choices, usage)
        self.json({**head, "object": "chat.completion", "choices": choices, "usage": usage})

    def choice(self, body, messages, index):
        last = messages[-1]
        message = {"role": "assistant", "content": None, "refusal": None}
        reason = "stop"
        form = body.get("response_format") or {}
        if last.get("role") == "tool":
            message["content"] = f"The tool said: {text_of(last.get('content'))}"
        elif body.get("tools") and body.get("tool_choice") != "none":
            message["tool_calls"] = [
                {
                    "id": ident("call_", [messages, i]),
                    "type": "function",
                    "function": {
                        "name": tool["function"]["name"],
                        "arguments": json.dumps(fill(tool["function"].get("parameters", {}))),
                    },
                }
                for i, tool in enumerate(body["tools"])
            ]
            reason = "tool_calls"
        elif form.get("type") == "json_schema":
            message["content"] = json.dumps(fill(form["json_schema"]["schema"]))
        elif form.get("type") == "json_object":
            message["content"] = json.dumps({"answer": text_of(last.get("content"))})
        else:
            message["content"] = self.server.run_script(text_of(last.get("content")))
        return {"index": index, "message": message, "logprobs": None, "finish_reason": reason}

    def chat_stream(self, body, head, choices, usage):
        wanted = (body.get("stream_options") or {}).get("include_usage")
        head = {**head, "object": "chat.completion.chunk"}
        extra = {"usage": None} if wanted else {}

        def chunk(index, delta, reason=None):
            part = {"index": index, "delta": delta, "logprobs": None, "finish_reason": reason}
            self.event({**head, "choices": [part], **extra})

        self.open_stream()
        for choice in choices:
            index, message = choice["index"], choice["message"]
            chunk(index, {"role": "assistant", "content": None if message["content"] is None else ""})
            for piece in pieces(message["content"] or ""):
                if piece:
                    chunk(index, {"content": piece})
            for at, call in enumerate(message.get("tool_calls", [])):
                named = {"name": call["function"]["name"], "arguments": ""}
                start = {"index": at, "id": call["id"], "type": "function", "function": named}
                chunk(index, {"tool_calls": [start]})
                arguments = call["function"]["arguments"]
                for cut in range(0, len(arguments), 5):
                    part = {"index": at, "function": {"arguments": arguments[cut : cut + 5]}}
                    chunk(index, {"tool_calls": [part]})
            chunk(index, {}, choice["finish_reason"])
        if wanted:
            self.event({**head, "choices": [], "usage": usage})
        self.event("[DONE]")
        self.close_stream()

    # Completions

    def completion(self, body):
        prompt = body.get("prompt")
        text = self.server.run_script(prompt if isinstance(prompt, str) else str(prompt))
        usage = {"prompt_tokens": words(prompt), "completion_tokens": words(text)}
        usage["total_tokens"] = sum(usage.values())
        head = {"id": ident("cmpl-", prompt), "object": "text_completion", "created": CREATED, "model": MODEL}
        if not body.get("stream"):
            choice = {"index": 0, "text": text, "logprobs": None, "finish_reason": "stop"}
            return self.json({**head, "choices": [choice], "usage": usage})
        self.open_stream()
        for piece in pieces(text):
            self.event({**head, "choices": [{"index": 0, "text": piece, "logprobs": None, "finish_reason": None}]})
        self.event({**head, "choices": [{"index": 0, "text": "", "logprobs": None, "finish_reason": "stop"}]})
        if (body.get("stream_options") or {}).get("include_usage"):
            self.event({**head, "choices": [], "usage": usage})
        self.event("[DONE]")
        self.close_stream()

    # Embeddings

    def embeddings(self, body):
        given = body.get("input")
        many = given if isinstance(given, list) and given and not isinstance(given[0], int) else [given]
        if not given:
            raise Refusal(400, "input must not be empty", "input")
        size = body.get("dimensions") or 8
        items = []
        for index, one in enumerate(many):
            if isinstance(one, str):
                self.server.run_script(one)
            seed = json.dumps(one).encode()
            vector = [
                int.from_bytes(hashlib.sha256(seed + bytes([i])).digest()[:2], "big") / 65536 - 0.5
                for i in range(size)
            ]
            if body.get("encoding_format") == "base64":
                vector = base64.b64encode(struct.pack(f"<{size}f", *vector)).decode()
            items.append({"object": "embedding", "index": index, "embedding": vector})
        count = sum(words(one) if isinstance(one, str) else len(one) for one in many)
        usage = {"prompt_tokens": count, "total_tokens": count}
        self.json({"object": "list", "data": items, "model": MODEL, "usage": usage})

    # Responses

    def respond(self, body):
        given = body.get("input")
        text = given if isinstance(given, str) else text_of(given[-1].get("content"))
        form = (body.get("text") or {}).get("format") or {"type": "text"}
        tools = body.get("tools") or []
        answered = isinstance(given, list) and given[-1].get("type") == "function_call_output"
        if answered:
            item = self.message(given, f"The tool said: {given[-1]['output']}")
        elif tools:
            item = {
                "type": "function_call",
                "id": ident("fc_", given),
                "call_id": ident("call_", given),
                "name": tools[0]["name"],
                "arguments": json.dumps(fill(tools[0].get("parameters", {}))),
                "status": "completed",
            }
        elif form["type"] == "json_schema":
            item = self.message(given, json.dumps(fill(form["schema"])))
        else:
            item = self.message(given, self.server.run_script(text))
        usage = {
            "input_tokens": words(text),
            "input_tokens_details": {"cached_tokens": 0},
            "output_tokens": words(json.dumps(item)),
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": words(text) + words(json.dumps(item)),
        }
        answer = {
            "id": ident("resp_", given),
            "object": "response",
            "created_at": CREATED,
            "status": "completed",
            "error": None,
            "incomplete_details": None,
            "instructions": body.get("instructions"),
            "metadata": {},
            "model": MODEL,
            "output": [item],
            "parallel_tool_calls": True,
            "temperature": 1.0,
            "text": {"format": form},
            "tool_choice": "auto",
            "tools": tools,
            "top_p": 1.0,
            "usage": usage,
        }
        if not body.get("stream"):
            return self.json(answer)
        self.respond_stream(answer, item)

    def message(self, given, text):
        part = {"type": "output_text", "text": text, "annotations": []}
        return {
            "type": "message",
            "id": ident("msg_", given),
            "role": "assistant",
            "status": "completed",
            "content": [part],
        }

    def respond_stream(self, answer, item):
        number = -1

        def event(kind, **fields):
            nonlocal number
            number += 1
            self.event({"type": kind, "sequence_number": number, **fields}, kind)

        self.open_stream()
        begun = {**answer, "status": "in_progress", "output": [], "usage": None}
        event("response.created", response=begun)
        event("response.in_progress", response=begun)
        place = {"item_id": item["id"], "output_index": 0}
        if item["type"] == "message":
            part = item["content"][0]
            event("response.output_item.added", output_index=0, item={**item, "status": "in_progress", "content": []})
            event("response.content_part.added", **place, content_index=0, part={**part, "text": ""})
            for piece in pieces(part["text"]):
                event("response.output_text.delta", **place, content_index=0, delta=piece, logprobs=[])
            event("response.output_text.done", **place, content_index=0, text=part["text"], logprobs=[])
            event("response.content_part.done", **place, content_index=0, part=part)
        else:
            event("response.output_item.added", output_index=0, item={**item, "status": "in_progress", "arguments": ""})
            for cut in range(0, len(item["arguments"]), 5):
                event("response.function_call_arguments.delta", **place, delta=item["arguments"][cut : cut + 5])
            event(
                "response.function_call_arguments.done", **place, name=item["name"], arguments=item["arguments"]
            )
        event("response.output_item.done", output_index=0, item=item)
        event("response.completed", response=answer)
        self.close_stream()
