"""Every refusal, with its exact place and advice. A `§` stands where the problem must be found; it is taken
out first."""

from __future__ import annotations

import pytest

from headgate.authoring import InvalidDefinition, load_definition

HEAD = "name: demo\nactivities:\n"


def activity(lines: str) -> str:
    """A file with one activity `a` that holds these lines."""
    return HEAD + "  a:\n" + "".join(f"    {line}\n" for line in lines.splitlines())


def echo(lines: str) -> str:
    return activity(f"use: echo\n{lines}")


def llm(lines: str) -> str:
    return activity("use: llm_prompt\nwith:\n  prompt: hello\n" + "".join(f"  {line}\n" for line in lines.splitlines()))


def two(a: str, b: str) -> str:
    return HEAD + f"  a: {{use: echo, {a}}}\n  b: {{use: echo, {b}}}\n"


SHAPE = {
    "unknown key of a workflow": (
        f"§nam: x\n{echo('')}",
        'unknown key "nam" in a workflow. Did you mean "name"?',
    ),
    "a word from elsewhere": ("name: x\n§steps: []\n" + echo("")[11:], 'Did you mean "activities"?'),
    "no name": ("§activities: {a: {use: echo}}\n", "a workflow needs a `name`"),
    "a name with spaces": ("name: §my flow\nactivities: {a: {use: echo}}\n", "letters, digits, _ and -"),
    "a name that is a number": ("name: §12\nactivities: {a: {use: echo}}\n", 'Quote it: "12".'),
    "no activities": ("§name: x\n", "a workflow needs `activities`"),
    "an empty map of activities": ("name: x\nactivities: §{}\n", "at least one activity"),
    "an empty list of activities": ("name: x\nactivities: §[]\n", "at least one activity"),
    "activities that are text": ("name: x\nactivities: §all\n", 'a map or a list of activities, got "all"'),
    "a list as document": ("§[1, 2]\n", "expected the definition to be a map"),
    "a text as document": ("§hello\n", 'got "hello"'),
    "unknown key of an activity": (
        echo("§retri: 3"),
        'unknown key "retri" in activity a. Did you mean "retry"?',
    ),
    "unknown key of settings": (echo("settings: {§timeot: 3}"), 'Did you mean "timeout"?'),
    "unknown key of workflow settings": (
        "settings: {§max_retry: 3}\n" + echo(""),
        'Did you mean "max_retries"?',
    ),
    "unknown key of retry": (
        echo("retry: {max_attempts: 2, §backoff: exponential}"),
        'Did you mean "strategy"?',
    ),
    "unknown key of budget": (echo("budget: {limit: 1, §acton: abort}"), 'Did you mean "action"?'),
    "unknown key of a dependency": (
        two("after: []", "after: [{activity_key: a, §conditon: 'true'}]"),
        'Did you mean "condition"?',
    ),
    "unknown key of an output": (echo("outputs: [{name: x, §typ: value}]"), 'Did you mean "type"?'),
    "unknown key of an input": ("inputs: {x: {§defualt: 1}}\n" + echo(""), 'Did you mean "default"?'),
    "unknown key of a signal": (echo("wait_for: {§event: x, event_name: y}"), 'Did you mean "event_name"?'),
    "unknown key of streaming": (echo("streaming: {§enable: true}"), 'Did you mean "enabled"?'),
    "unknown key of a sub-workflow": (activity("workflow: {name: x, §budgets: 1}"), 'Did you mean "budget"?'),
    "an old word of the budget": (echo("budget: {limit: 1, §limit_usd: 1}"), 'Did you mean "limit"?'),
    "nothing that runs": (activity("").replace("  a:", "  §a: {}"), "activity a needs `use`"),
    "nothing that runs, in a list": ("name: x\nactivities:\n  - §key: a\n", "needs `use`"),
    "no key in a list": ("name: x\nactivities:\n  - §use: echo\n", "needs a `key`"),
    "a key twice in a list": (
        "name: x\nactivities:\n  - {key: a, use: echo}\n  - {key: §a, use: echo}\n",
        'the key "a" is used twice, first in line 3',
    ),
    "a key twice in a map": (
        HEAD + "  a: {use: echo}\n  §a: {use: echo}\n",
        "twice, first in line 3, column 3",
    ),
    "another key inside the map": (echo("key: §b"), 'the activity is "a" already'),
    "a reserved key": (HEAD + "  §INPUT: {use: echo}\n", 'no activity can be called "INPUT"'),
    "a key with a dot": (HEAD + "  §a.b: {use: echo}\n", 'got "a.b"'),
    "the same setting twice": (echo("timeout: 3s\nsettings: {§timeout_seconds: 4}"), "`timeout` in line 5"),
    "both words of one key": (
        echo("with: {}\n§parameters: {}"),
        "`parameters` says the same as `with` in line 5",
    ),
    "both conditions": (
        two("after: []", "after: [{activity_key: a, conditions: 'true', §condition: 'true'}]"),
        "says the same as `conditions`",
    ),
    "a budget in both places": ("budget: 1\nsettings: {§budget: 2}\n" + echo(""), "says the same"),
    "a budget without limit": (echo("budget: §{action: abort}"), "needs `limit`"),
    "a budget with a currency": (echo("budget: §$5"), "an amount of US dollars such as 0.25"),
    "an absurd budget": (echo("budget: §1e12"), "at most 1,000,000,000 US dollars"),
    "an unknown budget action": (echo("budget: {limit: 1, action: §abrt}"), 'Did you mean "abort"?'),
    "a timeout without sense": (echo("timeout: §soon"), "a duration such as 30s"),
    "a retry without sense": (echo("retry: §often"), 'a whole number, got "often"'),
    "half an attempt": (echo("retry: §1.5"), "a whole number, got 1.5"),
    "a delay without unit": (echo("delay: §5"), 'Write "5s" for seconds'),
    "streaming as text": (echo("streaming: §on"), 'true or false, got "on"'),
    "parameters as a list": (echo("with: §[1]"), "expected with to be a map, got a list"),
    "a condition that is a number": (
        two("after: []", "after: [{activity_key: a, condition: §3}]"),
        'Quote it: "3"',
    ),
    "an empty condition": (echo("when: §''"), 'expected when to be a condition, got ""'),
    "for_each over a map": (echo("for_each: §{a: 1}"), "a list, or a template that yields one"),
    "max_parallel alone": (echo("max_parallel: §3"), "nothing without `for_each`"),
    "an unknown join": (echo("join: §al"), "expected join to be default, all or any"),
    "an output twice": (echo("outputs: [x, §x]"), 'the output "x" stands here twice'),
    "an unknown input type": ("inputs: {x: {type: §strnig}}\n" + echo(""), 'Did you mean "string"?'),
    "required with a default": ("inputs: {x: {default: 1, required: §true}}\n" + echo(""), "never missing"),
    "a signal without name": (echo("wait_for: §{timeout: 3s}"), "needs `event_name`"),
    "a sub-workflow without name": (activity("workflow: §{version: x}"), "needs the `name`"),
    "a sub-workflow that shares and does not": (
        activity("workflow: {name: x, share: §true, budget: 1}"),
        "exclude each other",
    ),
    "a sub-workflow that does not share": (
        activity("workflow: {name: x, share: §false}"),
        "needs a `budget`",
    ),
    "dependency_of nothing": (two("dependency_of: [§c]", "after: []"), 'there is no activity "c"'),
    "labels that are maps": ("labels: {a: §{}}\n" + echo(""), "expected a to be a text, got a map"),
}

NOT_YET = {
    "cache by likeness": (echo("cache: {mode: §semantic}"), 'the cache mode "semantic" is not built yet'),
    "cache threshold": (echo("cache: {§threshold: 0.9}"), '"threshold" is not built yet'),
    "cache for no time": (echo("cache: {ttl: §0}"), "expected more than 0"),
    "cache for two times": (echo("cache: {ttl: 3}\n§cache_ttl: 3"), "keep one of them"),
    "cache with an empty key": (echo("cache: {key: §[]}"), "would make all calls the same"),
    "cache with a secret key": (echo("cache: {key: ['{{ §SECRET.x }}']}"), "a secret can stand in the parameters"),
    "cache of a wait": (
        "name: x\nactivities: {a: {use: wait, with: {seconds: 1}, §cache: true}}",
        "nothing of the kind happens here",
    ),
    "rate_limit": (echo("§rate_limit: 3"), '"rate_limit" is not built yet. Use `delay`'),
    "priority": (echo("settings: {§priority: 3}"), '"priority" is not built yet'),
    "concurrency_key": (echo("§concurrency_key: x"), '"concurrency_key" is not built yet'),
    "compensate": (echo("§compensate: undo"), '"compensate" is not built yet'),
    "effect": (echo("§effect: once"), '"effect" is not built yet. Use `retry: 1`'),
    "a version label": (
        "§version: '2'\n" + echo(""),
        '"version" is not built yet. The version of a workflow is the hash',
    ),
    "folder outputs": (echo("outputs: [{name: x, type: §folder}]"), '"folder" is not built yet'),
    "downloads": (
        activity("use: http_request\nwith: {url: http://x, §download_to_file: y}"),
        '"download_to_file" of http_request is not built yet',
    ),
    "FILE": (echo('with: {x: "{{ §FILE.a.b }}"}'), "FILE is not built yet"),
}

ACTIVITIES = {
    "an unknown activity": (
        activity("use: §ecko"),
        'no activity "ecko" on the queue std. Did you mean "echo"?',
    ),
    "an unknown parameter": (
        activity("use: http_request\nwith: {url: http://x, §heders: {}}"),
        'http_request has no parameter "heders". Did you mean "headers"?',
    ),
    "a missing parameter": (activity("use: http_request\n§with: {method: GET}"), "needs the parameter `url`"),
    "no parameters at all": (
        activity("use: http_request").replace("  a:", "  §a:"),
        "needs the parameter `url`",
    ),
    "no prompt": (
        activity("use: llm_prompt\n§with: {model: demo/large}"),
        "needs the parameter prompt, messages or template",
    ),
    "a model without provider": (
        llm("model: §gpt-5"),
        'provider/model, such as anthropic/claude-haiku-4-5, got "gpt-5"',
    ),
    "an unknown provider": (
        llm("model: §antropic/claude"),
        'no provider "antropic" (in "antropic/claude"). Did you mean "anthropic"?',
    ),
    "one bad model of several": (llm("model: [demo/large, §gpt]"), 'got "gpt"'),
    "a model that is a number": (llm("model: §4"), "got 4"),
    "a setting of a model that there is not": (
        llm("model: [{model: demo/large, §atempts: 2}]"),
        'a model has no setting "atempts". Did you mean "attempts"?',
    ),
    "a map of the list without its model": (llm("model: [§{attempts: 2}]"), "needs `model`"),
    "too many attempts of a model": (llm("model: [{model: demo/large, attempts: §99}]"), "whole number from 1 to 10"),
    "another word for waiting": (llm("model: {model: demo/large, when_limited: §skip}"), "to be wait or next"),
    "an unknown provider in a map": (llm("model: [{model: §antropic/claude}]"), "Did you mean"),
    "two models for vectors": (
        activity("use: embedding\nwith: {input: [a], model: §[demo/embed, openai/e]}"),
        "embedding takes one model by its name",
    ),
    "no model": (llm("model: §[]"), "at least one model"),
    "a choice": (
        activity("use: approval\nwith: {on_timeout: §aprove}"),
        "expected on_timeout to be fail, approve or reject",
    ),
    "a script on std": (
        activity("use: script\nqueue: §std\nwith: {script: OUTPUT = 1}"),
        'does not run on the queue "std" but on "py-std"',
    ),
    "use and workflow": (activity("use: echo\n§workflow: x"), "exclude each other"),
}

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

YAML = {
    "an empty file": ("§", "the file is empty"),
    "only a comment": ("§# nothing\n", "the file is empty"),
    "two documents": ("name: x\n§---\nname: y\n", "a second document begins here"),
    "a tab": ("name: x\nactivities:\n§\ta: 1\n", "indent with spaces, not tabs"),
    "an open bracket": ("name: [x\n§", "cannot be read as YAML"),
    "a bare template": (
        "name: x\nactivities: {a: {use: echo, with: {x: {§{ INPUT.x }}}}}\n",
        "must stand in quotes",
    ),
    "a bare template and text": ("name: x\nx: {§{ INPUT.x }} and more\n", "must stand in quotes"),
    "a control character": ("name: x§\x07\n", "U+0007"),
    "a duplicate key": ("name: x\n§name: y\nactivities: {a: {use: echo}}\n", "first in line 1, column 1"),
    "a duplicate key in parameters": (echo("with: {x: 1, §x: 2}"), 'the key "x" stands here twice'),
    "a tag": (echo("with: {x: §!!python/object:os.system 1}"), "tags"),
    "a merge key": (echo("with: {§<<: {x: 1}}"), "merge keys (<<) are not part of YAML 1.2"),
    "a list as key": (echo("with: {§[1]: 2}"), "expected a key to be a text"),
    "no key": (echo("with:\n  ?§ \n  : 2"), "expected a key before the colon"),
    "not a number": (echo("with: {x: §.nan}"), "expected a finite number, got .nan"),
    "infinity": (echo("with: {x: §-.inf}"), "expected a finite number, got -.inf"),
    "too large a float": (echo("with: {x: §1e999}"), "is too large"),
    "too large an integer": (echo("with: {x: §99999999999999999999}"), "64 bits"),
    "an unknown alias": (echo("with: {x: §*nope}"), "no anchor &nope"),
    "an anchor that holds itself": (echo("with: {x: &a [§*a]}"), "&a holds itself"),
    "deep nesting": ("name: x\nx: " + "[" * 63 + "§[" + "]" * 64 + "\n", "at most 64 levels"),
}

POLICIES = {
    "policies: an unknown policy": (echo("policies: [§pi]"), 'there is no policy "pi". Did you mean "pii"?'),
    "policies: a policy that is no name": (echo("policies: [§3]"), "expected policies[0] to be a policy's name"),
    "policies: a map of policies": (echo("policies: §{use: pii}"), "expected policies to be a list of policies"),
    "policies: a policy without use": (echo("policies: [§{kinds: [email]}]"), "a policy needs `use`"),
    "policies: a policy twice": (echo("policies: [pii, §{use: pii}]"), 'the policy "pii" stands here twice'),
    "policies: an unknown option": (echo("policies: [{use: pii, §kind: [email]}]"), 'Did you mean "kinds"?'),
    "policies: an unknown kind": (echo("policies: [{use: pii, kinds: [§mail]}]"), 'Did you mean "email"?'),
    "policies: a threshold above one": (echo("policies: [{use: injection, threshold: §1.5}]"), "above 0 and at most 1"),
    "policies: an unknown action": (echo("policies: [{use: injection, action: §ask}]"), "deny, record or approve"),
    "policies: an allow-list of nothing": (echo("policies: [§allow_list]"), "does nothing without models or deny"),
    "policies: a model without provider": (echo("policies: [{use: allow_list, models: [§openai]}]"), "openai/*"),
    "policies: no tokens": (echo("policies: [{use: token_budget, run: §0}]"), "a number of tokens from 1"),
    "policies: effects without a rule": (echo("policies: [§side_effects]"), "needs `after_untrusted: approve`"),
    "policies: effects that run dry": (
        echo("policies: [{use: side_effects, after_untrusted: approve, dry_run: §true}]"),
        "side_effects cannot run dry",
    ),
    "policies: a rate of nothing": (echo("policies: [§{use: rate_limit, per: 1m}]"), "does nothing without requests"),
    "policies: a rate of no requests": (
        echo("policies: [{use: rate_limit, requests: §0}]"),
        "a number of requests from 1",
    ),
    "policies: a rate of no money": (echo("policies: [{use: rate_limit, money: §0}]"), "expected an amount above 0"),
    "policies: a rate of money that is none": (
        echo("policies: [{use: rate_limit, money: §much}]"),
        "expected money to be an amount of US dollars",
    ),
    "policies: a rate per no time": (
        echo("policies: [{use: rate_limit, requests: 1, per: §0s}]"),
        "whole seconds from 1 to 86,400",
    ),
    "policies: a rate per part of a second": (
        echo("policies: [{use: rate_limit, requests: 1, per: §1500ms}]"),
        "whole seconds from 1 to 86,400",
    ),
    "policies: a rate per more than a day": (
        echo("policies: [{use: rate_limit, requests: 1, per: §2d}]"),
        "whole seconds from 1 to 86,400",
    ),
    "policies: a rate that runs dry": (
        echo("policies: [{use: rate_limit, requests: 1, dry_run: §true}]"),
        "rate_limit cannot run dry",
    ),
    "policies: scrubbing something else": ("scrub: §output\n" + echo(""), "expected scrub to be input"),
}
NOTIFY = {
    "notify: nobody": ("notify: §{on: failed}\n" + echo(""), "needs email, slack or webhook"),
    "notify: an unknown key": ("notify: {§mail: a@b.org}\n" + echo(""), 'Did you mean "email"?'),
    "notify: an unknown occasion": (
        "notify: {on: [failed, §wait], email: a@b.org}\n" + echo(""),
        'Did you mean "waiting"?',
    ),
    "notify: no occasion": ("notify: {on: §[], email: a@b.org}\n" + echo(""), "nothing is told of"),
    "notify: no address": ("notify: {email: [a@b.org, §ann]}\n" + echo(""), "a mail address such as ann@example.org"),
    "notify: a header in an address": ('notify: {email: §"a@b.org\\nBcc: c@d.org"}\n' + echo(""), "a mail address"),
    "notify: no addresses": ("notify: {email: §[]}\n" + echo(""), "1 to 50 addresses, got 0"),
    "notify: a URL for Slack": ("notify: {slack: §https://hooks.slack.com/x}\n" + echo(""), "the name of a secret"),
    "notify: a webhook elsewhere": ("notify: {webhook: §ftp://x}\n" + echo(""), "an address such as https://"),
    "notify: a secret for nothing": ("notify: {email: a@b.org, §secret: K}\n" + echo(""), "there is none"),
    "notify: a reminder that is no time": (
        "name: x\nnotify: {email: a@b.org}\nactivities: {a: {use: approval, with: {title: x, remind_after: §soon}}}\n",
        "expected a duration such as 30s",
    ),
    "notify: a reminder at once": (
        "name: x\nnotify: {email: a@b.org}\nactivities: {a: {use: approval, with: {title: x, remind_after: §0s}}}\n",
        "expected remind_after to be some time",
    ),
}

ALL = {**SHAPE, **NOT_YET, **ACTIVITIES, **BOUNDS, **GRAPH, **REFERENCES, **YAML, **POLICIES, **NOTIFY}


def test_no_two_refusals_share_a_name():
    tables = (SHAPE, NOT_YET, ACTIVITIES, BOUNDS, GRAPH, REFERENCES, YAML, POLICIES, NOTIFY)

    assert len(ALL) == sum(len(table) for table in tables)


@pytest.mark.parametrize(("marked", "said"), ALL.values(), ids=ALL.keys())
def test_what_cannot_work_is_refused_at_its_place_with_advice(marked: str, said: str):
    place = marked.index("§")
    text = marked.replace("§", "")
    expected = (marked.count("\n", 0, place) + 1, place - marked.rfind("\n", 0, place))

    with pytest.raises(InvalidDefinition) as caught:
        load_definition(text, source="flow.yaml")

    problem = next((p for p in caught.value.problems if said in p.message), None)
    assert problem is not None, [str(p) for p in caught.value.problems]
    assert (problem.line, problem.column) == expected
    assert problem.source == "flow.yaml"
    assert len(caught.value.problems) == 1, [str(p) for p in caught.value.problems]


def test_all_problems_are_found_at_once_and_told_in_the_order_of_the_file():
    text = HEAD + "  a: {use: ecko, retry: 0, frob: 1}\n  b: {use: echo, after: [c], with: {x: '{{ d.e }}'}}\n"

    with pytest.raises(InvalidDefinition) as caught:
        load_definition(text, source="flow.yaml")

    problems = caught.value.problems
    assert [(p.line, p.column) for p in problems] == [(3, 12), (3, 25), (3, 28), (4, 26), (4, 44)]
    assert [p.path for p in problems] == [
        "activities.a.use",
        "activities.a.retry",
        "activities.a.frob",
        "activities.b.after[0]",
        "activities.b.with.x",
    ]
    assert str(caught.value).startswith("flow.yaml has 5 problems:\n  flow.yaml:3:12: there is no activity")
    assert caught.value.code == "invalid_definition"


def test_paths_use_the_authors_words_and_the_keys_of_a_list():
    activity = "{key: fetch, activity_name: http_request, parameters: {url: '{{ nope }}'}}"
    text = f"name: x\nactivities:\n  - {activity}\n"

    with pytest.raises(InvalidDefinition) as caught:
        load_definition(text)

    assert caught.value.problems[0].path == "activities.fetch.parameters.url"


def test_a_billion_laughs_are_refused_at_once():
    lines = ["name: x", "a0: &a0 [lol, lol, lol, lol, lol, lol, lol, lol, lol]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 30)]

    with pytest.raises(InvalidDefinition, match="aliases to add at most 10,000 values"):
        load_definition("\n".join(lines))


def test_more_than_a_mebibyte_is_refused_unread():
    with pytest.raises(InvalidDefinition, match="at most 1,048,576 bytes, got 1,048,577"):
        load_definition(b"x" * (1024 * 1024 + 1))


def test_bytes_that_are_not_utf_8_are_refused_with_their_place():
    with pytest.raises(InvalidDefinition, match="byte 0xff") as caught:
        load_definition("name: ü\nx: ".encode() + b"\xff\n")

    assert (caught.value.problems[0].line, caught.value.problems[0].column) == (2, 4)


def test_utf_16_is_refused_with_advice():
    with pytest.raises(InvalidDefinition, match="save it as UTF-8"):
        load_definition("name: x".encode("utf-16"))


JSON = {
    "a duplicate key": (
        '{"name": "x",\n "activities": {"a": {"use": "echo", §"use": "echo"}}}',
        "first in line 2, column 23",
    ),
    "an unknown key": (
        '{"name": "x", "activities": {"a": {"use": "echo", §"retri": 1}}}',
        'Did you mean "retry"?',
    ),
    "half a surrogate pair": (
        '{"name": "x", "activities": {"a": {"use": "echo", "with": {"x": §"\\ud800"}}}}',
        "half of a surrogate pair",
    ),
    "too large a number": (
        '{"name": "x", "activities": {"a": {"use": "echo", "with": {"x": §1e999}}}}',
        "too large",
    ),
    "a name that is nothing": (
        '{"name": "x", "activities": {"a": {"use": "echo", "with": {"x": "\\n{{ §nope.x }}"}}}}',
        'there is no "nope"',
    ),
}


@pytest.mark.parametrize(("marked", "said"), JSON.values(), ids=JSON.keys())
def test_json_is_refused_with_its_places_too(marked: str, said: str):
    place = marked.index("§")
    expected = (marked.count("\n", 0, place) + 1, place - marked.rfind("\n", 0, place))

    with pytest.raises(InvalidDefinition) as caught:
        load_definition(marked.replace("§", ""))

    assert [(p.line, p.column) for p in caught.value.problems] == [expected]
    assert said in caught.value.problems[0].message
