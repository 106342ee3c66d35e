"""Providers that speak their own protocol: Anthropic, Google Gemini and AWS Bedrock, through `pydantic_ai.direct`.

What a message looks like on its vendor's wire is `pydantic_ai`'s knowledge and the vendor's SDK's; one extra of the
package brings both (`headgate[anthropic]`, `[google]`, `[bedrock]`), and they are imported with the first call. What is
ours, for all three alike: one request per call (`wire`), what a failure is named (`failures`), what was used
(`usage`), and the two translations (`messages`, `answers`). A vendor is one file that puts them together.
"""

__all__: list[str] = []
