"""A prompt that came from a template is asked like any other: which template it was is no part of the request."""

from __future__ import annotations

from headgate.activities.prompt_parameters import request_of


def test_the_name_of_a_template_is_no_part_of_the_request():
    plain = request_of({"model": "demo/small", "prompt": "hello"}, max_tokens_default=5)

    named = request_of({"model": "demo/small", "prompt": "hello", "template": "greet@2"}, max_tokens_default=5)

    assert named == plain
