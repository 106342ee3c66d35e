"""Expenses from a CSV file: Python reads and adds them up, a model sums up the notes, a person agrees to large sums.

python examples/python_workflow/expenses.py examples/python_workflow/expenses.csv
"""

import csv
import io
import sys
from decimal import Decimal
from pathlib import Path

import msgspec

import headgate


class Expense(msgspec.Struct):
    who: str
    amount: Decimal
    note: str


@headgate.activity
def read_expenses(text: str) -> list[Expense]:
    return [msgspec.convert(row, Expense, strict=False) for row in csv.DictReader(io.StringIO(text))]


@headgate.activity(attempts=3, timeout="10s")
async def add_up(expenses: list[Expense], ctx: headgate.ActivityContext) -> dict[str, Decimal]:
    totals: dict[str, Decimal] = {}
    for expense in expenses:
        totals[expense.who] = totals.get(expense.who, Decimal(0)) + expense.amount
    ctx.log("added up", people=len(totals))
    return totals


workflow = headgate.Workflow("expenses", inputs={"text": "file", "agree_above": "number"}, budget="0.05")
read = workflow.add("read", read_expenses, with_={"text": workflow.input.text})
totals = workflow.add("totals", add_up, with_={"expenses": read.result})
summary = workflow.add(
    "summary",
    "llm_prompt",
    for_each=read.result,
    max_parallel=2,
    with_={
        "model": "demo/small",
        "prompt": f"Summarise the note in one sentence.\n\n<note>\n{workflow.item.note}\n</note>",
        "max_tokens": 60,
    },
)
agree = workflow.add(
    "agree",
    "approval",
    when="read.result | map(attribute='amount') | map('float') | sum > INPUT.agree_above",
    with_={"title": "Pay these expenses?", "show": {"totals": totals.result}},
)
workflow.outputs = {
    "totals": totals.result,
    "notes": summary.content,
    "agreed": "{{ agree.status == 'skipped' or agree.approved }}",
}


if __name__ == "__main__":
    given = {"text": Path(sys.argv[1]).read_text(encoding="utf-8"), "agree_above": 1000}
    result = headgate.run(workflow, given).raise_for_status()
    print(result.outputs)
