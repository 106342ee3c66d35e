"""The seams: what the engine asks of the world, and what the world may ask of the engine. Protocols and their values.

Floor 2 (engine, activities, stores, queues, llm, client) meets only here; nothing in this folder does I/O.
"""

from headgate.ports.activity import ActivityContext, ActivityFunction, Attempt
from headgate.ports.cache import Cache, Reusable
from headgate.ports.client import Changed, Client, EventView, StartRequest, Tokens, Update
from headgate.ports.clock import Clock
from headgate.ports.files import Files
from headgate.ports.keeping import Collected, Deletion, Erased, Erasure, Keeping, KeptLog
from headgate.ports.log import Append, EventRow, Head, Log, Move, NewEvent, Outcome, OverBudget, RunRow, Tables
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
from headgate.ports.policy import (
    NO_GUARDS,
    Allow,
    Checked,
    Decision,
    Deny,
    Guard,
    Guards,
    Modify,
    Policy,
    PolicyCall,
    TextFilter,
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
    "NO_GUARDS",
    "Acknowledged",
    "ActivityContext",
    "ActivityFunction",
    "Admission",
    "Admitted",
    "Allow",
    "Append",
    "Attempt",
    "Cache",
    "CallRequest",
    "Changed",
    "Checked",
    "Claim",
    "Client",
    "Clock",
    "Collected",
    "Completed",
    "Decision",
    "Deletion",
    "Denied",
    "Deny",
    "EmbeddingAnswer",
    "Erased",
    "Erasure",
    "EventRow",
    "EventView",
    "Failed",
    "Files",
    "FinishReason",
    "Guard",
    "Guards",
    "Head",
    "Hit",
    "Keeping",
    "KeptLog",
    "Log",
    "Message",
    "ModelAnswer",
    "ModelProvider",
    "ModelRequest",
    "Modify",
    "Move",
    "NewEvent",
    "Outcome",
    "OverBudget",
    "Policy",
    "PolicyCall",
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
    "TextFilter",
    "Tokens",
    "ToolCall",
    "Update",
    "WorkerProtocol",
]
