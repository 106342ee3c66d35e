"""Who asks, and how that is known: programs and people, their tokens, and what was done by those who may do all."""

from headgate.api.auth.auth import Auth

__all__ = ["Auth"]
