"""What the libraries beneath us may log: nothing below a warning, for their lower levels show headers, keys among them.

A logger whose level somebody has set is left as it is: who wants to see the wire asks for it by name.
"""

from __future__ import annotations

import logging

__all__ = ["quiet_libraries"]

LIBRARIES = ("httpcore2", "httpx2", "botocore", "urllib3")


def quiet_libraries() -> None:
    """Keep headers out of the logs of a process whose root logger is at a low level. Harmless when repeated."""
    for name in LIBRARIES:
        logger = logging.getLogger(name)
        if logger.level == logging.NOTSET:
            logger.setLevel(logging.WARNING)
