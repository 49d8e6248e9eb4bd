"""The whole command language of a SourceMeter, from its parts."""

from .source_commands import add_source_commands
from .source_core import SourceCore
from .source_data import add_calculate_commands, add_data_commands, add_trigger_commands
from .source_sense import add_measurement_commands, add_sense_commands
from .source_system import add_common_commands, add_system_commands
from .source_table import CommandTable


def command_table(core: SourceCore) -> CommandTable:
    """Return all commands of the instrument, bound to its state."""
    table = CommandTable(core.settings)
    add_source_commands(table, core)
    add_sense_commands(table, core)
    add_measurement_commands(table, core)
    add_common_commands(table, core)
    add_system_commands(table, core)
    add_data_commands(table, core)
    add_trigger_commands(table, core)
    add_calculate_commands(table, core)
    return table
