"""What authors write: definition files read, brought into long form and checked. It does no I/O and runs
nothing."""

from headgate.authoring.check import check_definition
from headgate.authoring.inputs import InvalidInput, validate_input
from headgate.authoring.load import Loaded, load_definition, load_with_warnings
from headgate.authoring.positions import Positions
from headgate.authoring.problems import InvalidDefinition
from headgate.authoring.prompt_templates import UnreadableFile
from headgate.authoring.referenced_files import given_files

__all__ = [
    "InvalidDefinition",
    "InvalidInput",
    "Loaded",
    "Positions",
    "UnreadableFile",
    "check_definition",
    "given_files",
    "load_definition",
    "load_with_warnings",
    "validate_input",
]
