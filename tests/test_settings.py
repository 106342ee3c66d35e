"""Settings come from the environment or from a file, and whatever is wrong with them is said at once."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.conftest import SOURCE

from headgate.cli.program import run_program
from headgate.core.errors import Invalid
from headgate.settings import (
    NOT_SETTINGS,
    SETTINGS,
    checked_environment,
    effective,
    is_on,
    listed,
    strangers,
    variables_in,
)

Verb = Callable[..., tuple[int, str, str]]


def test_a_file_says_what_variables_say():
    found = variables_in("""
        retention = "90d"
        policies = ["pii", "secrets"]
        circuit_failures = 7
        [serve]
        port = 443
        allow_demo = true
        cors_origins = ["https://a.example", "https://b.example"]
        [providers.acme]
        base_url = "https://models.acme.example/v1"
        timeout = 2.5
        headers = {"X-Team" = "blue"}
        [secrets]
        mail = "x"
    """)

    assert found == {
        "HEADGATE_RETENTION": "90d",
        "HEADGATE_POLICIES": "pii,secrets",
        "HEADGATE_CIRCUIT_FAILURES": "7",
        "HEADGATE_PORT": "443",
        "HEADGATE_ALLOW_DEMO": "true",
        "HEADGATE_CORS_ORIGINS": "https://a.example,https://b.example",
        "HEADGATE_PROVIDER_ACME_BASE_URL": "https://models.acme.example/v1",
        "HEADGATE_PROVIDER_ACME_TIMEOUT": "2.5",
        "HEADGATE_PROVIDER_ACME_HEADERS": '{"X-Team":"blue"}',
        "HEADGATE_SECRET_MAIL": "x",
    }
    checked_environment(found)


def test_everything_that_is_wrong_in_a_file_is_said_at_once_without_its_secrets():
    with pytest.raises(Invalid) as found:
        variables_in(
            """
            retension = "90d"
            retention = "soon"
            key = 17
            prices = true
            [serve]
            port = 70000
            allow_demo = "yes please"
            cors_origins = "https://a.example"
            tls_cert = ["a"]
            [serve.more]
            x = 1
            [providers.acme]
            api_key = 12345
            """,
            "headgate.toml",
        )

    said = found.value.message
    assert "There is no setting 'retension'. Did you mean 'retention'?" in said
    assert "retention: expected a duration such as 30d, or forever, got 'soon'." in said
    assert "serve.port: expected a whole number up to 65535, got 70000." in said
    assert "serve.allow_demo: expected true or false, got 'yes please'." in said
    assert "serve.tls_cert: expected a text, got ['a']." in said
    assert "There is no setting 'serve.more.x'." in said
    assert "key: expected a list of texts, got something else" in said
    assert "12345" not in said
    assert "prices: expected a text, got True." in said
    assert len(found.value.problems) == 9, "a list of one may be written as a text"


@pytest.mark.parametrize("text", ["a", "= 1", "[" * 5_000, 'a = "\x00"'])
def test_what_is_no_toml_is_refused(text: str):
    with pytest.raises(Invalid, match="is not TOML"):
        variables_in(text)


def test_everything_that_is_wrong_in_the_environment_is_said_at_once():
    with pytest.raises(Invalid) as found:
        checked_environment(
            {"HEADGATE_PORT": "http", "HEADGATE_OIDC_ISSUER": "acme", "HEADGATE_ALLOW_DEMO": "", "PORT": "x"}
        )

    assert [problem.path for problem in found.value.problems] == ["HEADGATE_OIDC_ISSUER", "HEADGATE_PORT"]


def test_a_variable_that_means_nothing_is_told_with_the_nearest():
    assert strangers({"HEADGATE_RETENTON": "1d", "HEADGATE_SECRET_X": "1", "HEADGATE_TRACE_ID": "1", "PATH": ""}) == [
        "HEADGATE_RETENTON is set and means nothing. Did you mean 'HEADGATE_RETENTION'?"
    ]


def test_what_holds_is_told_with_where_it_comes_from_and_without_secrets():
    in_file = {"HEADGATE_RETENTION": "90d", "HEADGATE_PORT": "1"}
    environment = in_file | {"HEADGATE_PORT": "2", "HEADGATE_SECRET_MAIL": "hush", "HEADGATE_KEY": "hush"}

    found = {one.path: one for one in effective(environment, in_file)}

    assert (found["retention"].value, found["retention"].source) == ("90d", "headgate.toml")
    assert (found["serve.port"].value, found["serve.port"].source) == ("2", "environment")
    assert (found["serve.host"].value, found["serve.host"].source) == ("127.0.0.1", "default")
    assert (found["secrets.mail"].value, found["key"].value) == ("(set)", "(set)")
    assert "hush" not in str(found)


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("postgresql://ann:hush@db:5432/headgate", "postgresql://ann:***@db:5432/headgate"),
        ("postgresql://ann:hu/s@h@db/headgate?schema=a", "postgresql://ann:***@db/headgate?schema=a"),
        (
            "postgresql://db/headgate?user=ann&password=hush&schema=a",
            "postgresql://db/headgate?user=ann&password=***&schema=a",
        ),
        ("postgresql://ann@db/headgate", "postgresql://ann@db/headgate"),
        ("/var/lib/headgate/headgate.db", "/var/lib/headgate/headgate.db"),
    ],
)
def test_a_password_in_an_address_is_masked_and_the_rest_is_shown(given: str, shown: str):
    (found,) = [one for one in effective({"HEADGATE_DB": given}, {}) if one.path == "database"]

    assert found.value == shown


def test_a_password_in_an_address_that_is_not_right_is_not_told():
    with pytest.raises(Invalid) as found:
        checked_environment({"HEADGATE_URL": "ftp://ann:hush@host"})

    assert "got 'ftp://ann:***@host'" in found.value.message


@pytest.mark.parametrize(("text", "on"), [("true", True), ("1", True), ("Yes", True), ("no", False), ("", False)])
def test_what_is_true_or_false_is_written_in_several_ways(text: str, on: bool):
    assert is_on({"HEADGATE_ALLOW_DEMO": text}, "HEADGATE_ALLOW_DEMO") is on


def test_a_list_is_divided_by_commas():
    assert listed({"A": " x, ,y "}, "A") == ("x", "y")
    assert listed({}, "A") == ()


def test_every_variable_of_ours_that_is_read_is_a_setting():
    ours = re.compile(r"HEADGATE_[A-Z_]*[A-Z]")
    read = {
        node.value
        for path in SOURCE.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and ours.fullmatch(node.value)
    }

    known = {setting.variable for setting in SETTINGS} | NOT_SETTINGS
    assert read >= {"HEADGATE_DB", "HEADGATE_RETENTION"}
    assert sorted(read - known) == [], (
        "Write it into SETTINGS of headgate/settings/table.py, then `python docs/generate.py`."
    )


# --- At the command line -------------------------------------------------------------------------------------------


@pytest.fixture
def headgate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Verb:
    """Return a function that calls a verb in a folder of its own, with an environment of its own."""
    monkeypatch.chdir(tmp_path)
    environment: dict[str, str] = {}
    monkeypatch.setattr("os.environ", environment)

    def call(*arguments: str, **variables: str) -> tuple[int, str, str]:
        environment.clear()
        environment.update(variables)
        with pytest.raises(SystemExit) as ended:
            run_program(list(arguments))
        said = capsys.readouterr()
        return int(str(ended.value.code or 0)), said.out, said.err

    return call


def test_a_verb_goes_by_the_file_and_by_the_environment_before_it(headgate: Verb, tmp_path: Path):
    (tmp_path / "headgate.toml").write_text('database = "mine.db"\nretention = "7d"\n')

    here = {one["path"]: one for one in json.loads(headgate("settings", "--json", HEADGATE_RETENTION="8d")[1])}
    code, _, err = headgate("runs")

    assert (here["retention"]["value"], here["retention"]["source"]) == ("8d", "environment")
    assert (here["database"]["value"], here["database"]["source"]) == ("mine.db", "headgate.toml")
    assert (code, "There is no database mine.db here" in err) == (2, True)


def test_the_file_may_be_elsewhere_and_then_it_must_be_there(headgate: Verb, tmp_path: Path):
    (tmp_path / "other.toml").write_text('retention = "7d"\n')

    out = headgate("settings", HEADGATE_CONFIG="other.toml")[1]
    code, _, err = headgate("runs", HEADGATE_CONFIG="nowhere.toml")

    assert re.search(r"^retention +7d +other.toml +HEADGATE_RETENTION$", out, re.MULTILINE)
    assert (code, "names nowhere.toml, and there is no such file" in err) == (2, True)


def test_with_a_wrong_file_no_verb_runs_but_those_that_explain(headgate: Verb, tmp_path: Path):
    (tmp_path / "headgate.toml").write_text("retention = 7\nport = 1\n")

    code, _, err = headgate("runs")

    assert code == 2
    assert "retention: expected a duration" in err
    assert "There is no setting 'port'. Did you mean 'serve.port'?" in err
    assert headgate("version")[0] == 0
    assert headgate("explain", "invalid")[0] == 0


def test_what_is_wrong_in_file_and_environment_is_said_at_once(headgate: Verb, tmp_path: Path):
    (tmp_path / "headgate.toml").write_text('retention = "soon"\n')

    code, _, err = headgate("runs", HEADGATE_PORT="http")

    assert code == 2
    assert "retention: expected" in err
    assert "HEADGATE_PORT: expected" in err


@pytest.mark.parametrize("verb", ["settings", "serve"])
def test_what_settings_say_together_is_said_with_what_each_says(headgate: Verb, verb: str):
    code, _, err = headgate(
        verb,
        HEADGATE_KEY="short",
        HEADGATE_RETENTION="soon",
        HEADGATE_OIDC_ISSUER="https://login.example",
        HEADGATE_OIDC_ROLES="ops=king,x",
        HEADGATE_TRUSTED_PROXIES="10.0.0.0/8,proxy",
        HEADGATE_PRIVATE_ADDRESSES="db.internal,10.0.0.0/99",
    )

    assert code == 2
    for wrong in (
        "HEADGATE_RETENTION: expected a duration",
        "HEADGATE_KEY: expected 32 random bytes in base64",
        "needs HEADGATE_PUBLIC_URL",
        "needs HEADGATE_OIDC_CLIENT_ID",
        "Nobody would be let in",
        "There is no role 'king'",
        "expected VALUE=ROLE, such as hg-admins=admin, got 'x'",
        "HEADGATE_TRUSTED_PROXIES: expected an address or a network such as 10.0.0.0/8, got 'proxy'",
        "HEADGATE_PRIVATE_ADDRESSES: expected an address or a network such as 10.0.0.0/8, got '10.0.0.0/99'",
    ):
        assert wrong in err, wrong


def test_settings_that_fit_together_are_right(headgate: Verb):
    code, _, err = headgate(
        "settings",
        HEADGATE_KEY="A" * 43 + "=",
        HEADGATE_PUBLIC_URL="https://gate.example",
        HEADGATE_OIDC_ISSUER="https://login.example",
        HEADGATE_OIDC_CLIENT_ID="gate",
        HEADGATE_OIDC_ROLE_CLAIM="groups",
        HEADGATE_OIDC_ROLES="ops=operator",
        HEADGATE_TRUSTED_PROXIES="*",
        HEADGATE_PRIVATE_ADDRESSES="db.internal,10.0.0.0/8,::1",
    )

    assert (code, err) == (0, "")


def test_a_wrong_environment_is_told_by_the_verb_for_it(headgate: Verb):
    code, _, err = headgate("settings", HEADGATE_PORT="http", HEADGATE_RETENTION="soon")

    assert code == 2
    assert "HEADGATE_PORT: expected" in err
    assert "HEADGATE_RETENTION: expected" in err
    assert "HEADGATE_PROT is set and means nothing" in headgate("settings", HEADGATE_PROT="1")[2]
