"""Secrets that give themselves away: by the shapes that issuers give them, in an address, as a block."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator

from headgate.policies.key_values import KIND, is_odd, is_placed, is_random
from headgate.policies.placeholders import is_within_placeholder
from headgate.policies.scrubber import Span

__all__ = ["BLOCK_LENGTH_MAX", "shaped_keys"]

RUN = re.compile(r"[A-Za-z0-9_.:+/=~-]{12,}")
SHAPES = re.compile(
    r"(?<![A-Za-z0-9])(?:"
    r"sk-[A-Za-z0-9_-]{16,}|(?:sk|rk|pk)_(?:live|test|prod)_[A-Za-z0-9]{8,}|whsec_[A-Za-z0-9+/=]{8,}|"
    r"(?:AKIA|ASIA|ABIA|ACCA|AROA|AIDA)[A-Z0-9]{12,20}|"
    r"gh[pousr]_[A-Za-z0-9]{16,}|github_pat_[A-Za-z0-9_]{20,}|gl(?:pat|dt|rt|cbt|ptt|ft|soat)-[A-Za-z0-9_-]{12,}|"
    r"xox[a-z]-[A-Za-z0-9-]{8,}|xapp-[A-Za-z0-9-]{8,}|AIza[A-Za-z0-9_-]{24,}|ya29\.[A-Za-z0-9_-]{8,}|"
    r"GOCSPX-[A-Za-z0-9_-]{8,}|SG\.[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}|npm_[A-Za-z0-9]{16,}|"
    r"pypi-[A-Za-z0-9_-]{16,}|hf_[A-Za-z0-9]{16,}|do[opr]_v1_[A-Za-z0-9]{16,}|shp(?:at|ca|pa|ss)_[A-Za-z0-9]{8,}|"
    r"sq0(?:atp|csp)-[A-Za-z0-9_-]{8,}|EAA[A-Za-z0-9]{24,}|key-[0-9a-zA-Z]{24,}|(?:AC|SK)[0-9A-Za-z]{32}(?![0-9A-Za-z])|HRKU-[A-Za-z0-9_-]{16,}|1//0[A-Za-z0-9_-]{16,}|(?<![A-Za-z0-9_-])[A-Za-z0-9_-]{8,64}:APA91[A-Za-z0-9_-]{20,}|"
    r"lin_(?:api|oauth)_[A-Za-z0-9]{8,}|fig[du]_[A-Za-z0-9_-]{8,}|AT[AC]TT[A-Za-z0-9_=-]{16,}|"
    r"dckr_(?:pat|oat)_[A-Za-z0-9_-]{8,}|rubygems_[A-Za-z0-9]{8,}|gls?[ac]_[A-Za-z0-9_+/=-]{8,}|"
    r"NRA[KL]-[A-Z0-9]{8,}|NRJS-[A-Za-z0-9]{8,}|sntry[su]_[A-Za-z0-9+/=_-]{8,}|pat-[a-z]{2,3}[0-9]-[0-9A-Za-z-]{8,}|"
    r"xai-[A-Za-z0-9]{16,}|gsk_[A-Za-z0-9]{16,}|r8_[A-Za-z0-9]{16,}|pplx-[A-Za-z0-9]{16,}|tvly-[A-Za-z0-9-]{12,}|"
    r"AGE-SECRET-KEY-1[A-Z0-9]{16,}|hv[sbr]\.[A-Za-z0-9_-]{12,}|nfp_[A-Za-z0-9]{12,}|fm[12][ar]?_[A-Za-z0-9+/=_-]{12,}|fo1_[A-Za-z0-9_-]{12,}|"
    r"(?:bot)?[0-9]{8,10}:[A-Za-z0-9_-]{30,}|eyJ[A-Za-z0-9_-]{6,}\.[A-Za-z0-9_-]{4,}(?:\.[A-Za-z0-9_-]*)*|"
    r"(?:sdk|mob|api|key|tok|pat|sk|pk)-[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}|"
    r"[0-9A-Za-z]{32}-us[0-9]{1,2}|v[1-4]\.(?:local|public)\.[A-Za-z0-9_-]{8,}|"
    r"(?=[A-Z0-9-]{0,40}[0-9])(?=[0-9-]{0,40}[A-Z])(?:[A-Z0-9]{4,6}-){2,5}[A-Z0-9]{4,6}(?![A-Za-z0-9-])|"
    r"[MNO][A-Za-z0-9_-]{22,27}\.[A-Za-z0-9_-]{6}\.[A-Za-z0-9_-]{27,40}|"
    r"(?:LTAI|AKID|GOOG|AQVN|YC[A-Z]{2}|DO00|K00[0-9])[A-Za-z0-9_-]{12,}|sl\.[A-Za-z0-9_-]{20,}|0x[0-9a-fA-F]{64}|"
    r"[0-9]/[0-9]{8,}:[A-Za-z0-9]{16,}|(?<![A-Za-z0-9_.-])(?=[A-Za-z0-9_.-]{0,60}[0-9][A-Za-z0-9_.-]{0,60}[0-9])(?=[a-z0-9_.-]{0,60}[A-Z])(?=[A-Z0-9_.-]{0,60}[a-z])"
    r"(?:[A-Za-z0-9_-]{10,400}\.[A-Za-z0-9_-]{4,400}\.[A-Za-z0-9_-]{16,}|[A-Za-z0-9_-]{14,200}\.[A-Za-z0-9_-]{30,})|"
    # what many use: a short word, _ or -, and a long run in which there are digits
    r"(?!sha[0-9]{3}-)[A-Za-z][A-Za-z0-9]{1,9}(?:[_-][A-Za-z0-9]{1,8}){0,2}[_-](?=[A-Za-z]{0,60}[0-9])(?=[0-9]{0,60}[A-Za-z])[A-Za-z0-9]{20,}"
    r")"
)
HOOKS = re.compile(
    r"(?:https?://)?(?:hooks\.[\w.-]+|(?:[a-z]+\.)?discord(?:app)?\.com/api/webhooks|(?:[\w-]+\.)*webhooks?\.[\w.-]+|"
    r"[\w-]+(?:\.[\w-]+)*\.logic\.azure\.com|maker\.ifttt\.com/trigger|hc-ping\.com|events\.pagerduty\.com/integration|oapi\.dingtalk\.com/robot|api\.telegram\.org/bot|hook\.[a-z0-9.]*make\.com|"
    r"chat\.googleapis\.com/v1/spaces|outlook\.office\.com/webhook|[\w.:-]+/(?:[\w.-]+/){0,4}(?:incoming-)?(?:web)?hooks?(?=/))"
    r"/?[^\s\"'<>)\]]{8,}"
)
HOOK_HOSTS = (
    "hc-ping.com/",
    "events.pagerduty.com/integration",
    "oapi.dingtalk.com/robot",
    ".logic.azure.com",
    "maker.ifttt.com/trigger",
    "api.telegram.org/bot",
    "chat.googleapis.com/v1/spaces",
)
"""What has none of these has the word itself in it."""
NO_SPACES = re.compile(r"\S{12,}")
TOKEN_IN_ADDRESS = re.compile(r"://([A-Za-z0-9_.-]{12,100})@(?=[\w\[<])")
IN_ADDRESS = re.compile(r"://[^\s:/@\"'<>]{0,100}:([^\s/\"'<>]{1,200})@(?=[\w\[<])")
BLOCK = re.compile(r"-{4,5} ?BEGIN [A-Z0-9 ]{0,40}(?:PRIVATE KEY(?: BLOCK)?|OpenVPN Static key V1) ?-{4,5}")
BLOCK_END = re.compile(r"-{4,5} ?END [A-Z0-9 ]{0,40}(?:PRIVATE KEY(?: BLOCK)?|OpenVPN Static key V1) ?-{4,5}")
BLOCK_BODY = re.compile(r"(?:[A-Za-z0-9+/=:,.\-]|\s|\\[nr])*")
BLOCK_LENGTH_MAX = 20_000
TOKEN = re.compile(
    r"(?<![+/.])[A-Za-z0-9_~-]{24,200}(?![A-Za-z0-9+/_=-])|(?<![A-Za-z0-9+/=])[A-Za-z0-9/+]{40}(?![A-Za-z0-9+/=])"
)


def shaped_keys(text: str) -> Iterator[Span]:
    """Yield what can be told to be a secret whatever stands around it."""
    yield from _shapes(text)
    if "BEGIN " in text:
        yield from _blocks(text)
    if "hook" in text or ("://" in text and any(host in text for host in HOOK_HOSTS)):
        yield from _hooks(text)
    if "://" in text:
        yield from (Span(*one.span(1), KIND) for one in IN_ADDRESS.finditer(text) if not is_placed(one[1]))
        yield from (Span(*one.span(1), KIND) for one in TOKEN_IN_ADDRESS.finditer(text) if is_odd(one[1]))


def _shapes(text: str) -> Iterator[Span]:
    for run in RUN.finditer(text):
        if is_within_placeholder(text, *run.span()):
            continue
        for one in SHAPES.finditer(text, *run.span()):
            yield Span(*one.span(), KIND)
        for one in TOKEN.finditer(text, *run.span()):
            if is_random(one[0], text, one.start()):
                yield Span(*one.span(), KIND)


def _hooks(text: str) -> Iterator[Span]:
    for run in NO_SPACES.finditer(text):
        if "hook" in run[0] or any(host in run[0] for host in HOOK_HOSTS):
            yield from (Span(*one.span(), KIND) for one in HOOKS.finditer(text, *run.span()))


def _blocks(text: str) -> Iterator[Span]:
    ends = [end.end() for end in BLOCK_END.finditer(text)]
    at = 0
    for begun in BLOCK.finditer(text):
        if begun.start() < at:
            continue
        number = bisect_right(ends, begun.end())
        if number < len(ends) and ends[number] - begun.end() <= BLOCK_LENGTH_MAX:
            at = ends[number]
        else:
            body = BLOCK_BODY.match(text, begun.end(), begun.end() + BLOCK_LENGTH_MAX)
            assert body is not None
            at = body.end()
        yield Span(begun.start(), at, KIND)
