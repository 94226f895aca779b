//! The state machine of streams.

use crate::base::{Finish, TokenCounts};
use crate::wire::{Action, End, Endpoint, Meaning, StreamWatch};

const FIRST: &str = r#"data: {"id":"c","choices":[{"index":0,"delta":{"role":"assistant","content":""},"finish_reason":null}],"usage":null}"#;
const DELTA: &str =
    r#"data: {"id":"c","choices":[{"index":0,"delta":{"content":"hello"},"finish_reason":null}],"usage":null}"#;
const STOP: &str = r#"data: {"id":"c","choices":[{"index":0,"delta":{},"finish_reason":"stop"}],"usage":null}"#;
const USAGE: &str = r#"data: {"id":"c","choices":[],"usage":{"prompt_tokens":3,"completion_tokens":4}}"#;
const DONE: &str = "data: [DONE]";

/// Feeds events, each without its blank line, and gives the actions and the end.
fn run(endpoint: Endpoint, hide: bool, events: &[&str]) -> (Vec<Action>, StreamWatch) {
    let mut watch = StreamWatch::new(endpoint, hide);
    let actions = events.iter().map(|event| watch.observe(format!("{event}\n\n").as_bytes())).collect();
    (actions, watch)
}

fn tokens(input: u64, output: u64) -> Option<TokenCounts> {
    Some(TokenCounts { input, output, ..TokenCounts::default() })
}

#[test]
fn a_stream_ends_as_its_events_say() {
    let error = r#"data: {"error":{"message":"x","code":500}}"#;
    for (name, events, want) in [
        ("done", vec![FIRST, DELTA, STOP, DONE], End::Clean),
        ("done without a finish reason", vec![FIRST, DELTA, DONE], End::Clean),
        ("finish reason without done", vec![FIRST, DELTA, STOP], End::AddDone),
        ("finish reason and usage without done", vec![FIRST, STOP, USAGE], End::AddDone),
        ("nothing", vec![], End::Truncated),
        ("comments only", vec![": ping", ": ping"], End::Truncated),
        ("content only", vec![FIRST, DELTA], End::Truncated),
        ("usage without a finish reason", vec![FIRST, DELTA, USAGE], End::Truncated),
        ("empty choices are no end", vec![r#"data: {"choices":[],"prompt_filter_results":[]}"#], End::Truncated),
        (
            "one of two choices finished",
            vec![DELTA, &DELTA.replace("\"index\":0", "\"index\":1"), STOP],
            End::Truncated,
        ),
        ("together's end", vec![DELTA, &STOP.replace("stop", "eos")], End::AddDone),
        ("error", vec![DELTA, error], End::Failed),
        ("error after the finish reason", vec![STOP, error, DONE], End::Failed),
    ] {
        let (_, watch) = run(Endpoint::Chat, false, &events);
        assert_eq!(watch.end(), want, "{name}");
        assert_eq!(watch.is_done(), matches!(want, End::Clean | End::Failed), "{name}");
    }
}

#[test]
fn a_usage_chunk_is_hidden_only_if_nobody_asked_and_nothing_else_is_in_it() {
    for (name, event, want) in [
        ("usage only", USAGE, Action::Hide),
        (
            "with choices",
            r#"data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}],"usage":{"prompt_tokens":3,"completion_tokens":4}}"#,
            Action::Pass,
        ),
        ("usage is null", r#"data: {"choices":[],"moderation":{},"usage":null}"#, Action::Pass),
        ("empty choices alone", r#"data: {"choices":[],"id":"","prompt_filter_results":[]}"#, Action::Pass),
        ("no choices at all", r#"data: {"usage":{"prompt_tokens":3,"completion_tokens":4}}"#, Action::Pass),
        ("done", DONE, Action::Pass),
    ] {
        assert_eq!(run(Endpoint::Chat, true, &[FIRST, event]).0[1], want, "{name}");
        assert_eq!(run(Endpoint::Chat, false, &[FIRST, event]).0[1], Action::Pass, "{name}, client asked");
    }
}

#[test]
fn the_last_valid_usage_counts_wherever_it_stands() {
    let groq = r#"data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}],"x_groq":{"id":"x","usage":{"prompt_tokens":7,"completion_tokens":8,"queue_time":0.1},"usage_breakdown":null}}"#;
    for (name, events, want) in [
        ("last chunk", vec![DELTA, USAGE, DONE], tokens(3, 4)),
        ("groq", vec![DELTA, groq, DONE], tokens(7, 8)),
        ("cumulative", vec![USAGE, groq], tokens(7, 8)),
        ("null after it", vec![USAGE, STOP], tokens(3, 4)),
        ("invalid after it", vec![USAGE, &USAGE.replace(":4", ":-4")], tokens(3, 4)),
        ("invalid alone", vec![&USAGE.replace(":4", ":4.5")], None),
        ("none", vec![DELTA, DONE], None),
        (
            "in the text only",
            vec![r#"data: {"choices":[{"delta":{"content":"\"usage\":{\"prompt_tokens\":1}"}}]}"#],
            None,
        ),
    ] {
        assert_eq!(run(Endpoint::Chat, true, &events).1.usage(), want, "{name}");
    }
}

#[test]
fn failures_inside_a_stream_are_seen_in_every_form() {
    for (name, event, want) in [
        ("error object", r#"data: {"error":{"message":"x","type":"server_error","code":null}}"#, Meaning::Transient),
        ("error text", r#"data: {"error":"overloaded"}"#, Meaning::Transient),
        (
            "beside choices",
            r#"data: {"id":"g","error":{"code":429,"message":"x"},"choices":[{"index":0,"delta":{"content":""},"finish_reason":"error"}]}"#,
            Meaning::Rate,
        ),
        (
            "groq",
            "event: error\ndata: {\"error\":{\"message\":\"x\",\"code\":\"tool_use_failed\",\"status_code\":400}}",
            Meaning::Invalid,
        ),
        ("an unknown field", r#"error: {"code":503,"message":"x"}"#, Meaning::Transient),
    ] {
        let (actions, watch) = run(Endpoint::Chat, true, &[DELTA, event, DONE]);
        assert_eq!(actions, [Action::Pass, Action::Fail(want), Action::Drop], "{name}");
        assert_eq!(watch.end(), End::Failed, "{name}");
    }
    let harmless = r#"data: {"error":null,"choices":[{"index":0,"delta":{"content":"\"error\":"}}]}"#;
    assert_eq!(run(Endpoint::Chat, true, &[harmless]).0, [Action::Pass]);
}

#[test]
fn events_that_cannot_be_read_pass_unread() {
    for event in [
        "data: {\"choices\":[",
        "data: hello",
        "data: \u{7}",
        "event: x\ndata: {}",
        "id: 7",
        "data: {\"a\":1}\ndata: {\"b\":2}",
    ] {
        let (actions, watch) = run(Endpoint::Chat, true, &[event]);
        assert_eq!((actions[0], watch.end()), (Action::Pass, End::Truncated), "{event}");
    }
    let mut watch = StreamWatch::new(Endpoint::Chat, true);
    assert_eq!(watch.observe(b"data: {\"choices\":[{\"delta\":{\"content\":\"\xFF\"}}]}\n\n"), Action::Pass);
    assert_eq!(watch.content_bytes(), 1);
}

#[test]
fn only_the_final_usage_is_told_apart() {
    let with_choices = r#"data: {"choices":[{"index":0,"delta":{},"finish_reason":FINISH}],"usage":{"prompt_tokens":3,"completion_tokens":4}}"#;
    let (so_far, last) = (with_choices.replace("FINISH", "null"), with_choices.replace("FINISH", "\"stop\""));
    let completed = r#"data: {"type":"response.completed","response":{"usage":{"input_tokens":5,"output_tokens":6}}}"#;
    let failed = r#"data: {"type":"response.failed","response":{"usage":null}}"#;
    let (chat, responses) = (Endpoint::Chat, Endpoint::Responses);
    for (name, endpoint, events, want) in [
        ("its own chunk", chat, [FIRST, STOP, USAGE], Action::PassUsage),
        ("on the last chunk", chat, [FIRST, DELTA, &last], Action::PassUsage),
        ("so far", chat, [FIRST, DELTA, &so_far], Action::Pass),
        ("no usage", chat, [FIRST, DELTA, STOP], Action::Pass),
        ("false usage", chat, [FIRST, STOP, &USAGE.replace("4}", "-4}")], Action::Pass),
        ("completed", responses, [": a", ": b", completed], Action::PassUsage),
        ("failed without usage", responses, [": a", ": b", failed], Action::Pass),
    ] {
        for tells in [true, false] {
            let mut watch = StreamWatch::new(endpoint, false);
            if tells {
                watch.tell_usage();
            }
            let actions = events.map(|event| watch.observe(format!("{event}\n\n").as_bytes()));
            let want = if tells { want } else { Action::Pass };
            assert_eq!(actions, [Action::Pass, Action::Pass, want], "{name}, {tells}");
        }
    }
    let mut hides = StreamWatch::new(chat, true);
    hides.tell_usage();
    let actions = [STOP, USAGE].map(|event| hides.observe(format!("{event}\n\n").as_bytes()));
    assert_eq!(actions, [Action::Pass, Action::Hide]);
}

#[test]
fn framing_of_any_kind_is_understood() {
    let split = "data: {\"choices\":[],\ndata: \"usage\":{\"prompt_tokens\":3,\ndata: \"completion_tokens\":4}}";
    for (name, event) in [
        ("LF", format!("{USAGE}\n\n")),
        ("CRLF", format!("{USAGE}\r\n\r\n")),
        ("CR", format!("{USAGE}\r\r")),
        ("no space", format!("{}\n\n", USAGE.replace("data: ", "data:"))),
        ("byte order mark", format!("\u{feff}{USAGE}\n\n")),
        ("event name", format!("event: message\n{USAGE}\n\n")),
        ("comment before", format!(": x\n{USAGE}\n\n")),
        ("several data lines", format!("{split}\n\n")),
        ("padding", format!("{USAGE}   \n\n")),
    ] {
        let mut watch = StreamWatch::new(Endpoint::Chat, true);
        assert_eq!(watch.observe(event.as_bytes()), Action::Hide, "{name}");
        assert_eq!(watch.usage(), tokens(3, 4), "{name}");
    }
}

#[test]
fn responses_end_with_their_own_events_and_never_with_done() {
    let created = "event: response.created\ndata: {\"type\":\"response.created\",\"response\":{\"id\":\"resp_1\",\"usage\":null},\"sequence_number\":0}";
    let delta = "event: response.output_text.delta\ndata: {\"type\":\"response.output_text.delta\",\"delta\":\"abc\",\"sequence_number\":1}";
    let usage = r#""usage":{"input_tokens":5,"input_tokens_details":{"cached_tokens":0},"output_tokens":6}"#;
    let last = |kind: &str| {
        format!(
            "event: {kind}\ndata: {{\"type\":\"{kind}\",\"response\":{{\"id\":\"resp_1\",\"output\":[\"x\"],{usage}}},\"sequence_number\":2}}"
        )
    };
    for (kind, want) in
        [("response.completed", End::Clean), ("response.incomplete", End::Clean), ("response.failed", End::Failed)]
    {
        let (actions, watch) = run(Endpoint::Responses, false, &[created, delta, &last(kind), DONE]);
        assert_eq!(actions, [Action::Pass, Action::Pass, Action::Pass, Action::Drop], "{kind}");
        assert_eq!((watch.end(), watch.usage()), (want, tokens(5, 6)), "{kind}");
        assert_eq!(watch.content_bytes(), 3, "{kind}");
    }
    let (actions, watch) = run(Endpoint::Responses, false, &[created, delta, DONE]);
    assert_eq!((actions[2], watch.end()), (Action::Drop, End::Truncated));
    assert_eq!((watch.error_at().response_id, watch.error_at().sequence_number), ("resp_1", 2));

    let unnamed = r#"data: {"response":{"usage":{"input_tokens":5,"output_tokens":6}},"type":"response.completed"}"#;
    let (_, watch) = run(Endpoint::Responses, false, &[unnamed]);
    assert_eq!((watch.end(), watch.usage()), (End::Clean, tokens(5, 6)));

    let error =
        "event: error\ndata: {\"type\":\"error\",\"code\":\"server_error\",\"message\":\"x\",\"sequence_number\":2}";
    let failed = last("response.failed");
    let (actions, watch) = run(Endpoint::Responses, false, &[created, error]);
    assert_eq!((actions[1], watch.end()), (Action::Pass, End::Truncated));
    let (actions, watch) = run(Endpoint::Responses, false, &[created, error, &failed]);
    assert_eq!((actions[2], watch.end()), (Action::Pass, End::Failed));
}

#[test]
fn what_is_left_at_the_end_passes_only_if_whole() {
    for (name, tail, want, end) in [
        ("done", "data: [DONE]", Action::Pass, End::Clean),
        ("done with a line end", "data: [DONE]\n", Action::Pass, End::Clean),
        ("a whole chunk", STOP, Action::Pass, End::AddDone),
        ("half a chunk", &STOP[..STOP.len() - 1], Action::Drop, End::Truncated),
        ("half of done", "data: [DO", Action::Drop, End::Truncated),
        ("a comment", ": x", Action::Drop, End::Truncated),
        ("nothing", "", Action::Drop, End::Truncated),
        ("an error line", "error: {\"code\":500}", Action::Fail(Meaning::Transient), End::Failed),
    ] {
        let mut watch = StreamWatch::new(Endpoint::Chat, false);
        assert_eq!(watch.observe_tail(tail.as_bytes()), want, "{name}");
        assert_eq!(watch.end(), end, "{name}");
    }
}

#[test]
fn progress_and_content_are_counted() {
    let ping = "event: ping\ndata: {}";
    let (_, watch) = run(Endpoint::Chat, false, &[": c", ping, FIRST, DELTA, DELTA, STOP, DONE]);
    assert_eq!((watch.messages_count(), watch.content_bytes()), (4, 10));
}

#[test]
fn a_stream_says_why_it_ended() {
    let end = |kind: &str, more: &str| format!(r#"data: {{"type":"response.{kind}","response":{{"id":"r"{more}}}}}"#);
    let (done, cut) = (end("completed", ""), r#","incomplete_details":{"reason":"max_output_tokens"}"#);
    let called = r#"data: {"type":"response.function_call_arguments.done","arguments":"{}"}"#;
    let reason = |word: &str| STOP.replace("stop", word);
    for (name, endpoint, events, want) in [
        ("stop", Endpoint::Chat, vec![FIRST, DELTA, STOP, USAGE, DONE], Finish::Completed),
        ("length", Endpoint::Chat, vec![DELTA, &reason("length"), DONE], Finish::LengthLimit),
        ("filter", Endpoint::Chat, vec![&reason("content_filter")], Finish::ContentFilter),
        ("tools", Endpoint::Chat, vec![DELTA, &reason("tool_calls"), USAGE], Finish::ToolCalls),
        ("a word that nobody knows", Endpoint::Chat, vec![DELTA, &reason("enough")], Finish::Unknown),
        ("nothing", Endpoint::Chat, vec![FIRST, DELTA, DONE], Finish::Unknown),
        ("response", Endpoint::Responses, vec![&done], Finish::Completed),
        ("response that calls", Endpoint::Responses, vec![called, &done], Finish::ToolCalls),
        ("response that was cut", Endpoint::Responses, vec![&end("incomplete", cut)], Finish::LengthLimit),
    ] {
        let (_, watch) = run(endpoint, false, &events);
        assert_eq!(watch.finish(), want, "{name}");
    }
}

#[test]
fn transcription_ends_with_its_last_event() {
    let delta = r#"data: {"type":"transcript.text.delta","delta":"Hello","logprobs":[]}"#;
    let segment = r#"data: {"type":"transcript.text.segment","id":"s","text":"Hello","speaker":"A","start":0,"end":1}"#;
    let tokens_used = r#"{"type":"tokens","input_tokens":30,"input_token_details":{"text_tokens":4,"audio_tokens":26},"output_tokens":7,"total_tokens":37}"#;
    let by_tokens = format!(r#"data: {{"type":"transcript.text.done","text":"Hello","usage":{tokens_used}}}"#);
    let by_time = r#"data: {"type":"transcript.text.done","text":"Hello","usage":{"type":"duration","seconds":3.1}}"#;
    let named = format!("event: transcript.text.done\n{by_time}");
    let chunk =
        r#"data: {"object":"transcription.chunk","choices":[{"delta":{"content":"Hello"},"finish_reason":"stop"}]}"#;
    let error = r#"data: {"error":{"message":"x","code":500}}"#;
    let typed = r#"data: {"type":"error","message":"x"}"#;
    let heard = TokenCounts { audio_input: 26, ..tokens(30, 7).unwrap() };
    for (name, events, end, usage, millis) in [
        ("tokens", vec![delta, &by_tokens], End::Clean, Some(heard), None),
        ("seconds", vec![delta, delta, by_time], End::Clean, None, Some(3_100)),
        ("named event", vec![delta, &named], End::Clean, None, Some(3_100)),
        ("segments", vec![segment, by_time], End::Clean, None, Some(3_100)),
        ("marker behind it", vec![delta, by_time, DONE], End::Clean, None, Some(3_100)),
        ("chunks of another server", vec![chunk, DONE], End::Clean, None, None),
        ("chunks without their marker", vec![chunk], End::Truncated, None, None),
        ("cut off", vec![delta, segment], End::Truncated, None, None),
        ("nothing", vec![], End::Truncated, None, None),
        ("error", vec![delta, error], End::Failed, None, None),
        ("error as an event", vec![delta, typed], End::Failed, None, None),
    ] {
        let (_, watch) = run(Endpoint::Transcriptions, false, &events);
        assert_eq!((watch.end(), watch.usage(), watch.audio_millis()), (end, usage, millis), "{name}");
    }
    let (_, watch) = run(Endpoint::Transcriptions, false, &[delta]);
    assert_eq!((watch.content_bytes(), watch.messages_count()), (5, 1));
    let mut watch = StreamWatch::new(Endpoint::Transcriptions, false);
    watch.tell_usage();
    let actions = [delta, by_time, DONE].map(|event| watch.observe(format!("{event}\n\n").as_bytes()));
    assert_eq!(actions, [Action::Pass, Action::PassUsage, Action::Pass]);
}
