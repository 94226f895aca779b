"""The official OpenAI SDK: every object is the same with and without the gateway."""

import asyncio
import json
import uuid

import openai
import pytest
from pydantic import BaseModel

HELLO = [{"role": "user", "content": "hello gateway, how are you?"}]
WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "The weather in a city",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}, "days": {"type": "integer"}},
            "required": ["city", "days"],
            "additionalProperties": False,
        },
        "strict": True,
    },
}


class Event(BaseModel):
    title: str
    people: list[str]
    hours: float


def client(side, **options):
    given = {"base_url": side.url, "api_key": side.key, "max_retries": 0, "timeout": 60, **side.options(), **options}
    return openai.OpenAI(**given)


# The SDK types a base64 vector as a list of numbers and warns when it is dumped as it came.
pytestmark = pytest.mark.filterwarnings("ignore:Pydantic serializer warnings")


def dump(value):
    return value.model_dump(mode="json")


def test_chat_answers_alike(same):
    said = same(lambda s: dump(client(s).chat.completions.create(model=s.chat, messages=HELLO)))
    assert said["choices"][0]["message"]["content"] == "You said: hello gateway, how are you?"
    assert said["usage"]["total_tokens"] == said["usage"]["prompt_tokens"] + said["usage"]["completion_tokens"]


def test_several_choices_arrive(same):
    said = same(lambda s: dump(client(s).chat.completions.create(model=s.chat, messages=HELLO, n=3)))
    assert [choice["index"] for choice in said["choices"]] == [0, 1, 2]


@pytest.mark.parametrize("options", [None, {"include_usage": False}, {"include_usage": True}])
def test_stream_has_the_same_chunks(same, options):
    more = {} if options is None else {"stream_options": options}

    def case(s):
        with client(s).chat.completions.create(model=s.chat, messages=HELLO, stream=True, **more) as stream:
            return [dump(chunk) for chunk in stream]

    chunks = same(case)
    usages = [chunk["usage"] for chunk in chunks if chunk.get("usage")]
    assert len(usages) == (1 if options == {"include_usage": True} else 0)
    text = "".join(c["delta"].get("content") or "" for chunk in chunks for c in chunk["choices"])
    assert text == "You said: hello gateway, how are you?"


def test_long_stream_keeps_its_order(same):
    messages = [{"role": "user", "content": "long:2000"}]

    def case(s):
        stream = client(s).chat.completions.create(model=s.chat, messages=messages, stream=True)
        return "".join(c.delta.content or "" for chunk in stream for c in chunk.choices)

    assert same(case) == " ".join(f"word{i}" for i in range(2000))


def test_stream_left_early_leaves_a_usable_gateway(same):
    def case(s):
        sdk = client(s)
        messages = [{"role": "user", "content": "long:500"}]
        for _ in range(20):
            with sdk.chat.completions.create(model=s.chat, messages=messages, stream=True) as stream:
                next(iter(stream))
        return dump(sdk.chat.completions.create(model=s.chat, messages=HELLO))

    same(case)


def test_tool_round_trip(same):
    def case(s):
        sdk = client(s)
        asked = sdk.chat.completions.create(model=s.chat, messages=HELLO, tools=[WEATHER])
        call = asked.choices[0].message.tool_calls[0]
        result = {"role": "tool", "tool_call_id": call.id, "content": "sunny"}
        messages = [*HELLO, asked.choices[0].message.model_dump(exclude_none=True), result]
        return dump(asked), dump(sdk.chat.completions.create(model=s.chat, messages=messages, tools=[WEATHER]))

    asked, told = same(case)
    call = asked["choices"][0]["message"]["tool_calls"][0]["function"]
    assert (call["name"], json.loads(call["arguments"])) == ("get_weather", {"city": "a city", "days": 7})
    assert told["choices"][0]["message"]["content"] == "The tool said: sunny"


def test_streamed_tool_call(same):
    def case(s):
        with client(s).chat.completions.stream(model=s.chat, messages=HELLO, tools=[WEATHER]) as stream:
            stream.until_done()
            return dump(stream.get_final_completion())

    said = same(case)
    assert said["choices"][0]["finish_reason"] == "tool_calls"


def test_structured_output_is_parsed(same):
    def case(s):
        answer = client(s).chat.completions.parse(model=s.chat, messages=HELLO, response_format=Event)
        return answer.choices[0].message.parsed

    assert same(case) == Event(title="a title", people=["a people"], hours=1.5)


def test_json_mode(same):
    form = {"type": "json_object"}
    said = same(lambda s: dump(client(s).chat.completions.create(model=s.chat, messages=HELLO, response_format=form)))
    assert json.loads(said["choices"][0]["message"]["content"])["answer"] == HELLO[0]["content"]


def test_text_parts_and_unicode_pass(same):
    content = [{"type": "text", "text": "grüße"}, {"type": "text", "text": "日本 \U0001f600 \\ \" \u2028"}]
    messages = [{"role": "user", "content": content}]
    said = same(lambda s: dump(client(s).chat.completions.create(model=s.chat, messages=messages)))
    assert said["choices"][0]["message"]["content"] == "You said: grüße 日本 \U0001f600 \\ \" \u2028"


@pytest.mark.parametrize("encoding", [{}, {"encoding_format": "float"}, {"encoding_format": "base64"}])
@pytest.mark.parametrize("given", ["one text", ["two", "texts"], [1, 2, 3], [[1, 2], [3]]])
def test_embeddings(same, encoding, given):
    said = same(lambda s: dump(client(s).embeddings.create(model=s.embed, input=given, **encoding)))
    assert said["usage"]["prompt_tokens"] > 0


def test_embedding_dimensions_are_forwarded(same):
    said = same(lambda s: dump(client(s).embeddings.create(model=s.embed, input="x", dimensions=3)))
    assert len(said["data"][0]["embedding"]) == 3


def test_legacy_completions(same):
    def case(s):
        sdk = client(s)
        plain = dump(sdk.completions.create(model=s.chat, prompt="hello there"))
        stream = sdk.completions.create(model=s.chat, prompt="hello there", stream=True)
        return plain, [dump(chunk) for chunk in stream]

    plain, chunks = same(case)
    assert "".join(chunk["choices"][0]["text"] for chunk in chunks) == plain["choices"][0]["text"]


def test_responses(same):
    said = same(lambda s: dump(client(s).responses.create(model=s.chat, input="hello there")))
    assert said["output"][0]["content"][0]["text"] == "You said: hello there"


def test_responses_stream(same):
    def case(s):
        with client(s).responses.create(model=s.chat, input="hello there", stream=True) as stream:
            return [dump(event) for event in stream]

    events = same(case)
    assert events[-1]["type"] == "response.completed"
    assert [event["sequence_number"] for event in events] == list(range(len(events)))


def test_responses_tool_and_structure(same):
    tool = {"type": "function", **WEATHER["function"]}

    def case(s):
        sdk = client(s)
        called = dump(sdk.responses.create(model=s.chat, input="weather?", tools=[tool]))
        parsed = sdk.responses.parse(model=s.chat, input="plan", text_format=Event).output_parsed
        return called, parsed

    called, parsed = same(case)
    assert called["output"][0]["type"] == "function_call"
    assert parsed.hours == 1.5


def test_models_list_and_retrieve(through):
    sdk = client(through)
    listed = {model.id: model for model in sdk.models.list()}
    assert set(listed) == {through.chat, through.embed, through.transcribe}
    for name, model in listed.items():
        assert model.object == "model" and model.created > 0 and model.owned_by
        assert dump(sdk.models.retrieve(name)) == dump(model)
    with pytest.raises(openai.NotFoundError):
        sdk.models.retrieve("demo/nothing")


def script(text):
    return {"messages": [{"role": "user", "content": text}]}


@pytest.mark.parametrize(
    ("name", "fields", "error"),
    [
        ("wrong key", {}, openai.AuthenticationError),
        ("unknown model", {"model": "demo/nothing"}, openai.NotFoundError),
        ("no messages", {"messages": []}, openai.BadRequestError),
        ("bad value", {"temperature": 9}, openai.BadRequestError),
        ("upstream 400", script("error:400"), openai.BadRequestError),
        ("upstream 404", script("error:404"), openai.NotFoundError),
        ("upstream 422", script("error:422"), openai.UnprocessableEntityError),
        ("upstream 429", script("error:429"), openai.RateLimitError),
        ("upstream 500", script("error:500"), openai.InternalServerError),
        ("upstream 503", script("error:503"), openai.InternalServerError),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
def test_errors_have_the_same_class(direct, through, name, fields, error, stream):
    for side in (direct, through):
        options = {"model": side.chat, "messages": HELLO, "stream": stream, **fields}
        sdk = client(side, **({"api_key": "wrong"} if name == "wrong key" else {}))
        with pytest.raises(error) as raised:
            sdk.chat.completions.create(**options)
        body = raised.value.body
        assert set(body) == {"message", "type", "param", "code"}, (side.name, name)
        assert body["message"], (side.name, name)


def test_upstream_refusal_of_our_credential_is_not_the_clients(through):
    """The client's key is fine; 401 would tell it to change its key."""
    for status in (401, 403):
        with pytest.raises(openai.APIStatusError) as raised:
            messages = [{"role": "user", "content": f"error:{status}"}]
            client(through).chat.completions.create(model=through.chat, messages=messages)
        assert raised.value.status_code == 502


def test_sdk_retries_end_well(same):
    """The SDK may retry, the gateway may retry: both end with one answer, and equal ones."""

    def case(s):
        # A name of its own each time, or the failures would be used up.
        script = f"flaky:{s.name}-{uuid.uuid4()}:2"
        messages = [{"role": "user", "content": script}]
        answer = dump(client(s, max_retries=2).chat.completions.create(model=s.chat, messages=messages))
        assert answer["choices"][0]["message"]["content"] == f"You said: {script}"
        return answer["object"]

    same(case)


def test_request_id_is_told_and_kept(through):
    raw = client(through).chat.completions.with_raw_response.create(model=through.chat, messages=HELLO)
    assert raw.headers["x-request-id"].startswith("req_")
    sent = {"x-request-id": "my-own.id_7"}
    raw = client(through, default_headers=sent).chat.completions.with_raw_response.create(
        model=through.chat, messages=HELLO
    )
    assert raw.headers["x-request-id"] == "my-own.id_7"


def test_upstream_never_sees_the_clients_headers(provider, through):
    """Upstream headers are built from nothing: no key of ours, no SDK telemetry, no forwarded names."""
    before = len(provider.seen)
    extra = {"x-forwarded-for": "6.6.6.6", "cookie": "a=b", "x-custom": "1", "forwarded": "for=6.6.6.6"}
    client(through, default_headers=extra).chat.completions.create(model=through.chat, messages=HELLO)
    (path, headers, _body) = provider.seen[before]
    assert path == "/v1/chat/completions"
    names = {name.lower() for name in headers}
    assert not names & {"cookie", "x-custom", "x-forwarded-for", "forwarded", "authorization"}
    assert not [name for name in names if name.startswith(("x-stainless", "x-millrace"))]
    assert through.key not in " ".join(headers.values())


def test_body_reaches_upstream_byte_for_byte(provider, through):
    """Unknown fields, odd spacing and number forms survive; only `model` is replaced."""
    body = (
        '{ "messages" : [{"role":"user","content":"h\\u00e9llo"}],\n  "model":"%s" ,"unknown_field":{"a":[1.0,1e5]},'
        '"seed":12345678901234567890 }'
    )
    before = len(provider.seen)
    headers = {"authorization": f"Bearer {through.key}", "content-type": "application/json"}
    sent = (body % through.chat).encode()
    with through.plain_client() as plain:
        reply = plain.post(f"{through.url}/chat/completions", content=sent, headers=headers)
    assert reply.status_code == 200, reply.text
    assert provider.seen[before][2].decode() == body % "scripted-1"


async def ask_many(side, count):
    async with openai.AsyncOpenAI(
        base_url=side.url, api_key=side.key, timeout=60, **side.options_async()
    ) as sdk:

        async def one(i):
            messages = [{"role": "user", "content": f"number {i}"}]
            stream = await sdk.chat.completions.create(model=side.chat, messages=messages, stream=True)
            return "".join([c.delta.content or "" async for chunk in stream for c in chunk.choices])

        return await asyncio.gather(*(one(i) for i in range(count)))


def test_concurrent_streams_never_mix(same):
    answers = same(lambda s: asyncio.run(ask_many(s, 100)))
    assert answers == [f"You said: number {i}" for i in range(100)]
