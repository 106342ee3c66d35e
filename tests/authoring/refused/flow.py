"""Refused for how their activities hang together: bounds, edges, what an expression may read."""

from __future__ import annotations

from tests.authoring.refused.files import HEAD, activity, echo, two

BOUNDS = {
    "no attempts": (echo("retry: §0"), "expected retry to be at least 1, got 0"),
    "no attempts, in a map": (echo("retry: {max_attempts: §0}"), "at least 1, got 0"),
    "too many attempts": (echo("retry: §5000"), "at most 1,000"),
    "a shrinking pause": (echo("retry: {factor: §0.5}"), "expected factor to be at least 1, got 0.5"),
    "a negative pause": (echo("retry: {base_seconds: §-1}"), "at least 0, got -1"),
    "negative retries for all": ("settings: {max_retries: §-1}\n" + echo(""), "at least 1, got 0"),
    "no time": (echo("timeout: §0"), "more than 0, got 0"),
    "no time for the run": ("timeout: §0\n" + echo(""), "more than 0, got 0"),
    "negative time": (echo("timeout_seconds: §-5"), "more than 0, got -5"),
    "no budget": (echo("budget: §0"), "above $0, got $0"),
    "a negative budget": (echo("budget: {limit: §-0.5, action: abort}"), "above $0"),
    "less than a nano-dollar": ("budget: §0.0000000001\n" + echo(""), "above $0"),
    "no parallel items": (echo("for_each: [1]\nmax_parallel: §0"), "at least 1, got 0"),
    "no iterations": (echo("iteration_limit: §0"), "expected iteration_limit to be at least 1, got 0"),
    "a delay": (echo("delay: §5 minutes"), 'with ms, s, m, h, d, w, mo or y, such as 30s, got "5 minutes"'),
    "a fraction of a delay": (echo("delay: §1.5h"), 'got "1.5h"'),
    "delay and time": (echo("§delay: 5s\nscheduled_for: 2030-01-01T00:00:00Z"), "exclude each other"),
    "a time without zone": (echo("scheduled_for: §2030-01-01T00:00:00"), "a time with its zone"),
    "a signal's name as a template": (echo('wait_for: §"{{ INPUT.x }}"'), "is not rendered"),
    "a signal's timeout": (echo("wait_for: {event_name: x, timeout: §0}"), "more than 0"),
    "a child's budget": (activity("workflow: {name: x, budget: §0}"), "above $0"),
    "too many labels": (
        "labels: §{" + ", ".join(f"l{n}: x" for n in range(17)) + "}\n" + echo(""),
        "at most 16 labels, got 17",
    ),
    "a long label": ("labels: {x: §" + "y" * 300 + "}\n" + echo(""), "at most 256 characters, got 300"),
    "a default of the wrong type": (
        "inputs: {x: {type: integer, default: §a}}\n" + echo(""),
        'a whole number, got "a"',
    ),
    "a default outside the choice": (
        "inputs: {x: {default: §c, enum: [a, b]}}\n" + echo(""),
        '"a" or "b", got "c"',
    ),
    "a choice of the wrong type": (
        "inputs: {x: {type: string, enum: [a, §1]}}\n" + echo(""),
        "a text, got 1",
    ),
}

GRAPH = {
    "a dependency on nothing": (
        two("after: []", "after: [a, §aa]"),
        'there is no activity "aa". Did you mean "a"?',
    ),
    "a long dependency on nothing": (
        two("after: []", "after: [{activity_key: §c}]"),
        'there is no activity "c"',
    ),
    "a cycle": (
        two("after: [§b]", "after: [a]"),
        "the cycle a → b → a has no exit: a depends on b. Remove that, or",
    ),
    "an activity after itself": (echo("after: §a"), "the cycle a → a has no exit"),
    "a cycle that nobody wrote": (
        two('with: {x: "{{ §b.y }}"}', 'with: {x: "{{ a.y }}"}'),
        "a depends on b because it names it. If it means the iteration before, say how the loop closes",
    ),
    "a limit in the middle of a loop": (
        two("after: [{activity_key: b, condition: 'true'}]", "after: [a], §iteration_limit: 3"),
        "move iteration_limit to a",
    ),
}

REFERENCES = {
    "a name that is nothing": (two("after: []", 'with: {x: "{{ §aa.y }}"}'), 'there is no "aa"'),
    "a near name": (
        HEAD + "  search: {use: echo}\n  b: {use: echo, with: {x: '{{ §serch.y }}'}}\n",
        'Did you mean "search"?',
    ),
    "a keyword in lower case": (echo("with: {x: '{{ §input.y }}'}"), 'Did you mean "INPUT"?'),
    "the second of two": (echo("with: {x: '{{ INPUT.x }} xx {{ §xx.x }}'}"), 'there is no "xx"'),
    "inside a block": (
        echo("with:\n  x: |\n    Dear reader of nope,\n      this is {{ INPUT.a }}\n      and {{ §nope.b }}."),
        'there is no "nope"',
    ),
    "inside a folded text": (
        echo("with:\n  x: >-\n    two\n    lines of {{ §nope.b }}"),
        'there is no "nope"',
    ),
    "after wide characters": (echo("with: {ü: '😀 é', x: '😀 {{ §nope.b }}'}"), 'there is no "nope"'),
    "in a condition": (
        two("after: []", "after: [{activity_key: a, condition: 'a.x < §c.x'}]"),
        'there is no "c"',
    ),
    "in the second condition": (
        two("after: []", "after: [{activity_key: a, conditions: ['a.x', '§c.x']}]"),
        'there is no "c"',
    ),
    "in when": (echo("when: §nope.x > 3"), 'there is no "nope"'),
    "in the outputs": ("outputs: {x: '{{ §nope.b }}'}\n" + echo(""), 'there is no "nope"'),
    "in a list in a map": (echo("with: {x: [1, {y: '{{ §nope }}'}]}"), 'there is no "nope"'),
    "ITEM without items": (
        echo("with: {x: '{{ §ITEM }}'}"),
        "ITEM means something in an activity with `for_each` only",
    ),
    "ITEM too early": (
        echo("for_each: [1]\nwhen: §ITEM > 1"),
        "ITEM means something in `parameters` only, not in `when`",
    ),
    "INDEX without items": ("outputs: {x: '{{ §INDEX }}'}\n" + echo(""), "INDEX means something"),
    "an undeclared input": (
        "inputs: {city: string}\n" + echo("with: {x: '{{ §INPUT.citty }}'}"),
        'Did you mean "city"?',
    ),
    "a secret in when": (
        echo("when: §SECRET.x == 'y'"),
        "in the parameters of an activity only, not in `when`",
    ),
    "a secret in outputs": (
        "outputs: {x: '{{ §SECRET.y }}'}\n" + echo(""),
        "not in the outputs of a workflow",
    ),
    "a secret that would be stored": (
        echo("with: {x: '{{ §SECRET.y }}'}"),
        "the parameters of echo are stored",
    ),
    "a secret for a child": (
        activity("workflow: x\nwith: {x: '{{ §SECRET.y }}'}"),
        "cannot be the input of a sub-workflow",
    ),
    "parameters outside a key": (echo("with: {x: '{{ §parameters.y }}'}"), "in the key of a cache only"),
    "SIGNAL in the outputs": (
        "outputs: {x: '{{ §SIGNAL.y }}'}\n" + echo(""),
        "SIGNAL belongs to an activity",
    ),
    "a bad expression": (echo("with: {x: 'a {{ INPUT.x | §nofilter }}'}"), "the expression cannot be read"),
    "downstream, long form": (
        (
            "name: x\nactivities:\n"
            "  - {key: a, activity_name: echo, parameters: {x: '{{ §b.y }}'}}\n"
            "  - {key: b, activity_name: echo, depends_on: [a]}\n"
        ),
        "b does not run before a, so it has no outputs here; add it to the dependencies: after: [b]",
    ),
    "beside, long form": (
        (
            "name: x\nactivities:\n"
            "  - {key: a, activity_name: echo}\n"
            "  - {key: b, activity_name: echo, parameters: {x: '{{ §a.y }}'}}\n"
        ),
        "a does not run before b",
    ),
}
