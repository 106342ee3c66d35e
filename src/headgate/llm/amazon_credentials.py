"""Whose key signs requests to AWS, and in which region: from the environment, from AWS's own files, or from its chain.

The environment and keys that stand in a file are read here. What has to be asked for (roles of instances, containers
and clusters, sign-on, other programs) is AWS's trade: where `botocore` is installed, its chain is asked, in a thread,
and again before a key runs out.
"""

from __future__ import annotations

import asyncio
import configparser
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from headgate.llm.amazon_signing import Credentials
from headgate.llm.provider_errors import refused_here

__all__ = ["AmazonAccount"]

KEPT_SECONDS_MAX = 60.0
"""How long credentials are used that may change; AWS's chain renews a key ten minutes before it runs out."""
ASKED_FOR = (
    "role_arn",
    "sso_session",
    "sso_start_url",
    "credential_process",
    "login_session",
    "web_identity_token_file",
)
"""Settings of a profile by which its key is asked for, and does not stand there."""
Profile = Mapping[str, str]


class AmazonAccount:
    """What `AWS_…` variables say of region and credentials, and what they lead to."""

    def __init__(self, variables: Mapping[str, str]) -> None:
        self._variables = variables
        self._region = ""
        self._found: Credentials | None = None
        self._found_at = 0.0
        self._chain: Any = None

    @property
    def region(self) -> str:
        """The region. Raises `ProviderError` (`missing_address`) where nobody says it."""
        if not self._region:
            own = self._variables.get("AWS_REGION") or self._variables.get("AWS_DEFAULT_REGION")
            self._region = own or self._profile().get("region", "")
        if not self._region:
            raise refused_here(
                "missing_address",
                "bedrock was not asked: it is not known in which region. Set AWS_REGION in the environment.",
            )
        return self._region

    @property
    def secrets(self) -> tuple[str, ...]:
        """What may not be seen in errors."""
        names = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")
        own = tuple(self._variables.get(name, "") for name in names)
        found = () if self._found is None else (self._found.key_id, self._found.secret, self._found.token)
        return tuple(filter(None, (*own, *found)))

    async def credentials(self) -> Credentials:
        """Return whose key signs now. Raises `ProviderError` (`missing_key`) where there is none."""
        fixed = _key_in({name.lower(): value for name, value in self._variables.items()})
        if fixed is not None:
            return fixed
        if self._found is None or time.monotonic() - self._found_at > KEPT_SECONDS_MAX:
            self._found = await asyncio.to_thread(self._look_further)
            self._found_at = time.monotonic()
        return self._found

    def _look_further(self) -> Credentials:
        if "AWS_WEB_IDENTITY_TOKEN_FILE" not in self._variables:
            profile = self._profile()
            found = None if any(name in profile for name in ASKED_FOR) else _key_in(profile)
            if found is not None:
                return found
        found = self._ask_chain()
        if found is None:
            raise refused_here(
                "missing_key",
                "bedrock was not asked: there are no credentials of AWS. Set AWS_BEARER_TOKEN_BEDROCK, or "
                "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE, in the environment of the process that "
                "makes model calls; roles of instances and containers, and sign-on, are asked for where botocore is "
                "installed (pip install headgate[bedrock]).",
            )
        return found

    def _ask_chain(self) -> Credentials | None:
        """Ask AWS's chain, as its SDK would. It may ask the network, for some seconds."""
        try:
            from botocore.exceptions import BotoCoreError
            from botocore.session import Session
        except ImportError:
            return None
        try:
            if self._chain is None:
                self._chain = Session(profile=self._variables.get("AWS_PROFILE")).get_credentials()
            frozen = None if self._chain is None else self._chain.get_frozen_credentials()
        except (BotoCoreError, OSError) as error:  # a program that is asked may not be there
            raise refused_here(
                "missing_key", f"bedrock was not asked: AWS's credentials cannot be read ({error})."
            ) from None
        return None if frozen is None else Credentials(frozen.access_key, frozen.secret_key, frozen.token or "")

    def _profile(self) -> Profile:
        """Return what AWS's files say of the profile; its section of credentials wins."""
        name = self._variables.get("AWS_PROFILE") or self._variables.get("AWS_DEFAULT_PROFILE") or "default"
        section = name if name == "default" else f"profile {name}"
        settings = _read(self._variables.get("AWS_CONFIG_FILE", "~/.aws/config"), section)
        return {**settings, **_read(self._variables.get("AWS_SHARED_CREDENTIALS_FILE", "~/.aws/credentials"), name)}


def _read(path: str, section: str) -> Profile:
    """Return a section of a file of AWS's; nothing where there is none, or none that can be read."""
    parser = configparser.RawConfigParser(strict=False)
    with suppress(OSError, RuntimeError, UnicodeDecodeError, configparser.Error):
        parser.read_string(Path(path).expanduser().read_text("utf-8"))
        return dict(parser.items(section))
    return {}


def _key_in(settings: Mapping[str, str]) -> Credentials | None:
    key_id, secret = settings.get("aws_access_key_id", ""), settings.get("aws_secret_access_key", "")
    return Credentials(key_id, secret, settings.get("aws_session_token", "")) if key_id and secret else None
