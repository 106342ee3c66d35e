"""What authors write: definition files read, brought into long form and checked. It does no I/O and runs
nothing."""

from headgate.authoring.check import check_definition
from headgate.authoring.inputs import InvalidInput, validate_input
from headgate.authoring.load import load_definition
from headgate.authoring.positions import Positions
from headgate.authoring.problems import InvalidDefinition

__all__ = [
    "InvalidDefinition",
    "InvalidInput",
    "Positions",
    "check_definition",
    "load_definition",
    "validate_input",
]
