"""Transcriptions by the official OpenAI SDK: the same with and without the gateway."""

import io
from pathlib import Path

import openai
import pytest

TONE = Path(__file__).resolve().parents[2] / "fixtures/audio/tone.wav"


def client(side, **options):
    given = {"base_url": side.url, "api_key": side.key, "max_retries": 0, "timeout": 20, **side.options(), **options}
    return openai.OpenAI(**given)


def ask(side, **options):
    with TONE.open("rb") as file:
        return client(side).audio.transcriptions.create(model=side.transcribe, file=file, **options)


def test_json_answers_alike(same):
    said = same(lambda s: ask(s).model_dump(mode="json"))
    assert said["text"].startswith("heard ") and said["usage"] == {"type": "duration", "seconds": 4.0}


def test_verbose_json_has_its_duration(same):
    more = {"response_format": "verbose_json", "timestamp_granularities": ["word", "segment"], "language": "en"}
    said = same(lambda s: ask(s, **more).model_dump(mode="json"))
    assert said["duration"] == 3.3 and said["words"] == []


@pytest.mark.parametrize("form", ["text", "srt", "vtt"])
def test_text_comes_as_it_is(same, form):
    assert "heard " in same(lambda s: ask(s, response_format=form, prompt="Names: Ada", temperature=0.2))


def test_stream_has_the_same_events(same):
    def case(s):
        with ask(s, stream=True) as stream:
            return [event.model_dump(mode="json") for event in stream]

    events = same(case)
    assert [event["type"] for event in events][-2:] == ["transcript.text.delta", "transcript.text.done"]
    assert "".join(event.get("delta", "") for event in events) == events[-1]["text"]


@pytest.mark.parametrize("name", ["speech of \u00e9t\u00e9.wav", 'a "b".wav', "c\\\\d.wav"])
def test_names_of_files_do_not_matter(same, name):
    def case(s):
        file = (name, io.BytesIO(TONE.read_bytes()), "audio/wav")
        return client(s).audio.transcriptions.create(model=s.transcribe, file=file).text

    assert same(case).startswith("heard ")


def test_large_file_arrives_whole(same):
    sound = TONE.read_bytes() + bytes(range(256)) * (2 << 12)

    def case(s):
        return client(s).audio.transcriptions.create(model=s.transcribe, file=("long.wav", sound)).text

    assert same(case).startswith("heard ")


@pytest.mark.parametrize(
    "status, raised",
    [(400, openai.BadRequestError), (429, openai.RateLimitError), (422, openai.UnprocessableEntityError)],
)
def test_errors_raise_the_same(same, status, raised):
    def case(s):
        with pytest.raises(raised) as refused:
            ask(s, prompt=f"error:{status}")
        return refused.value.status_code

    assert same(case) == status


def test_own_refusals_have_the_shape_of_openai(through):
    with pytest.raises(openai.NotFoundError) as refused:
        client(through).audio.transcriptions.create(model="demo/nothing", file=("a.wav", b"RIFF"))
    assert (refused.value.code, refused.value.param) == ("model_not_found", "model")
    with pytest.raises(openai.NotFoundError):
        client(through).audio.transcriptions.create(model=through.chat, file=("a.wav", b"RIFF"))
    with pytest.raises(openai.AuthenticationError):
        bad = client(through).with_options(api_key="mr_test_wrong")
        bad.audio.transcriptions.create(model=through.transcribe, file=("a.wav", b"RIFF"))
