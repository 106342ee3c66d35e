"""Refused for their words: keys, names, what is not built yet, what an activity takes."""

from __future__ import annotations

from tests.authoring.refused.files import HEAD, activity, echo, llm, two

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
