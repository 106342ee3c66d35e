"""Headgate: a durable workflow engine for AI applications."""
