"""What providers are asked, and how their answers are read."""

from __future__ import annotations

from tests.mutants.mutant import Edit, Mutant

PROMISE = "tests/llm/test_provider_conformance.py::test_every_provider_keeps_the_promise"
LLM = "src/headgate/llm"
REPORTS = "src/headgate/llm/usage_reports.py"

MUTANTS = (
    Mutant(
        "provider: a redirect is followed",
        (
            Edit(
                f"{LLM}/http_provider.py",
                'headers={"User-Agent": "headgate"},',
                'headers={"User-Agent": "headgate"}, follow_redirects=True,',
            ),
        ),
        f"{PROMISE}[anthropic-a_redirect_is_not_followed_wherever_it_leads]",
    ),
    Mutant(
        "provider: what a call opened stays open",
        (
            Edit(f"{LLM}/exchange.py", "            await self._incoming.aclose()", "            pass"),
            Edit(f"{LLM}/exchange.py", "            await self._response.aclose()", "            pass"),
        ),
        f"{PROMISE}[google-a_stream_that_is_left_closes_its_connection]",
    ),
    Mutant(
        "provider: a call has no deadline",
        (Edit(f"{LLM}/exchange.py", "asyncio.timeout_at(self._deadline)", "asyncio.timeout_at(None)"),),
        f"{PROMISE}[bedrock-a_stream_that_stands_still_is_given_up_and_not_repeated]",
    ),
    Mutant(
        "provider: what the cache read is no input",
        (Edit(REPORTS, '    speed = tier_of(fields.get("speed"))\n', '    speed, fresh = "", fresh - read\n'),),
        f"{PROMISE}[anthropic-usage_comes_in_buckets_that_are_parts_of_the_sums]",
    ),
    Mutant(
        "provider: a cache of an hour counts as one of five minutes",
        (Edit(REPORTS, 'if one.get("ttl") == "1h")', 'if one.get("ttl") == "1 h")'),),
        f"{PROMISE}[bedrock-usage_comes_in_buckets_that_are_parts_of_the_sums]",
    ),
    Mutant(
        "provider: thinking is no output",
        (Edit(REPORTS, "        said + thought,\n", "        said,\n"),),
        f"{PROMISE}[google-usage_comes_in_buckets_that_are_parts_of_the_sums]",
    ),
    Mutant(
        "provider: a usage of nothing is taken for one",
        (
            Edit(
                f"{LLM}/answer_parts.py",
                "told if told and (told.input_tokens or told.output_tokens) else",
                "told if told else",
            ),
        ),
        f"{PROMISE}[anthropic-a_usage_that_is_nonsense_loses_no_answer_and_is_estimated]",
    ),
    Mutant(
        "provider: a cut stream passes for a whole one",
        (Edit(f"{LLM}/http_provider.py", "if not parts.finished:", "if False:"),),
        f"{PROMISE}[google-a_stream_that_ends_without_its_end_is_cut]",
    ),
    Mutant(
        "provider: what a stream begins with passes for all that it used",
        (
            Edit(
                f"{LLM}/http_provider.py",
                "if reported is not None and parts.output_reported:",
                "if reported is not None:",
            ),
        ),
        "tests/llm/test_vendor_answers.py::test_what_anthropic_wrote_to_its_cache_is_known_from_where_a_stream_begins",
    ),
    Mutant(
        "provider: what a provider says shows the key",
        (Edit(f"{LLM}/exchange.py", 'text = text.replace(secret, "[secret]")', "pass"),),
        "tests/llm/test_provider_keys.py::test_a_key_is_nowhere_in_errors_or_logs[anthropic]",
    ),
    Mutant(
        "provider: libraries log headers",
        (Edit(f"{LLM}/quiet.py", "logger.setLevel(logging.WARNING)", "pass"),),
        "tests/llm/test_provider_keys.py::test_a_key_is_nowhere_in_errors_or_logs[anthropic]",
    ),
    Mutant(
        "provider: an error inside a stream goes unnamed",
        (Edit(f"{LLM}/bedrock_answers.py", 'if frame.headers.get("message-type") != "event":', "if False:"),),
        f"{PROMISE}[bedrock-an_error_inside_a_stream_ends_it_with_what_was_used]",
    ),
    Mutant(
        "provider: a limit of the day is waited for as one of the minute",
        (Edit(f"{LLM}/refusals.py", 'code == "rate_limited" and _is_daily(said)', "False"),),
        "tests/llm/test_vendor_answers.py::test_a_stream_of_google_that_fails_says_how_long_to_wait_and_whether_it_is_the_day",
    ),
    Mutant(
        "provider: a signature does not cover the body",
        (Edit(f"{LLM}/amazon_signing.py", "hashlib.sha256(content).hexdigest(),", 'hashlib.sha256(b"").hexdigest(),'),),
        "tests/llm/test_amazon_signing.py::test_any_request_is_signed_as_amazons_sdk_signs_it",
    ),
    Mutant(
        "provider: a path is signed as it is sent",
        (Edit(f"{LLM}/amazon_signing.py", 'quote(parts.path or "/", safe="/-_.~")', '(parts.path or "/")'),),
        "tests/llm/test_amazon_signing.py::test_any_request_is_signed_as_amazons_sdk_signs_it",
    ),
    Mutant(
        "provider: a key that has run out signs",
        (Edit(f"{LLM}/amazon_credentials.py", "> KEPT_SECONDS_MAX", "> 10**9"),),
        "tests/llm/test_amazon_signing.py::test_a_key_that_may_change_is_asked_for_again_after_a_while",
    ),
    Mutant(
        "provider: the sum of a frame is not looked at",
        (Edit(f"{LLM}/event_streams.py", "if zlib.crc32(data[:-4]) != int.from_bytes(data[-4:]):", "if False:"),),
        "tests/llm/test_vendor_answers.py::test_a_frame_that_was_changed_on_the_way_is_malformed",
    ),
    Mutant(
        "provider: a line that is cut in its end is two",
        (Edit(f"{LLM}/event_streams.py", 'chunk = chunk.removeprefix(b"\\n")', "pass"),),
        "tests/llm/test_event_streams.py::test_an_event_is_given_with_the_byte_that_ends_it",
    ),
    Mutant(
        "provider: thinking is not kept",
        (Edit(f"{LLM}/answer_parts.py", "thoughts=tuple(self._sealed(calls)),", "thoughts=(),"),),
        "tests/llm/test_thoughts.py::test_a_workflow_passes_thinking_on_as_it_passes_calls",
    ),
    Mutant(
        "provider: thinking between calls goes back before the text",
        (Edit(f"{LLM}/answer_parts.py", "                thought.call = number", "                pass"),),
        "tests/llm/test_thoughts.py::test_each_thought_goes_back_to_anthropic_where_it_stood",
    ),
    Mutant(
        "provider: thinking goes to another vendor",
        (Edit(f"{LLM}/request_parts.py", "if thought.provider == provider and place == call:", "if place == call:"),),
        "tests/llm/test_thoughts.py::test_nobody_gets_the_thinking_of_another_vendor",
    ),
    Mutant(
        "provider: a call of Gemini's goes back without its signature",
        (
            Edit(
                f"{LLM}/google_requests.py",
                "yield {**told, **unsigned, **_signature(message, provider, call.id)}",
                "yield {**told, **unsigned}",
            ),
        ),
        "tests/llm/test_thoughts.py::test_thinking_goes_back_with_the_results_of_tools",
    ),
    Mutant(
        "provider: thinking leaves with what must not leave",
        (
            Edit(
                "src/headgate/policies/scrubbing.py",
                "if self._scrubber.scrubbed(thought.text) == thought.text",
                "if True",
            ),
        ),
        "tests/policies/test_scrubbing.py::test_thinking_that_would_have_to_be_changed_is_left_out_for_its_seal_would_break",
    ),
    Mutant(
        "provider: a schema stays open",
        (
            Edit(
                f"{LLM}/schema_subset.py",
                'part["additionalProperties"] = False',
                'part.setdefault("additionalProperties", False)',
            ),
        ),
        "tests/llm/test_schema_subset.py::test_nothing_that_is_refused_is_left_and_objects_are_closed",
    ),
    Mutant(
        "provider: thinking leaves no room for the answer",
        (Edit(f"{LLM}/claude.py", "request.max_tokens - ANSWER_TOKENS_MIN", "request.max_tokens"),),
        "tests/llm/test_model_requests.py::test_claude_is_told_how_much_to_think_in_the_words_of_its_generation",
    ),
    Mutant(
        "provider: results of tools stand beside text where they may not",
        (Edit(f"{LLM}/bedrock_requests.py", "if not family.results_alone:", "if True:"),),
        "tests/llm/test_model_requests.py::test_results_of_tools_stand_alone_where_a_maker_wants_it",
    ),
    Mutant(
        "provider: an unknown field is sent",
        (Edit(f"{LLM}/bedrock_requests.py", '"stopSequences": list(', '"stop_sequences": list('),),
        "tests/llm/test_vendor_requests.py::test_amazons_sdk_knows_whatever_is_asked",
    ),
    Mutant(
        "provider: an unknown field is sent to Anthropic",
        (Edit(f"{LLM}/anthropic_requests.py", '"input_schema": tool.schema', '"inputSchema": tool.schema'),),
        "tests/llm/test_vendor_requests.py::test_anthropics_sdk_knows_whatever_is_asked",
    ),
    Mutant(
        "provider: an unknown field is sent to Google",
        (
            Edit(
                f"{LLM}/google_requests.py", '"maxOutputTokens": request.max_tokens', '"maxTokens": request.max_tokens'
            ),
        ),
        "tests/llm/test_vendor_requests.py::test_googles_sdk_knows_whatever_is_asked",
    ),
    Mutant(
        "provider: vectors that were made are not paid for",
        (Edit(f"{LLM}/vectors.py", "failure.usage = _sum_of([usage, failure.usage or Usage()])", "pass"),),
        "tests/llm/test_vendor_answers.py::test_vectors_that_were_made_are_paid_for_when_one_is_not",
    ),
    Mutant(
        "provider: a misspelt model is not helped",
        (Edit("src/headgate/llm/model_names.py", 'if error.kind == "not_found" else []', "if False else []"),),
        f"{PROMISE}[openai-a_model_that_is_not_there_is_answered_with_those_that_are_like_it]",
    ),
)
