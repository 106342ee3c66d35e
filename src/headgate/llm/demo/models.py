"""The demo models by name: how thorough each is, and its notional price."""

from __future__ import annotations

import msgspec

from headgate.core.money import nano
from headgate.core.values import Price
from headgate.ports import ProviderError

__all__ = ["DIMENSIONS", "EMBEDDING", "MODELS", "Model", "model_named"]

DIMENSIONS = 256
EMBEDDING = "embed"


class Model(msgspec.Struct, frozen=True):
    """A demo model. The large one reads twice (`second_pass`) and shows more; it is slower, as its price
    says."""

    name: str
    price: Price
    summary_sentences: int = 0
    passages: int = 0
    passage_share: float = 1.0
    """A further passage is shown where it scores at least this share of the best."""
    second_pass: bool = False


def _price(name: str, input_usd: str, output_usd: str) -> Price:
    return Price(input=nano(input_usd), output=nano(output_usd), simulated=True, id=f"demo/{name}@1")


MODELS = {
    "small": Model("small", _price("small", "0.20", "0.80"), 3, 2, 0.8),
    "large": Model("large", _price("large", "2", "8"), 5, 4, 0.6, second_pass=True),
    EMBEDDING: Model(EMBEDDING, _price(EMBEDDING, "0.02", "0")),
}


def model_named(name: str, *, embedding: bool = False) -> Model:
    """Return the model. Raises `ProviderError` for an unknown one, or one of the other trade."""
    if (name == EMBEDDING) == embedding and name in MODELS:
        return MODELS[name]
    if name in MODELS:
        right = "demo/embed makes embeddings" if embedding else "demo/small and demo/large answer prompts"
        raise _unknown(f"demo/{name} cannot be used here: {right}.")
    import difflib  # only where there is a typing mistake: importing it is a third of our own import

    close = difflib.get_close_matches(name, sorted(MODELS), n=1, cutoff=0.4)
    meant = f" Did you mean demo/{close[0]}?" if close else ""
    raise _unknown(f"There is no model demo/{name}.{meant} The demo models are demo/small, demo/large and demo/embed.")


def _unknown(message: str) -> ProviderError:
    return ProviderError(message, status=404, code="unknown_model", retryable=False)
