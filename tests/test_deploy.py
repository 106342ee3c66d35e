"""What lies in deploy/ fits what is there: verbs, options, settings, paths, ports. Neither image nor unit is run."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest
import yaml

from headgate.cli.program import program
from headgate.settings import strangers

ROOT = Path(__file__).parents[1]
DEPLOY = ROOT / "deploy"
UNIT = DEPLOY / "headgate.service"
COMPOSE = DEPLOY / "compose.yaml"
EXAMPLE = DEPLOY / "headgate.env.example"
README = DEPLOY / "README.md"
PORT = "8720"


def insist_that_it_can_be_called(words: list[str]) -> None:
    """Read a command line as the program does, without running anything. Raises `click.UsageError`."""
    context = program.make_context("headgate", list(words), resilient_parsing=True)
    verb = program.get_command(context, words[0])
    assert verb is not None, f"There is no `headgate {words[0]}`."
    with click.Context(program) as parent:
        verb.make_context(words[0], list(words[1:]), parent=parent)


# --- Everywhere ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", [pytest.param(path, id=path.name) for path in sorted(DEPLOY.iterdir())])
def test_every_setting_that_is_named_is_one(path: Path):
    named = dict.fromkeys(re.findall(r"\bHEADGATE_[A-Z_]+\b", path.read_text(encoding="utf-8")), "1")

    assert strangers(named) == []


def test_every_command_of_the_readme_can_be_called():
    text = README.read_text(encoding="utf-8").replace("\\\n", " ")
    found = re.findall(
        r"(?:exec headgate|bin)/?\s?headgate ((?!\.)[a-z][\w .-]*(?: --[\w-]+(?: \w+)?)*)$", text, re.MULTILINE
    )

    assert len(found) >= 3
    for words in found:
        insist_that_it_can_be_called(shlex.split(words))


def test_every_file_that_the_readme_names_is_there():
    text = README.read_text(encoding="utf-8")
    named = {*re.findall(r"^\| `([\w.]+)`", text, re.MULTILINE), *re.findall(r"deploy/([\w.]+\w)", text)} - {
        "headgate.env"
    }

    assert named >= {"install.sh", "headgate.service", "Dockerfile", "compose.yaml", "headgate.env.example"}
    assert [name for name in sorted(named) if not (DEPLOY / name).exists()] == []


def test_the_example_of_settings_is_read_by_shell_systemd_and_compose_alike():
    lines = [line.removeprefix("# ") for line in EXAMPLE.read_text("utf-8").splitlines() if "=" in line]
    settings = [line for line in lines if re.match(r"[A-Z_]+=", line)]

    assert len(settings) >= 5
    assert [line for line in settings if not re.fullmatch(r"[A-Z][A-Z_]*=[^\s'\"$]*", line)] == []


# --- install.sh ------------------------------------------------------------------------------------------------------


def test_the_script_installs_nothing_without_a_hash_and_from_files_that_are_there():
    script = DEPLOY / "install.sh"
    installs = [line for line in script.read_text("utf-8").splitlines() if re.search(r"^\$pip .*\binstall\b", line)]

    assert subprocess.run(["sh", "-n", script], check=False).returncode == 0
    assert len(installs) == 3
    assert [line for line in installs if "--require-hashes" not in line and "--no-index" not in line] == []
    for name in ("base", "postgres", "build"):
        assert (ROOT / "requirements" / f"{name}.txt").exists()


def test_the_requirements_with_postgresql_are_those_without_and_the_driver():
    base, more = (
        set(re.findall(r"^([\w.-]+==\S+)", (ROOT / "requirements" / name).read_text("utf-8"), re.MULTILINE))
        for name in ("base.txt", "postgres.txt")
    )

    assert base < more
    assert {one.partition("==")[0] for one in more - base} == {"asyncpg"}


# --- The unit --------------------------------------------------------------------------------------------------------


def unit() -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for line in UNIT.read_text(encoding="utf-8").splitlines():
        if "=" in line and not line.startswith("#"):
            name, _, value = line.partition("=")
            found.setdefault(name, []).append(value)
    return found


def test_the_unit_starts_a_verb_that_there_is_and_ends_it_in_order():
    found = unit()
    (start,) = found["ExecStart"]
    folder, _, words = start.partition("/bin/headgate ")

    insist_that_it_can_be_called(shlex.split(words))
    assert f"deploy/install.sh {folder} " in README.read_text("utf-8")
    assert found["KillSignal"] == ["SIGTERM"]
    from headgate.api.http.server import DRAIN_SECONDS

    assert int(found["TimeoutStopSec"][0]) > 2 * DRAIN_SECONDS


def test_the_unit_keeps_its_state_where_it_may_write_and_has_no_rights_beyond():
    found = unit()

    assert found["WorkingDirectory"] == [f"/var/lib/{found['StateDirectory'][0]}"]
    assert found["User"] != ["root"]
    assert found["ProtectSystem"] == ["strict"]
    assert found["NoNewPrivileges"] == ["yes"]
    assert found["CapabilityBoundingSet"] == [""]
    assert "AF_UNIX" in found["RestrictAddressFamilies"][0], "the control socket is one"


def test_systemd_finds_nothing_wrong_with_the_unit(tmp_path: Path):
    text = UNIT.read_text(encoding="utf-8")
    assert set(re.findall(r"^\[(\w+)\]$", text, re.MULTILINE)) == {"Unit", "Service", "Install"}
    if (systemd := shutil.which("systemd-analyze")) is None:
        return
    copy = tmp_path / UNIT.name
    copy.write_text(re.sub(r"^ExecStart=\S+", "ExecStart=/bin/true", text, flags=re.MULTILINE), encoding="utf-8")

    done = subprocess.run([systemd, "verify", copy], capture_output=True, text=True, timeout=60, check=False)

    assert (done.returncode, done.stderr) == (0, "")


# --- The image -------------------------------------------------------------------------------------------------------


def instructions() -> Iterator[tuple[str, str]]:
    text = (DEPLOY / "Dockerfile").read_text(encoding="utf-8")
    joined = re.sub(r"\\\n\s*", "", "\n".join(line for line in text.splitlines() if not line.startswith("#")))
    for line in joined.splitlines():
        if line.strip():
            name, _, rest = line.partition(" ")
            yield name, rest.strip()


def stages() -> list[list[tuple[str, str]]]:
    found: list[list[tuple[str, str]]] = []
    for name, rest in instructions():
        if name == "FROM":
            found.append([])
        if found:
            found[-1].append((name, rest))
    return found


def test_the_image_runs_as_nobody_in_particular_and_has_no_pip():
    _, last = stages()
    users = [rest for name, rest in last if name == "USER"]
    runs = " ".join(rest for name, rest in last if name == "RUN")

    assert users == ["10001"]
    assert "--uid 10001 --user-group" in runs
    assert "pip uninstall" in runs
    assert "install " not in runs.replace("uninstall ", "")
    assert [rest for name, rest in last if name in ("COPY", "ADD")] == ["--from=build /opt/headgate /opt/headgate"]


def test_both_stages_are_of_the_same_python_which_we_support():
    (argument,) = [rest for name, rest in instructions() if name == "ARG" and rest.startswith("PYTHON=")]
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]

    assert [stage[0][1].partition(" ")[0] for stage in stages()] == ["python:${PYTHON}-slim"] * 2
    least = tuple(map(int, project["requires-python"].removeprefix(">=").split(".")))
    assert tuple(map(int, argument.removeprefix("PYTHON=").split("."))) >= least


def test_what_the_image_runs_and_how_it_asks_for_its_health_are_verbs_that_there_are():
    _, last = stages()
    said = dict(last)
    health = [str(word) for word in yaml.safe_load(said["HEALTHCHECK"].partition("CMD ")[2])]

    assert yaml.safe_load(said["ENTRYPOINT"]) == ["headgate"]
    insist_that_it_can_be_called(yaml.safe_load(said["CMD"]))
    assert health[0] == "headgate"
    insist_that_it_can_be_called(health[1:])
    assert f"HEADGATE_PORT={PORT}" in said["ENV"]
    assert said["EXPOSE"] == PORT
    assert any(word.endswith(f":{PORT}") for word in health)
    assert said["WORKDIR"] == said["VOLUME"] == "/data"


def test_the_image_is_built_from_all_that_the_wheel_and_the_script_need():
    kept = re.findall(r"^!(\S+)$", (DEPLOY / "Dockerfile.dockerignore").read_text("utf-8"), re.MULTILINE)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    needed = {project["project"]["readme"], *project["project"]["license-files"], "pyproject.toml"}
    needed |= {Path(package).parts[0] for package in project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]}

    assert [path for path in kept if not (ROOT / path).exists()] == []
    assert needed | {"requirements", "deploy/install.sh"} <= set(kept)


# --- Compose ---------------------------------------------------------------------------------------------------------


def services() -> dict[str, Any]:
    return yaml.safe_load(COMPOSE.read_text(encoding="utf-8"))["services"]


def test_compose_builds_our_image_with_the_driver_and_waits_for_the_database():
    built = services()["headgate"]["build"]
    context = (DEPLOY / built["context"]).resolve()

    assert context == ROOT
    assert (context / built["dockerfile"]).samefile(DEPLOY / "Dockerfile")
    assert set(built["args"]) <= {rest.partition("=")[0] for name, rest in instructions() if name == "ARG"}
    assert (ROOT / "requirements" / f"{built['args']['REQUIREMENTS']}.txt").exists()
    assert services()["headgate"]["depends_on"]["database"]["condition"] == "service_healthy"
    assert "healthcheck" in services()["database"]


def test_compose_names_volumes_secrets_and_a_database_that_it_has():
    whole = yaml.safe_load(COMPOSE.read_text(encoding="utf-8"))
    mounted = {mount.partition(":")[0] for service in services().values() for mount in service["volumes"]}
    database = services()["database"]
    (secret,) = database["secrets"]
    user, name = database["environment"]["POSTGRES_USER"], database["environment"]["POSTGRES_DB"]

    assert mounted == set(whole["volumes"])
    assert set(whole["secrets"]) == {secret}
    assert database["environment"]["POSTGRES_PASSWORD_FILE"] == f"/run/secrets/{secret}"
    assert f"postgresql://{user}:PASSWORD@database/{name}" in EXAMPLE.read_text("utf-8")
    assert services()["headgate"]["volumes"] == ["state:/data"]
    assert services()["headgate"]["ports"] == [f"127.0.0.1:{PORT}:{PORT}"], "reachable from this machine only"
