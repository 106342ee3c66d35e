"""Scripts and prompt templates in files of their own: inlined, hashed, and checked where they stand."""

from __future__ import annotations

import hashlib

import pytest

from headgate.authoring import InvalidDefinition, UnreadableFile, given_files, load_definition
from headgate.authoring.referenced_files import REFERENCED_CHARACTERS_MAX
from headgate.core.definition import Activity, Definition
from headgate.core.expression import compile_value

PROMPT = "name: x\nactivities:\n  p: {use: llm_prompt, with: {model: demo/small, template: %s}}\n"
SCRIPT = "name: x\nactivities:\n  s: {use: script, with: {script_file: %s}}\n"


def load(text: str, files: dict[str, str] | None = None) -> Definition:
    return load_definition(text, source="flows/x.yaml", read=given_files(files or {}))


def refusal(text: str, files: dict[str, str] | None = None) -> str:
    with pytest.raises(InvalidDefinition) as refused:
        load(text, files)
    return refused.value.message


def only(definition: Definition) -> Activity:
    (activity,) = definition.activities
    return activity


@pytest.mark.parametrize("ending", ["", ".md", ".txt"])
def test_a_prompt_template_is_inlined_and_named_by_its_version_and_its_hash(ending: str):
    text = "Summarise {{ INPUT.text }}"

    activity = only(load(PROMPT % "mail/sum@3", {f"prompts/mail/sum@3{ending}": text}))

    assert activity.parameters["prompt"] == text
    assert activity.parameters["template"] == "mail/sum@3"
    assert activity.prompt == f"mail/sum@3#{hashlib.sha256(text.encode()).hexdigest()[:12]}"


def test_an_activity_without_a_template_has_no_prompt_version():
    assert only(load("name: x\nactivities: {a: {use: echo}}\n")).prompt == ""


def test_a_changed_file_is_another_version_and_the_same_file_the_same():
    first, again, changed = (load(PROMPT % "sum@1", {"prompts/sum@1": text}) for text in ("One", "One", "Two"))

    assert first.version == again.version
    assert first.version != changed.version


def test_a_changed_script_file_is_another_version():
    first, changed = (load(SCRIPT % "s.py", {"s.py": text}) for text in ("OUTPUT = 1", "OUTPUT = 2"))

    assert first.version != changed.version


def test_what_a_prompt_file_names_is_a_dependency():
    text = PROMPT % "sum@1" + "  fetch: {use: http_request, with: {url: 'http://localhost'}}\n"

    definition = load(text, {"prompts/sum@1": "Summarise {{ fetch.response.body }}"})

    assert [dependency.key for dependency in definition.activities[0].depends_on] == ["fetch"]


def test_a_fault_in_a_prompt_file_is_told_with_its_line_and_column_in_that_file():
    message = refusal(PROMPT % "sum@1", {"prompts/sum@1.md": "Summarise\n  {{ INPUT.text }} and {{ fech.body }}"})

    assert message.startswith('flows/prompts/sum@1.md:2:27: there is no "fech"')
    assert message.endswith("(at activities.p.with.template)")


def test_an_expression_that_does_not_parse_is_told_in_its_file_too():
    assert refusal(PROMPT % "sum@1", {"prompts/sum@1": "a\nb {{ INPUT. }}"}).startswith("flows/prompts/sum@1:2:")


def test_problems_of_the_definition_come_before_those_of_its_files():
    text = PROMPT % "sum@1" + "  b: {use: ecko}\n"

    message = refusal(text, {"prompts/sum@1": "{{ nothing }}"})

    assert message.index("flows/x.yaml:4") < message.index("flows/prompts/sum@1:1:4")


def test_a_version_that_is_missing_is_answered_with_those_there_are():
    files = {"prompts/sum@1.md": "", "prompts/sum@2": "", "prompts/sumo@7": "", "prompts/other@9": ""}

    message = refusal(PROMPT % "sum@3", files)

    assert message.startswith('flows/x.yaml:3:60: there is no version "3" of the prompt sum (prompts/sum@3).')
    assert "There is 1 or 2." in message


def test_a_name_that_is_missing_is_answered_with_the_nearest():
    assert 'Did you mean "summary"?' in refusal(PROMPT % "sumary@1", {"prompts/summary@1": ""})


REFUSED_TEMPLATES = {
    "no version": ("sum", "expected template to be NAME@VERSION"),
    "a way out": ("../sum@1", "expected template to be NAME@VERSION"),
    "a hidden way out": ("a/../../sum@1", "expected template to be NAME@VERSION"),
    "an absolute path": ("/etc/sum@1", "expected template to be NAME@VERSION"),
    "a template of a template": ("'sum@{{ INPUT.v }}'", "template is not rendered"),
    "no text": ("3", "expected template to be the name of a file, got 3"),
    "a prompt beside it": ("sum@1, prompt: hello", "`template` and `prompt` exclude each other"),
    "messages beside it": ("sum@1, messages: []", "`template` and `messages` exclude each other"),
}


@pytest.mark.parametrize(("template", "said"), REFUSED_TEMPLATES.values(), ids=REFUSED_TEMPLATES.keys())
def test_what_cannot_be_a_template_is_refused(template: str, said: str):
    assert said in refusal(PROMPT % template, {"prompts/sum@1": "x"})


def test_two_files_for_one_version_are_refused():
    message = refusal(PROMPT % "sum@1", {"prompts/sum@1": "a", "prompts/sum@1.md": "b"})

    assert "prompts/sum@1 and prompts/sum@1.md are both the template sum@1; keep one of them." in message


def test_a_script_file_is_inlined_beside_its_name():
    activity = only(load(SCRIPT % "s.py", {"s.py": "OUTPUT = 1\n"}))

    assert activity.parameters == {"script_file": "s.py", "script": "OUTPUT = 1\n"}


@pytest.mark.parametrize(
    "source",
    [
        "OUTPUT = f'{{x}}'\n",
        "x = {1: {2: {3}}}  # {% if %} {{ nothing }}\n\n",
        "a = '{% endraw %}{{'\nb = '{%- endraw -%}'\n",
        "{{",
    ],
)
def test_braces_in_a_script_file_are_pythons(source: str):
    activity = only(load(SCRIPT % "s.py", {"s.py": source}))

    rendered = compile_value(activity.parameters, where="parameters").render({})

    assert rendered == {"script_file": "s.py", "script": source}


def test_a_script_and_a_script_file_exclude_each_other():
    assert "exclude each other" in refusal(SCRIPT % "s.py, script: pass", {"s.py": ""})


def test_a_definition_without_its_folder_is_told_to_hold_its_texts():
    with pytest.raises(InvalidDefinition, match=r"the file s\.py cannot be read here"):
        load_definition(SCRIPT % "s.py")


def test_what_keeps_a_file_from_being_read_is_told_at_its_name():
    def read(path: str) -> str:
        raise UnreadableFile(f"the file {path} is a link.")

    with pytest.raises(InvalidDefinition) as refused:
        load_definition(PROMPT % "sum@1", read=read)

    (problem,) = refused.value.problems
    assert (problem.message, problem.line) == ("the file prompts/sum@1 is a link.", 3)


def test_the_files_of_a_definition_are_bounded_together():
    text = "name: x\nactivities:\n" + "".join(
        f"  s{number}: {{use: script, with: {{script_file: s.py}}}}\n" for number in range(9)
    )

    assert "characters together" in refusal(text, {"s.py": "#" * (REFERENCED_CHARACTERS_MAX // 8)})


def test_on_a_queue_of_ones_own_a_script_file_is_nobody_elses_business():
    text = "name: x\nactivities:\n  s: {use: script, queue: mine, with: {script_file: s.py}}\n"

    assert only(load(text)).parameters == {"script_file": "s.py"}
