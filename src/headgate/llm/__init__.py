"""Providers of models, by adapters of our own, and what their models cost."""
