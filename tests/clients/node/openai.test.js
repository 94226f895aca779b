// The official OpenAI SDK for Node: every object is the same with and without the gateway.
import assert from "node:assert/strict";
import test from "node:test";
import OpenAI from "openai";
import { zodResponseFormat } from "openai/helpers/zod";
import { z } from "zod";
import { direct, same, through } from "./sides.js";

const messages = [{ role: "user", content: "hello gateway" }];
const client = (side, more = {}) =>
  new OpenAI({ baseURL: side.url, apiKey: side.key, maxRetries: 0, timeout: 60_000, ...more });
const weather = {
  type: "function",
  function: {
    name: "get_weather",
    parameters: { type: "object", properties: { city: { type: "string" } }, required: ["city"] },
  },
};

test("chat answers alike", async () => {
  const said = await same((s) => client(s).chat.completions.create({ model: s.chat, messages }));
  assert.equal(said.choices[0].message.content, "You said: hello gateway");
});

// A gateway that asked for usage itself hides the chunk, but `usage: null` may stand on the others: both mean none.
const withoutNullUsage = (chunk) => {
  const { usage, ...rest } = chunk;
  return usage ? chunk : rest;
};

for (const include_usage of [undefined, false, true]) {
  test(`stream has the same chunks, include_usage ${include_usage}`, async () => {
    const more = include_usage === undefined ? {} : { stream_options: { include_usage } };
    const chunks = await same(async (s) => {
      const stream = await client(s).chat.completions.create({ model: s.chat, messages, stream: true, ...more });
      const seen = [];
      for await (const chunk of stream) seen.push(withoutNullUsage(chunk));
      return seen;
    });
    assert.equal(chunks.filter((chunk) => chunk.usage).length, include_usage ? 1 : 0);
    const text = chunks.flatMap((c) => c.choices.map((choice) => choice.delta.content ?? "")).join("");
    assert.equal(text, "You said: hello gateway");
  });
}

test("tool round trip", async () => {
  const [asked, told] = await same(async (s) => {
    const sdk = client(s);
    const first = await sdk.chat.completions.create({ model: s.chat, messages, tools: [weather] });
    const call = first.choices[0].message.tool_calls[0];
    const answer = { role: "tool", tool_call_id: call.id, content: "sunny" };
    const second = await sdk.chat.completions.create({
      model: s.chat,
      messages: [...messages, first.choices[0].message, answer],
      tools: [weather],
    });
    return [first, second];
  });
  assert.deepEqual(JSON.parse(asked.choices[0].message.tool_calls[0].function.arguments), { city: "a city" });
  assert.equal(told.choices[0].message.content, "The tool said: sunny");
});

test("streamed tool call", async () => {
  const said = await same(async (s) => {
    const stream = client(s).chat.completions.stream({ model: s.chat, messages, tools: [weather] });
    return withoutNullUsage(await stream.finalChatCompletion());
  });
  assert.equal(said.choices[0].finish_reason, "tool_calls");
});

test("structured output is parsed", async () => {
  const form = zodResponseFormat(z.object({ title: z.string(), people: z.array(z.string()) }), "event");
  const parsed = await same(async (s) => {
    const answer = await client(s).chat.completions.parse({ model: s.chat, messages, response_format: form });
    return answer.choices[0].message.parsed;
  });
  assert.deepEqual(parsed, { title: "a title", people: ["a people"] });
});

for (const encoding_format of [undefined, "float", "base64"]) {
  test(`embeddings, encoding ${encoding_format}`, async () => {
    const said = await same((s) =>
      client(s).embeddings.create({ model: s.embed, input: ["one", "two"], encoding_format }),
    );
    assert.equal(said.data.length, 2);
  });
}

test("models list and retrieve", async () => {
  const sdk = client(through);
  const names = [];
  for await (const model of sdk.models.list()) names.push(model.id);
  assert.deepEqual(names.sort(), [through.chat, through.embed, through.transcribe].sort());
  assert.equal((await sdk.models.retrieve(through.chat)).id, through.chat);
});

test("responses, plain and streamed", async () => {
  const said = await same((s) => client(s).responses.create({ model: s.chat, input: "hello there" }));
  assert.equal(said.output[0].content[0].text, "You said: hello there");
  const events = await same(async (s) => {
    const seen = [];
    for await (const event of await client(s).responses.create({ model: s.chat, input: "hello there", stream: true })) {
      seen.push(event);
    }
    return seen;
  });
  assert.equal(events.at(-1).type, "response.completed");
});

test("errors have the same class", async () => {
  for (const [name, make, wanted] of [
    ["wrong key", (s) => [client(s, { apiKey: "wrong" }), {}], OpenAI.AuthenticationError],
    ["unknown model", (s) => [client(s), { model: "demo/nothing" }], OpenAI.NotFoundError],
    ["bad value", (s) => [client(s), { temperature: 9 }], OpenAI.BadRequestError],
    ["429", (s) => [client(s), { messages: [{ role: "user", content: "error:429" }] }], OpenAI.RateLimitError],
    ["500", (s) => [client(s), { messages: [{ role: "user", content: "error:500" }] }], OpenAI.InternalServerError],
  ]) {
    for (const side of [direct, through]) {
      const [sdk, fields] = make(side);
      await assert.rejects(
        sdk.chat.completions.create({ model: side.chat, messages, ...fields }),
        (error) => error instanceof wanted && typeof error.error.message === "string",
        `${name}, ${side.name}`,
      );
    }
  }
});

test("aborted stream leaves a usable gateway", async () => {
  const long = [{ role: "user", content: "long:1000" }];
  const sdk = client(through);
  for (let i = 0; i < 20; i += 1) {
    const stream = await sdk.chat.completions.create({ model: through.chat, messages: long, stream: true });
    for await (const _ of stream) break;
  }
  const said = await sdk.chat.completions.create({ model: through.chat, messages });
  assert.equal(said.choices[0].message.content, "You said: hello gateway");
});
