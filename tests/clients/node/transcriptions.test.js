// Transcriptions by the official OpenAI SDK for Node: the same with and without the gateway.
import assert from "node:assert/strict";
import { createReadStream, readFileSync } from "node:fs";
import test from "node:test";
import OpenAI, { toFile } from "openai";
import { same, through } from "./sides.js";

const tone = new URL("../../fixtures/audio/tone.wav", import.meta.url);
const client = (side) => new OpenAI({ baseURL: side.url, apiKey: side.key, maxRetries: 0, timeout: 20_000 });
const ask = (side, more = {}, file = createReadStream(tone)) =>
  client(side).audio.transcriptions.create({ model: side.transcribe, file, ...more });

test("json answers alike", async () => {
  const said = await same((s) => ask(s));
  assert.match(said.text, /^heard /);
  assert.deepEqual(said.usage, { type: "duration", seconds: 4 });
});

test("verbose json has its duration", async () => {
  const said = await same((s) => ask(s, { response_format: "verbose_json", timestamp_granularities: ["word"] }));
  assert.equal(said.duration, 3.3);
});

for (const response_format of ["text", "srt", "vtt"]) {
  test(`${response_format} comes as it is`, async () => {
    assert.match(await same((s) => ask(s, { response_format, language: "en" })), /heard /);
  });
}

test("stream has the same events", async () => {
  const events = await same(async (s) => {
    const seen = [];
    for await (const event of await ask(s, { stream: true })) seen.push(event);
    return seen;
  });
  const last = events.at(-1);
  assert.equal(last.type, "transcript.text.done");
  assert.equal(events.map((event) => event.delta ?? "").join(""), last.text);
});

test("large file arrives whole", async () => {
  const sound = Buffer.concat([readFileSync(tone), Buffer.alloc(2 << 20, 7)]);
  const said = await same(async (s) => ask(s, {}, await toFile(sound, "long.wav")));
  assert.match(said.text, /^heard /);
});

for (const status of [400, 429]) {
  test(`error ${status} raises the same`, async () => {
    const told = await same((s) => ask(s, { prompt: `error:${status}` }).then(assert.fail, (error) => error.status));
    assert.equal(told, status);
  });
}

test("own refusals have the shape of OpenAI", async () => {
  const refused = client(through).audio.transcriptions.create({ model: "demo/nothing", file: createReadStream(tone) });
  const error = await refused.then(assert.fail, (refusal) => refusal);
  assert.deepEqual([error.status, error.code, error.param], [404, "model_not_found", "model"]);
});
