"""A workflow and its file of two test cases, of which the second fails."""

__all__ = ["CASES", "FLOW"]

FLOW = """name: w
inputs: {n: integer}
activities:
  a: {use: echo, with: {n: "{{ INPUT.n }}"}}
outputs: {n: "{{ a.echo.n }}"}
"""
CASES = """cases:
  - name: three is three
    input: {n: 3}
    expect: {outputs: {n: 3}}
  - name: three is four
    input: {n: 3}
    expect: {outputs: {n: 4}}
"""
