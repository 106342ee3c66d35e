"""`headgate doctor`: providers on loopback that answer, refuse, are silent or not there, and what is said of each."""

from __future__ import annotations

import io
import json
import os
import socket
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from headgate.cli import doctor_providers, exit_codes
from headgate.cli.doctor_models import ADDRESSES, doors
from headgate.cli.program import run_program
from headgate.llm import registry
from headgate.llm.provider_settings import VENDORS
from headgate.stores.ownership import Ownership

KEY = "sk-very-secret-7261"
MODELS = {"data": [{"id": "gpt-5"}, {"id": "gpt-5-nano"}, {"id": "text-embedding-3-small"}, {"id": "unpriced-x"}]}
ANSWER = {
    "model": "gpt-5-nano",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "ok"}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 20, "completion_tokens": 2, "total_tokens": 22},
}


class Provider(ThreadingHTTPServer):
    """A provider of models on loopback: `answers` by the end of the path; it takes `key`, if that is set."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Exchange)
        self.key = ""
        self.answers: dict[str, tuple[int, Any]] = {"/models": (200, MODELS), "/chat/completions": (200, ANSWER)}
        self.asked: list[str] = []
        self.keys: list[str] = []
        self.bodies: list[Any] = []
        self.barrier: threading.Barrier | None = None
        self.silent = threading.Event()
        self.silent.set()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def handle_error(self, *_: Any) -> None:
        """Whoever asked has hung up: that is what some tests are about."""


class _Exchange(BaseHTTPRequestHandler):
    server: Provider

    def do_GET(self) -> None:
        self.server.asked.append(f"{self.command} {self.path}")
        self.server.silent.wait(20)
        if self.server.barrier is not None:
            self.server.barrier.wait(20)
        given = " ".join(
            f"{name}: {self.headers[name]}"
            for name in ("Authorization", "api-key", "x-api-key", "x-goog-api-key", "x-team")
            if name in self.headers
        )
        self.server.keys.append(given)
        if self.server.key and not given.endswith(
            (f"Authorization: Bearer {self.server.key}", f"api-key: {self.server.key}")
        ):
            self.answer(401, {"error": {"message": f"Incorrect API key provided: {given}"}})
            return
        path = self.path.partition("?")[0]
        found = [answer for end, answer in self.server.answers.items() if path.endswith(end)]
        self.answer(*(found[0] if found else (404, {"error": {"message": "no such page"}})))

    def do_POST(self) -> None:
        self.server.bodies.append(json.loads(self.rfile.read(int(self.headers["content-length"]))))
        self.do_GET()

    def answer(self, status: int, body: Any) -> None:
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(raw)))
        self.end_headers()
        self.wfile.write(raw)

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@pytest.fixture
def provider() -> Iterator[Provider]:
    server = Provider()
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield server
    server.silent.set()
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def closed() -> Iterator[str]:
    """An address of this machine where nobody listens, for as long as the test takes."""
    with socket.socket() as kept:
        kept.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{kept.getsockname()[1]}"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, closed: str) -> Path:
    """A folder and an environment of its own, in which no address but those of the test is named."""
    for name in list(os.environ):
        if name.endswith(("_API_KEY", "_BASE_URL", "_ENDPOINT")) or name.startswith("HEADGATE_"):
            monkeypatch.delenv(name)
    for name in ADDRESSES:
        monkeypatch.setitem(ADDRESSES, name, closed)
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.chdir(tmp_path)
    return tmp_path


class Doctor:
    """Runs the verb; what it printed is kept, for no test may find the key in it."""

    def __init__(self, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
        self.capsys = capsys
        self.monkeypatch = monkeypatch
        self.code = -1
        self.printed = ""

    def __call__(self, *words: str, **variables: str) -> dict[str, dict[str, Any]]:
        """Return the findings by name."""
        for name, value in variables.items():
            self.monkeypatch.setenv(name, value)
        self.code = self.exit_code("doctor", "--json", *words)
        said = self.capsys.readouterr()
        self.printed = said.out + said.err
        return {finding["name"]: finding for finding in json.loads(said.out)}

    @staticmethod
    def exit_code(*words: str) -> int:
        with pytest.raises(SystemExit) as ended:
            run_program(list(words))
        assert isinstance(ended.value.code, int)
        return ended.value.code


@pytest.fixture
def doctor(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Doctor]:
    doctor = Doctor(capsys, monkeypatch)
    yield doctor
    assert KEY not in doctor.printed


# --- The list: free, and enough to know address and key -----------------------------------------------------------


def test_a_provider_that_takes_the_key_is_good_and_nothing_is_called(doctor: Doctor, provider: Provider):
    provider.key = KEY

    findings = doctor(OPENAI_BASE_URL=f"{provider.url}/v1", OPENAI_API_KEY=KEY)

    openai = findings["openai"]
    assert (openai["status"], openai["problem"], doctor.code) == ("good", "", 0)
    assert "with 4 models" in openai["text"]
    assert openai["milliseconds"] >= 0
    assert provider.asked == ["GET /v1/models"]


def test_before_it_calls_it_says_which_model_and_for_how_much(doctor: Doctor, provider: Provider):
    findings = doctor(OPENAI_BASE_URL=f"{provider.url}/v1", OPENAI_API_KEY=KEY)

    assert "`--call` asks gpt-5-nano for $0.0000" in findings["openai"]["text"]
    assert provider.bodies == []


def test_a_key_that_is_refused_is_bad_and_its_variable_is_named(doctor: Doctor, provider: Provider):
    provider.key = "another"

    findings = doctor(OPENAI_BASE_URL=f"{provider.url}/v1", OPENAI_API_KEY=KEY)

    openai = findings["openai"]
    assert (openai["status"], openai["problem"]) == ("bad", "authentication")
    assert "refuses the key (401): is OPENAI_API_KEY right" in openai["text"]
    assert doctor.code == exit_codes.UNAVAILABLE


def test_where_nobody_listens_the_address_is_named(doctor: Doctor, closed: str):
    findings = doctor(MISTRAL_BASE_URL=f"{closed}/v1", MISTRAL_API_KEY=KEY)

    assert (findings["mistral"]["status"], findings["mistral"]["problem"]) == ("bad", "connection_failed")
    assert closed.removeprefix("http://") in findings["mistral"]["text"]
    assert doctor.code == exit_codes.UNAVAILABLE


def test_who_is_silent_is_given_up_in_time(doctor: Doctor, provider: Provider):
    provider.silent.clear()

    findings = doctor("--timeout", "0.1", OPENAI_BASE_URL=provider.url, OPENAI_API_KEY=KEY)

    assert (findings["openai"]["status"], findings["openai"]["problem"]) == ("bad", "timed_out")
    assert "no answer within 0.1 s" in findings["openai"]["text"]


def test_providers_are_asked_side_by_side(doctor: Doctor, provider: Provider):
    provider.barrier = threading.Barrier(3)  # nobody is answered before all three have asked

    findings = doctor(
        "--timeout",
        "15",
        OPENAI_BASE_URL=f"{provider.url}/a",
        OPENAI_API_KEY=KEY,
        MISTRAL_BASE_URL=f"{provider.url}/b",
        MISTRAL_API_KEY=KEY,
        HEADGATE_PROVIDER_ACME_BASE_URL=f"{provider.url}/c",
    )

    assert [findings[name]["status"] for name in ("openai", "mistral", "acme")] == ["good"] * 3
    assert sorted(provider.asked) == ["GET /a/models", "GET /b/models", "GET /c/models"]


@pytest.mark.parametrize(
    ("status", "body", "verdict", "problem", "said"),
    [
        (429, {}, "note", "rate_limited", "lets nobody through now"),
        (503, {}, "bad", "provider_unavailable", "in trouble itself (503)"),
        (302, {}, "bad", "misconfigured", "is its base URL right?"),
        (200, b"<html>Welcome</html>", "bad", "malformed_response", "no list of models"),
        (200, {"data": "none"}, "bad", "malformed_response", "no list of models"),
        (404, {}, "note", "not_found", "has no list of models (404)"),
    ],
)
def test_each_other_answer_has_its_name(
    status: int, body: Any, verdict: str, problem: str, said: str, doctor: Doctor, provider: Provider
):
    provider.answers["/models"] = (status, body)

    acme = doctor(HEADGATE_PROVIDER_ACME_BASE_URL=provider.url)["acme"]

    assert (acme["status"], acme["problem"]) == (verdict, problem)
    assert said in acme["text"]


def test_a_key_that_no_header_can_carry_is_not_sent(doctor: Doctor, provider: Provider):
    findings = doctor(OPENAI_BASE_URL=provider.url, OPENAI_API_KEY=f"{KEY}\u2026")

    assert findings["openai"]["problem"] == "missing_key"
    assert provider.asked == []


def test_a_password_in_an_address_is_not_shown(doctor: Doctor, provider: Provider, closed: str):
    with_password = f"http://me:{KEY}@127.0.0.1:"

    findings = doctor(
        HEADGATE_PROVIDER_ACME_BASE_URL=f"{with_password}{provider.server_port}",
        HEADGATE_PROVIDER_GONE_BASE_URL=f"{with_password}{closed.rpartition(':')[2]}",
        HEADGATE_PROVIDER_ODD_BASE_URL=f"{with_password}port",
    )

    assert [findings[name]["problem"] for name in ("acme", "gone", "odd")] == ["", "connection_failed", "misconfigured"]


# --- What is missing -----------------------------------------------------------------------------------------------


def test_who_is_not_configured_is_only_noted_with_the_variables_to_set(doctor: Doctor):
    findings = doctor()

    assert [findings[name]["status"] for name in ("openai", "mistral", "azure", "ollama")] == ["note"] * 4
    assert findings["openai"]["missing"] == ["OPENAI_API_KEY"]
    assert findings["azure"]["missing"] == ["AZURE_OPENAI_ENDPOINT", "AZURE_OPENAI_API_KEY"]
    assert doctor.code == 0


def test_half_a_configuration_is_bad_and_the_other_half_is_named(doctor: Doctor):
    findings = doctor(AZURE_OPENAI_API_KEY=KEY, HEADGATE_PROVIDER_ACME_API_KEY=KEY)

    assert (findings["azure"]["problem"], findings["azure"]["missing"]) == (
        "missing_address",
        ["AZURE_OPENAI_ENDPOINT"],
    )
    assert findings["acme"]["missing"] == ["HEADGATE_PROVIDER_ACME_BASE_URL"]
    assert doctor.code == exit_codes.UNAVAILABLE


def test_one_of_your_own_that_wants_a_key_has_its_variable_named(doctor: Doctor, provider: Provider):
    provider.key = "wanted"

    acme = doctor(HEADGATE_PROVIDER_ACME_BASE_URL=provider.url)["acme"]

    assert (acme["problem"], acme["missing"]) == ("authentication", ["HEADGATE_PROVIDER_ACME_API_KEY"])


def test_ollama_is_found_where_it_usually_is(doctor: Doctor, provider: Provider, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(ADDRESSES, "ollama", provider.url)

    findings = doctor()

    assert findings["ollama"]["status"] == "good"
    assert provider.asked == ["GET /v1/models"]


def test_ollama_is_missed_only_where_somebody_named_its_address(doctor: Doctor, closed: str):
    assert doctor()["ollama"]["status"] == "note"
    assert doctor(OLLAMA_BASE_URL=closed)["ollama"]["status"] == "bad"


def test_offline_nobody_is_asked(doctor: Doctor, provider: Provider, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(ADDRESSES, "ollama", provider.url)

    findings = doctor("--offline", "--call", OPENAI_BASE_URL=provider.url, OPENAI_API_KEY=KEY)

    assert findings["openai"]["text"] == "configured, not tried (--offline)"
    assert provider.asked == []


# --- Models --------------------------------------------------------------------------------------------------------


def test_a_model_that_is_not_listed_is_bad_and_the_nearest_is_named(doctor: Doctor, provider: Provider):
    findings = doctor(
        "--model", "openai/gpt-5-nono", "--model", "openai/gpt-5", OPENAI_BASE_URL=provider.url, OPENAI_API_KEY=KEY
    )

    assert findings["openai/gpt-5"]["status"] == "good"
    assert findings["openai/gpt-5-nono"]["problem"] == "not_found"
    assert "did you mean openai/gpt-5-nano?" in findings["openai/gpt-5-nono"]["text"]


def test_a_model_of_nobody_is_refused_before_anybody_is_asked(doctor: Doctor, provider: Provider):
    code = doctor.exit_code("doctor", "--model", "acmee/x")

    assert code == exit_codes.INVALID


def test_a_call_goes_to_the_cheapest_model_that_writes_and_says_what_it_cost(doctor: Doctor, provider: Provider):
    findings = doctor("--call", OPENAI_BASE_URL=f"{provider.url}/v1", OPENAI_API_KEY=KEY)

    called = findings["openai/gpt-5-nano"]
    assert called["status"] == "good"
    assert "for $0.0000018" in called["text"]  # 20 tokens at 0.05 and 2 at 0.40 dollars a million
    assert provider.asked == ["GET /v1/models", "POST /v1/chat/completions"]
    assert (provider.bodies[0]["model"], provider.bodies[0]["max_completion_tokens"]) == ("gpt-5-nano", 16)


@pytest.mark.parametrize(
    ("status", "problem"),
    [(404, "not_found"), (401, "authentication"), (400, "invalid_request"), (429, "rate_limited")],
)
def test_a_call_that_fails_says_why_and_is_made_once(status: int, problem: str, doctor: Doctor, provider: Provider):
    provider.answers["/chat/completions"] = (status, {"error": {"message": f"no, {KEY}"}})

    findings = doctor(
        "--call", "--model", "acme/m", HEADGATE_PROVIDER_ACME_BASE_URL=provider.url, HEADGATE_PROVIDER_ACME_API_KEY=KEY
    )

    assert (findings["acme/m"]["status"], len(provider.bodies)) == ("bad", 1)
    assert findings["acme/m"]["problem"] == problem
    assert doctor.code == exit_codes.UNAVAILABLE


def test_a_provider_without_a_list_is_called_when_a_model_of_it_is_named(doctor: Doctor, provider: Provider):
    provider.answers["/models"] = (404, {})

    noted = doctor("--model", "acme/m", HEADGATE_PROVIDER_ACME_BASE_URL=provider.url)
    called = doctor("--model", "acme/m", "--call")

    assert "`--call --model acme/m` tries one for a price that is not known" in noted["acme"]["text"]
    assert called["acme/m"]["status"] == "good"
    assert len(provider.bodies) == 1


# --- The doors are those that calls go through ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "variables"),
    [
        ("openai", {"OPENAI_BASE_URL": "@/v1/", "OPENAI_API_KEY": KEY}),
        ("mistral", {"MISTRAL_BASE_URL": "@/v1", "MISTRAL_API_KEY": KEY}),
        ("azure", {"AZURE_OPENAI_ENDPOINT": "@/", "AZURE_OPENAI_API_KEY": KEY}),
        ("acme", {"HEADGATE_PROVIDER_ACME_BASE_URL": "@/api/v3/", "HEADGATE_PROVIDER_ACME_API_KEY": KEY}),
        ("ollama", {"OLLAMA_BASE_URL": "@"}),
        ("openai", {"HEADGATE_PROVIDER_OPENAI_BASE_URL": "@/mine", "OPENAI_API_KEY": "not this one"}),
    ],
)
def test_the_list_is_asked_for_where_and_as_calls_are_made(
    name: str, variables: dict[str, str], doctor: Doctor, provider: Provider
):
    provider.key = "" if name == "ollama" or "HEADGATE_PROVIDER_OPENAI_BASE_URL" in variables else KEY

    findings = doctor(
        "--call", "--model", f"{name}/m", **{key: value.replace("@", provider.url) for key, value in variables.items()}
    )

    listed, called = provider.asked
    assert findings[name]["status"] == "good"
    assert findings[f"{name}/m"]["status"] == "good"
    assert provider.keys[0] == provider.keys[1]
    assert listed.removeprefix("GET ").removesuffix("/models") == called.removeprefix("POST ").removesuffix(
        "/chat/completions"
    )


def test_anthropic_and_google_are_asked_for_their_lists_in_their_own_words(doctor: Doctor, provider: Provider):
    provider.answers = {
        "/v1/models": (200, {"data": [{"id": "claude-haiku-4-5", "type": "model"}]}),
        "/v1beta/models": (200, {"models": [{"name": "models/gemini-2.5-flash"}]}),
    }

    findings = doctor(
        "--model",
        "google/gemini-2.5-flash",
        "--model",
        "anthropic/claude-haiku-4-6",
        ANTHROPIC_BASE_URL=provider.url,
        ANTHROPIC_API_KEY=KEY,
        HEADGATE_PROVIDER_ANTHROPIC_HEADERS='{"x-team": "blue"}',
        GOOGLE_BASE_URL=f"{provider.url}/v1beta",
        GEMINI_API_KEY=KEY,
    )

    assert sorted(provider.asked) == ["GET /v1/models?limit=1000", "GET /v1beta/models?pageSize=1000"]
    assert sorted(provider.keys) == [f"x-api-key: {KEY} x-team: blue", f"x-goog-api-key: {KEY}"]
    assert (findings["anthropic"]["status"], findings["google"]["status"]) == ("good", "good")
    assert findings["google/gemini-2.5-flash"]["text"] == "is listed"
    assert "did you mean anthropic/claude-haiku-4-5?" in findings["anthropic/claude-haiku-4-6"]["text"]


def test_bedrock_says_whose_credentials_it_would_use(doctor: Doctor, monkeypatch: pytest.MonkeyPatch):
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION", "AWS_BEARER_TOKEN_BEDROCK", "AWS_ACCESS_KEY_ID", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)

    nobody = doctor("--offline")["bedrock"]["text"]
    monkeypatch.setattr(doctor_providers, "find_spec", lambda name: None)
    without_chain = doctor("--offline", AWS_REGION="eu-central-1")["bedrock"]["text"]
    somebody = doctor("--offline", AWS_REGION="eu-central-1", AWS_BEARER_TOKEN_BEDROCK=KEY)["bedrock"]["text"]

    assert "set AWS_REGION" in nobody
    assert without_chain.startswith("credentials of AWS’s files (its chain needs botocore) in eu-central-1")
    assert somebody.startswith("AWS_BEARER_TOKEN_BEDROCK in eu-central-1")


def test_a_dated_version_of_azure_stands_in_the_address():
    found = doors(
        {"AZURE_OPENAI_ENDPOINT": "https://x", "AZURE_OPENAI_API_KEY": "k", "AZURE_OPENAI_API_VERSION": "2024"}
    )

    assert found["azure"].url == "https://x/openai/models?api-version=2024"


def test_where_nothing_is_said_the_addresses_are_those_of_calls(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.undo()

    assert {name: vendor.default for name, vendor in VENDORS.items() if vendor.default} == ADDRESSES


def test_each_vendor_that_can_be_called_has_a_door():
    vendors = set(registry.build_providers({})) - {"demo", "bedrock"}  # Bedrock has its list at another address

    assert vendors <= set(doors({}))


# --- Everything else -----------------------------------------------------------------------------------------------


def test_the_form_of_the_findings_is_the_same_for_all(doctor: Doctor):
    findings = doctor("--offline")

    fields = {tuple(finding) for finding in findings.values()}
    assert fields == {("name", "status", "text", "problem", "missing", "milliseconds")}
    assert {"python", "sqlite", "extra docs", "extra postgres", "extra std", "database", "state", "retention"} <= set(
        findings
    )


def test_retention_and_schedules_are_those_of_this_folder(doctor: Doctor, folder: Path):
    (folder / "say.yaml").write_text("name: say\nactivities:\n  a: {use: echo, with: {x: 1}}\n")
    assert "schedules" not in doctor("--offline")
    doctor.exit_code("run", "say.yaml", "--quiet")
    doctor.capsys.readouterr()

    findings = doctor("--offline", HEADGATE_RETENTION="90d")

    assert "for 90 d" in findings["retention"]["text"]
    assert findings["schedules"]["text"] == "0"
    assert findings["state"]["status"] == "good"


def test_a_retention_that_cannot_be_read_is_bad(doctor: Doctor):
    findings = doctor("--offline", HEADGATE_RETENTION="soon")

    assert findings["retention"]["status"] == "bad"
    assert doctor.code == exit_codes.UNAVAILABLE


def test_settings_that_no_server_could_begin_with_are_bad_and_a_misspelt_one_is_noted(doctor: Doctor):
    findings = doctor("--offline", HEADGATE_PORT="http", HEADGATE_KEY="short")

    assert findings["settings"]["status"] == "bad"
    assert "HEADGATE_PORT: expected" in findings["settings"]["text"]
    assert (findings["key"]["status"], doctor.code) == ("bad", exit_codes.UNAVAILABLE)
    noted = doctor("--offline", HEADGATE_PROT="80")["settings"]
    assert (noted["status"], "Did you mean 'HEADGATE_PORT'?" in noted["text"]) == ("note", True)


def test_a_key_that_does_not_open_what_is_kept_is_bad(doctor: Doctor, folder: Path, monkeypatch: pytest.MonkeyPatch):
    assert doctor("--offline")["key"]["status"] == "note"
    assert not (folder / ".headgate").exists(), "looking makes nothing"
    doctor.exit_code("key", "rotate", "--quiet")
    monkeypatch.setattr("sys.stdin", io.StringIO("a-t0ken-of-length-31"))
    doctor.exit_code("secret", "set", "token", "--quiet")
    doctor.capsys.readouterr()

    good = doctor("--offline")["key"]
    other = doctor("--offline", HEADGATE_KEY="A" * 43 + "=")["key"]
    (folder / ".headgate" / "key").chmod(0o644)
    seen = doctor("--offline", HEADGATE_KEY="")["key"]

    assert (good["status"], "opens all 2 secrets" in good["text"]) == ("good", True)
    assert (other["status"], "2 of 2 secrets" in other["text"]) == ("bad", True)
    assert (seen["status"], "may be read by others" in seen["text"]) == ("bad", True)


def test_it_is_said_how_much_an_older_key_is_still_needed_for(doctor: Doctor, folder: Path):
    for words in (
        ("key", "rotate"),
        ("webhooks", "add", "https://ann:hush@example.org/"),
        ("hooks", "add", "push", "--signal", "pushed", "--unique-key", "{{ BODY.repo }}"),
    ):
        assert doctor.exit_code(*words, "--quiet") == 0
    old = (folder / ".headgate" / "key").read_text().strip()
    new = "B" * 43 + "="
    doctor.capsys.readouterr()

    before = doctor("--offline")["key"]
    added = doctor("--offline", HEADGATE_KEY=f"{new},{old}")["key"]
    without = doctor("--offline", HEADGATE_KEY=new)["key"]

    assert before["text"].endswith("opens all 4 secrets and keys")
    assert (added["status"], "keep the older keys, which have sealed 4 of them" in added["text"]) == ("good", True)
    assert (without["status"], "4 of 4 secrets and keys" in without["text"]) == ("bad", True)


def test_when_all_is_sealed_anew_the_older_key_may_go(doctor: Doctor, folder: Path, monkeypatch: pytest.MonkeyPatch):
    assert doctor.exit_code("key", "rotate", "--quiet") == 0
    doctor.capsys.readouterr()
    assert doctor.exit_code("webhooks", "add", "https://ann:hush@example.org/", "--json") == 0
    webhook = json.loads(doctor.capsys.readouterr().out)["id"]
    new = "B" * 43 + "="
    monkeypatch.setenv("HEADGATE_KEY", f"{new},{(folder / '.headgate' / 'key').read_text().strip()}")

    assert doctor.exit_code("key", "rotate", "--quiet") == 0
    assert doctor.exit_code("webhooks", "enable", webhook, "--quiet") == 0
    doctor.capsys.readouterr()

    alone = doctor("--offline", HEADGATE_KEY=new)["key"]
    assert (alone["status"], alone["text"].endswith("opens all 3 secrets and keys")) == ("good", True)


def test_a_call_that_nobody_answers_is_given_up_in_time(doctor: Doctor, provider: Provider):
    provider.silent.clear()

    findings = doctor("--call", "--model", "acme/m", "--timeout", "0.2", HEADGATE_PROVIDER_ACME_BASE_URL=provider.url)

    assert (findings["acme"]["problem"], findings["acme/m"]["problem"]) == ("timed_out", "timed_out")


# --- The port --------------------------------------------------------------------------------------------------------


def test_a_port_that_is_free_is_good_and_is_free_afterwards(doctor: Doctor):
    with socket.socket() as elsewhere:
        elsewhere.bind(("127.0.0.1", 0))
        port = str(elsewhere.getsockname()[1])

    findings = [doctor("--offline", HEADGATE_PORT=port)["port"] for _ in range(2)]

    assert [found["status"] for found in findings] == ["good", "good"]
    assert f"127.0.0.1:{port} is free" in findings[0]["text"]


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux says whose a port is")
def test_whoever_holds_the_port_is_named_and_the_owner_of_the_database_may(
    doctor: Doctor, provider: Provider, folder: Path
):
    port = str(provider.server_port)

    held = doctor("--offline", HEADGATE_PORT=port)["port"]
    (folder / ".headgate").mkdir()
    with Ownership.take(folder / ".headgate" / "headgate.db"):
        owned = doctor("--offline")["port"]

    assert (held["status"], doctor.code) == ("note", 0)
    assert f"process {os.getpid()} (" in held["text"]
    assert "HEADGATE_PORT" in held["text"]
    assert (owned["status"], "which owns the database" in owned["text"]) == ("good", True)


def test_an_address_of_another_machine_is_bad_where_it_was_named(doctor: Doctor):
    found = doctor("--offline", HEADGATE_HOST="203.0.113.7")["port"]

    assert found["status"] == "bad"
    assert "203.0.113.7 cannot be taken" in found["text"]
    assert doctor.code == exit_codes.UNAVAILABLE


def test_a_port_that_is_none_is_told_once_with_the_settings(doctor: Doctor):
    findings = doctor("--offline", HEADGATE_PORT="70000")

    assert "HEADGATE_PORT" in findings["settings"]["text"]
    assert "port" not in findings


# --- A server that runs ----------------------------------------------------------------------------------------------


def health(**checks: Any) -> tuple[int, dict[str, Any]]:
    return 200, {"status": "ok", "version": "9.9", "checks": checks}


def test_a_server_is_asked_how_its_parts_are_and_nothing_else_is_looked_at(doctor: Doctor, provider: Provider):
    late = {"status": "degraded", "message": "7 events are not in the feed yet"}
    provider.answers["/health"] = health(database={"status": "ok"}, feed=late)

    findings = doctor("--server", f"{provider.url}/api/v1")

    assert doctor.code == exit_codes.COMPLETED
    assert {name: (found["status"], found["text"]) for name, found in findings.items()} == {
        "server": ("good", f"{provider.url}/api/v1 answers, Headgate 9.9"),
        "database": ("good", "ok"),
        "feed": ("note", "7 events are not in the feed yet"),
    }
    assert provider.asked == ["GET /api/v1/health"]


def test_a_server_of_which_a_part_fails_is_not_well(doctor: Doctor, provider: Provider):
    provider.answers["/health"] = health(database={"status": "failing", "message": "It went away."})

    findings = doctor("--server", provider.url)

    assert doctor.code == exit_codes.UNAVAILABLE
    assert (findings["database"]["status"], findings["database"]["text"]) == ("bad", "It went away.")


@pytest.mark.parametrize("answer", [{}, [], "ok", b"<html>", {"version": "1", "checks": {"database": {}}}])
def test_what_answers_otherwise_than_a_server_of_ours_is_bad(answer: Any, doctor: Doctor, provider: Provider):
    provider.answers["/health"] = (200, answer)

    findings = doctor("--server", provider.url)

    assert doctor.code == exit_codes.UNAVAILABLE
    assert findings["server"]["status"] == "bad"
    assert "not as a Headgate server" in findings["server"]["text"]


def test_where_nobody_answers_it_says_so(doctor: Doctor, closed: str):
    findings = doctor("--server", closed)

    assert doctor.code == exit_codes.UNAVAILABLE
    assert "does not answer" in findings["server"]["text"]


def test_a_server_must_be_named_by_its_address(doctor: Doctor):
    assert doctor.exit_code("doctor", "--server", "127.0.0.1:8720") == exit_codes.INVALID
