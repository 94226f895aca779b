// Vercel's AI SDK, by its OpenAI and its OpenAI-compatible provider: same results with and without the gateway.
import assert from "node:assert/strict";
import test from "node:test";
import { createOpenAI } from "@ai-sdk/openai";
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { embedMany, generateText, Output, stepCountIs, streamText, tool } from "ai";
import { z } from "zod";
import { same } from "./sides.js";

const official = (s) => createOpenAI({ baseURL: s.url, apiKey: s.key });
const compatible = (s) =>
  createOpenAICompatible({
    name: "millrace",
    baseURL: s.url,
    apiKey: s.key,
    includeUsage: true,
    supportsStructuredOutputs: true,
  });
const models = {
  "openai chat": (s) => official(s).chat(s.chat),
  "openai responses": (s) => official(s).responses(s.chat),
  compatible: (s) => compatible(s).chatModel(s.chat),
};
const prompt = "hello gateway";

for (const [name, model] of Object.entries(models)) {
  test(`${name}: text`, async () => {
    const said = await same(async (s) => {
      const { text, usage, finishReason } = await generateText({ model: model(s), prompt, maxRetries: 0 });
      return { text, usage, finishReason };
    });
    assert.equal(said.text, "You said: hello gateway");
  });

  test(`${name}: stream`, async () => {
    const said = await same(async (s) => {
      const result = streamText({ model: model(s), prompt, maxRetries: 0 });
      const parts = [];
      for await (const part of result.textStream) parts.push(part);
      return { parts, usage: await result.usage, finishReason: await result.finishReason };
    });
    assert.equal(said.parts.join(""), "You said: hello gateway");
    assert.ok(said.usage.outputTokens > 0);
  });

  test(`${name}: object`, async () => {
    const schema = z.object({ title: z.string(), hours: z.number() });
    const object = await same(async (s) => {
      const result = await generateText({ model: model(s), prompt, output: Output.object({ schema }), maxRetries: 0 });
      return result.output;
    });
    assert.deepEqual(object, { title: "a title", hours: 1.5 });
  });
}

for (const name of ["openai chat", "compatible"]) {
  test(`${name}: tools`, async () => {
    const text = await same(async (s) => {
      const result = await generateText({
        model: models[name](s),
        prompt: "weather?",
        maxRetries: 0,
        stopWhen: stepCountIs(3),
        tools: {
          weather: tool({
            description: "The weather in a city",
            inputSchema: z.object({ city: z.string() }),
            execute: async ({ city }) => `sunny in ${city}`,
          }),
        },
      });
      return result.text;
    });
    assert.match(text, /sunny in a city/);
  });
}

test("embeddings", async () => {
  const vectors = await same(async (s) => {
    const model = official(s).embedding(s.embed);
    return (await embedMany({ model, values: ["one", "two"], maxRetries: 0 })).embeddings;
  });
  assert.equal(vectors.length, 2);
});
