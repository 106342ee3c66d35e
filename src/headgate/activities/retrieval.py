"""The activities for working with documents and what was said: reading, splitting, indexing, searching, remembering."""

from __future__ import annotations

from pathlib import Path

from headgate.activities.conversation import conversation
from headgate.activities.document_text import document_text
from headgate.activities.text_split import text_split
from headgate.activities.vector_index import vector_index
from headgate.activities.vector_search import vector_search
from headgate.ports import NO_GUARDS, ActivityFunction, Guards, Providers

__all__ = ["retrieval_activities"]


def retrieval_activities(providers: Providers, folder: Path, guards: Guards = NO_GUARDS) -> dict[str, ActivityFunction]:
    """Return the activities by name. What they keep lies in `folder`, which is made when something is first kept."""
    return {
        "conversation": conversation(providers, folder, guards),
        "document_text": document_text(folder),
        "text_split": text_split(folder),
        "vector_index": vector_index(providers, folder, guards),
        "vector_search": vector_search(providers, folder, guards),
    }
