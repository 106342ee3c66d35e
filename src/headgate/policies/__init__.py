"""Policies: what is checked before a model call and on its answer. They know ports and values, no engine."""
