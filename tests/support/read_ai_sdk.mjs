// Asks each question of the standard input with the AI SDK's own transport, and says how its client reads the answer.
// In: a JSON list of { url, headers }. Out: a JSON list of what came. `ai` is found in the folder that NODE_MODULES names.
import { createRequire } from "node:module";
import { text } from "node:stream/consumers";

const { DefaultChatTransport, readUIMessageStream } = createRequire(`${process.env.NODE_MODULES}/`)("ai");
const messages = [{ id: "1", role: "user", parts: [{ type: "text", text: "Hello?" }] }];

async function read({ url, headers }) {
  const seen = { types: [], end: "cut", raised: null, message: null };
  const abort = new AbortController();
  const timer = setTimeout(() => abort.abort(), 20_000);
  try {
    const transport = new DefaultChatTransport({ api: url, headers });
    const ask = { chatId: "c1", messages, trigger: "submit-message", abortSignal: abort.signal };
    const [chunks, whole] = (await transport.sendMessages(ask)).tee();
    const message = (async () => {
      let last = null;
      for await (const state of readUIMessageStream({ stream: whole, onError: () => {} })) last = structuredClone(state);
      return last;
    })().catch(() => null);
    for await (const chunk of chunks) {
      seen.types.push(chunk.type);
      if (chunk.type === "finish") seen.end = chunk.finishReason === "error" ? "error" : "finish";
      if (chunk.type === "error" || chunk.type === "abort") seen.end = chunk.type;
      if (chunk.type === "error" || chunk.type === "abort") break;
    }
    seen.message = await Promise.race([message, new Promise((done) => setTimeout(done, 2_000, null))]);
  } catch (fault) {
    seen.raised = String(fault);
  }
  clearTimeout(timer);
  abort.abort();
  return seen;
}

const found = await Promise.all(JSON.parse(await text(process.stdin)).map(read));
process.stdout.write(JSON.stringify(found), () => process.exit(0));
