"""Refused for their YAML, their policies, and whom they tell."""

from __future__ import annotations

from tests.authoring.refused.files import echo

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
