// The two ways to the provider: directly, and through the gateway. with_gateway.py starts both and sets the variables.
import assert from "node:assert/strict";
import diagnostics from "node:diagnostics_channel";
import { after } from "node:test";
import { Agent, setGlobalDispatcher } from "undici";

// Through the edge over one protocol and no other; unset on the plain port.
const alpn = process.env.GATEWAY_ALPN;
if (alpn) {
  const spoken = new Set();
  setGlobalDispatcher(new Agent({ allowH2: alpn === "h2" }));
  diagnostics.subscribe("undici:client:connected", ({ socket }) => {
    if (socket.encrypted) spoken.add(socket.alpnProtocol);
  });
  // Otherwise the tests would pass without what they are about.
  after(() => assert.deepEqual([...spoken], [alpn]));
}

const need = (name) => {
  const value = process.env[name];
  if (!value) throw new Error(`${name} is not set: run by with_gateway.py`);
  return value;
};

export const direct = {
  name: "direct",
  url: need("PROVIDER_URL"),
  key: need("PROVIDER_KEY"),
  chat: need("PROVIDER_MODEL"),
  embed: need("PROVIDER_MODEL"),
  transcribe: need("PROVIDER_MODEL"),
};

export const through = {
  name: "through",
  url: need("GATEWAY_URL"),
  key: need("GATEWAY_KEY"),
  chat: need("GATEWAY_CHAT"),
  embed: need("GATEWAY_EMBED"),
  transcribe: need("GATEWAY_TRANSCRIBE"),
};

/** Runs a case on both sides, asserts that they agree, and returns what both said. */
export async function same(run) {
  const first = plain(await run(direct));
  const second = plain(await run(through));
  assert.deepEqual(second, first);
  return first;
}

/** Only what JSON can say, so that class instances and getters do not count. */
function plain(value) {
  return value === undefined ? undefined : JSON.parse(JSON.stringify(value));
}
