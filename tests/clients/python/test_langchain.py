"""LangChain's OpenAI classes: same answers with and without the gateway."""

from langchain_core.messages import HumanMessage, ToolMessage
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI, OpenAIEmbeddings
from pydantic import BaseModel


class Person(BaseModel):
    """A person."""

    name: str
    age: int


@tool
def weather(city: str) -> str:
    """The weather in a city."""
    return f"sunny in {city}"


def chat(side, **options):
    options = {**side.options(), **options}
    return ChatOpenAI(base_url=side.url, api_key=side.key, model=side.chat, max_retries=0, **options)


def told(message):
    """What a message says, without ids that LangChain makes up."""
    return message.content, message.tool_calls, message.usage_metadata, message.response_metadata["finish_reason"]


def test_invoke(same):
    assert same(lambda s: told(chat(s).invoke("hello there")))[0] == "You said: hello there"


def test_stream(same):
    def case(s):
        return [(c.content, c.usage_metadata) for c in chat(s, stream_usage=True).stream("hello there")]

    chunks = same(case)
    assert "".join(text for text, _ in chunks) == "You said: hello there"
    assert sum(1 for _, usage in chunks if usage) == 1


def test_batch(same):
    said = same(lambda s: [told(m) for m in chat(s).batch([f"number {i}" for i in range(20)])])
    assert said[19][0] == "You said: number 19"


def test_tools(same):
    def case(s):
        model = chat(s).bind_tools([weather])
        asked = model.invoke("weather?")
        call = asked.tool_calls[0]
        answer = ToolMessage(weather.invoke(call["args"]), tool_call_id=call["id"])
        return told(asked), told(model.invoke([HumanMessage("weather?"), asked, answer]))

    assert same(case)[1][0] == "The tool said: sunny in a city"


def test_structured_output(same):
    def case(s):
        return chat(s).with_structured_output(Person, method="json_schema").invoke("who?")

    assert same(case) == Person(name="a name", age=7)


def test_responses_api(same):
    said = same(lambda s: chat(s, use_responses_api=True).invoke("hello there").text)
    assert said == "You said: hello there"


def test_embeddings(same):
    def case(s):
        model = OpenAIEmbeddings(
            base_url=s.url,
            api_key=s.key,
            model=s.embed,
            check_embedding_ctx_length=False,
            max_retries=0,
            **s.options(),
        )
        return model.embed_documents(["one", "two"]), model.embed_query("three")

    documents, query = same(case)
    assert len(documents) == 2 and len(query) == 8
