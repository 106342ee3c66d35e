"""The models that an activity may ask: what its author wrote, looked up among the providers of this process."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from headgate.core.model_list import ModelEntry
from headgate.core.values import Price
from headgate.ports import Attempt, ModelProvider

__all__ = ["Target", "targets"]

MODELS_MAX = 20


class Target(msgspec.Struct, frozen=True):
    """A model that may be asked: `provider_name` and `model` are the two halves of what the author wrote."""

    provider_name: str
    model: str
    provider: ModelProvider
    tier: str = ""
    """The service tier that is asked for; empty: the standard one."""
    attempts: int = 1
    """How often it is asked before the next one is."""
    hurries: bool = False
    """While a rate keeps it waiting the next one is asked."""
    account: str = ""
    """Which of its provider's keys it is asked with."""

    @property
    def name(self) -> str:
        return f"{self.provider_name}/{self.model}"

    @property
    def price(self) -> Price | None:
        """What the model costs; None: that, or what it costs at the tier that is asked for, is not known."""
        price = self.provider.price(self.model)
        return price if price is not None and price.at_tier(self.tier) is not None else None


def targets(
    models: Sequence[str | ModelEntry], providers: Mapping[str, ModelProvider], activity: str, tier: str = ""
) -> tuple[Target, ...]:
    """Return the models by their names, "provider/model", split at the first slash. Of two that are
    equal the first counts.

    Raises `Attempt` (`invalid_parameters`) for a name without its two halves, or of an unknown provider.
    """
    if not 1 <= len(models) <= MODELS_MAX:
        raise _invalid(f"{activity}: expected model to name 1 to {MODELS_MAX} models, got {len(models)}")
    found: dict[str, Target] = {}
    for one in models:
        entry = ModelEntry(one) if isinstance(one, str) else one
        name = entry.model
        provider_name, _, model = name.partition("/")
        if not provider_name or not model:
            raise _invalid(f'{activity}: expected model to be "provider/model", got {name!r}')
        if provider_name not in providers:
            known = ", ".join(sorted(providers))
            raise _invalid(
                f"{activity}: expected model {name!r} to begin with a provider of this process ({known}); "
                f"set HEADGATE_PROVIDER_{provider_name.upper()}_BASE_URL to add one"
            )
        provider = providers[provider_name]
        account = getattr(provider, "account", "")  # `HasAccounts`; to ask for that by `isinstance` takes longer
        hurries = entry.when_limited == "next"
        found.setdefault(name, Target(provider_name, model, provider, tier, entry.attempts, hurries, account))
    return tuple(found.values())


def _invalid(message: str) -> Attempt:
    return Attempt.failed("invalid_parameters", f"{message}.", retryable=False)
