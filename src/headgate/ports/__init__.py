"""The seams: what the engine asks of the world, and what the world may ask of the engine. Protocols and their values.

Floor 2 (engine, activities, stores, queues, llm, client) meets only here; nothing in this folder does I/O.
"""

from headgate.ports.activity import ActivityContext, ActivityFunction, Attempt
from headgate.ports.budgets import BudgetListener, BudgetNews, BudgetRule, BudgetRules, BudgetStanding, Period
from headgate.ports.cache import Cache, Reusable
from headgate.ports.client import Changed, Client, EventView, StartRequest, Tokens, Update
from headgate.ports.clock import Clock
from headgate.ports.files import Files
from headgate.ports.keeping import Collected, Deletion, Erased, Erasure, Keeping, KeptLog
from headgate.ports.log import (
    Append,
    EventRow,
    Head,
    Log,
    Move,
    NewEvent,
    Opening,
    Outcome,
    OverBudget,
    RunRow,
    Tables,
)
from headgate.ports.model import (
    EmbeddingAnswer,
    FinishReason,
    Message,
    ModelAnswer,
    ModelProvider,
    ModelRequest,
    ProviderError,
    Providers,
    ToolCall,
)
from headgate.ports.queue import Claim, Queue, Task
from headgate.ports.schedule import Schedule, Schedules
from headgate.ports.spend import SpendRow, SpendTotal, SpendWanted
from headgate.ports.worker import (
    Acknowledged,
    Admission,
    Admitted,
    CallRequest,
    Completed,
    Denied,
    Failed,
    Hit,
    Report,
    Settlement,
    WorkerProtocol,
)

__all__ = [
    "Acknowledged",
    "ActivityContext",
    "ActivityFunction",
    "Admission",
    "Admitted",
    "Append",
    "Attempt",
    "BudgetListener",
    "BudgetNews",
    "BudgetRule",
    "BudgetRules",
    "BudgetStanding",
    "Cache",
    "CallRequest",
    "Changed",
    "Claim",
    "Client",
    "Clock",
    "Collected",
    "Completed",
    "Deletion",
    "Denied",
    "EmbeddingAnswer",
    "Erased",
    "Erasure",
    "EventRow",
    "EventView",
    "Failed",
    "Files",
    "FinishReason",
    "Head",
    "Hit",
    "Keeping",
    "KeptLog",
    "Log",
    "Message",
    "ModelAnswer",
    "ModelProvider",
    "ModelRequest",
    "Move",
    "NewEvent",
    "Opening",
    "Outcome",
    "OverBudget",
    "Period",
    "ProviderError",
    "Providers",
    "Queue",
    "Report",
    "Reusable",
    "RunRow",
    "Schedule",
    "Schedules",
    "Settlement",
    "SpendRow",
    "SpendTotal",
    "SpendWanted",
    "StartRequest",
    "Tables",
    "Task",
    "Tokens",
    "ToolCall",
    "Update",
    "WorkerProtocol",
]
