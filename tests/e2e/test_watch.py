"""`headgate watch` as people use it: a run of another process, followed live, late, over a killed owner, and after."""

import json
import signal

import pytest
from tests.e2e.command_line import Process, headgate

pytestmark = pytest.mark.slow

SENTENCES = " ".join(f"The lighthouse keeper number {number} counted the ships of the bay." for number in range(12))
STORY = f"""
name: story
activities:
  before: {{use: echo, with: {{x: 1}}}}
  tell: {{use: llm_prompt, after: before, with: {{model: demo/small, prompt: "Summarise in 300 words: {SENTENCES}"}}}}
"""
SAYS = """
name: says
activities:
  tell: {use: llm_prompt, with: {model: scripted/m, prompt: Speak}}
"""
PACE = ("--pace", "0.02")


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "story.yaml").write_text(STORY)
    (tmp_path / "says.yaml").write_text(SAYS)
    return tmp_path


def lines_of(stdout):
    return [json.loads(line) for line in stdout.splitlines()]


def text_of(lines, place="tell"):
    """Fold the chunks of a place as a program would; return the text and how often it began again."""
    text, restarts, position = "", 0, None
    for line in lines:
        if line.get("place") != place:
            continue
        match line["type"]:
            case "tokens":
                assert position is None or position == (line["origin"], line["epoch"], line["offset"])
                text += line["text"]
                position = (line["origin"], line["epoch"], line["offset"] + len(line["text"].encode()))
            case "restarted":
                text, restarts, position = "", restarts + 1, (line["origin"], line["epoch"], 0)
            case "ended":
                assert line["offset"] == len(text.encode())
    return text, restarts


def test_a_run_of_another_process_is_followed_with_all_that_its_models_write(folder):
    with Process(folder, "run", "story.yaml", *PACE) as run:
        run.until("tell  running")
        watched = headgate(folder, "watch", "-", "--json")
        plain = headgate(folder, "watch", "-")
        code, outputs = run.end()

    lines = lines_of(watched.stdout)
    told = json.loads(outputs)["tell"]["content"]
    assert (code, watched.returncode, plain.returncode) == (0, 0, 0)
    assert text_of(lines) == (told, 0)
    assert [line["type"] for line in lines].count("tokens") > 3, "it came live, not at the end"
    assert (lines[0]["type"], lines[0]["event"]["type"]) == ("event", "run_started")
    assert (lines[-2]["type"], lines[-2]["event"]["type"]) == ("event", "run_completed")
    assert (lines[-1]["type"], lines[-1]["run"]["status"]) == ("run", "completed")
    assert json.loads(plain.stdout) == json.loads(outputs)
    shown = [line.split("  tell  ", 1)[1] for line in plain.stderr.splitlines() if "  |  tell" in line]
    assert " ".join(" ".join(shown).split()) == " ".join(told.split())


def test_of_a_finished_run_all_is_told_from_its_results(folder):
    outputs = headgate(folder, "run", "story.yaml").stdout
    told = json.loads(outputs)["tell"]["content"]

    as_lines = headgate(folder, "watch", "-", "--json")
    only_text = headgate(folder, "watch", "-", "tell")

    assert text_of(lines_of(as_lines.stdout)) == (told, 0)
    assert {line.get("origin") for line in lines_of(as_lines.stdout) if line["type"] == "tokens"} == {"result"}
    assert (only_text.returncode, only_text.stdout) == (0, f"{told}\n")
    assert "tell completed" in only_text.stderr


def test_ctrl_c_ends_the_watching_and_leaves_the_run_alone(folder):
    with Process(folder, "run", "story.yaml", *PACE) as run:
        run.until("tell  running")
        with Process(folder, "watch", "-") as watch:
            watch.until("|  tell")
            watch.signal(signal.SIGINT)
            assert watch.end()[0] == 130
            watch.until("Stopped watching run")
        code, outputs = run.end()

    assert (code, "tell" in outputs) == (0, True)


def test_a_watch_goes_on_with_the_next_process_when_the_owner_is_killed(folder):
    with Process(folder, "run", "story.yaml", *PACE) as run:
        run.until("tell  running")
        with Process(folder, "watch", "-", "--json", "--log-level", "ERROR") as watch:
            with Process(folder, "watch", "-") as alone:
                alone.until("|  tell")
                run.signal(signal.SIGKILL)
                alone.until("No process works on run")
                assert headgate(folder, "work").returncode == 0
                alone.until("tell  completed")
                assert alone.end()[0] == 0
                alone.until("tell  begins again")
            code, stdout = watch.end()

    lines = lines_of(stdout)
    text, restarts = text_of(lines)
    assert code == 0
    origins = {line["origin"] for line in lines if line["type"] == "tokens"}
    assert restarts >= len(origins) - 1, "what another process said was glued to what this one said"
    assert text == lines[-1]["run"]["outputs"]["tell"]["content"]
    versions = [line["event"]["version"] for line in lines if line["type"] == "event"]
    assert versions == list(range(1, len(versions) + 1))


def test_the_exit_code_is_that_of_the_run_and_what_cannot_be_watched_is_said(folder):
    dear = SAYS.replace("scripted/m", "demo/small").replace("activities", "budget: 0.0000001\nactivities")
    (folder / "dear.yaml").write_text(dear)
    headgate(folder, "run", "dear.yaml")

    failed = headgate(folder, "watch", "-")
    misspelt = headgate(folder, "watch", "-", "tel")
    unknown = headgate(folder, "watch", "nowhere")

    assert (failed.returncode, failed.stdout) == (4, "")
    assert "budget_exceeded" in failed.stderr
    assert misspelt.returncode == unknown.returncode == 2
    assert 'no activity "tel". Did you mean "tell"?' in misspelt.stderr
    assert "There is no run 'nowhere'" in unknown.stderr


def test_items_take_turns_under_their_names(folder):
    (folder / "models.yaml").write_text("models: {m: [{text: one}, {text: two}]}\n")
    (folder / "items.yaml").write_text(SAYS.replace("with:", "for_each: '{{ [1, 2] }}', with:"))
    headgate(folder, "run", "items.yaml", "--models", "models.yaml")

    watched = headgate(folder, "watch", "-", "tell")
    one = headgate(folder, "watch", "-", "tell[1]")

    assert watched.stdout == "==> tell[0] <==\none\n==> tell[1] <==\ntwo\n"
    assert one.stdout.splitlines()[-1] == "two"
    assert "one" not in one.stdout
