"""Common commands, STATus, SYSTem and DISPlay (manual, sections 15, 16 and 18)."""

from collections.abc import Callable

from . import scpi
from .scpi import Parameters, Reply, ScpiError
from .scpi_status import RegisterSet
from .source_core import SourceCore
from .source_table import CommandTable, always, in_base, nr3, whole

_FRONT_KEYS = {20: "TRIG", 24: "OUTPUT"}


def add_common_commands(table: CommandTable, core: SourceCore) -> None:
    """Enter the IEEE 488.2 commands and STATus."""
    add, status, settings = table.tree.add, core.status, core.settings

    def shown(value: int) -> Reply:
        return in_base(value, settings.register_format)

    table.query("*IDN", lambda: core.model.identification(core.serial_number))
    table.query("*OPT", lambda: "0")
    table.query("*TST", lambda: "0")
    table.action("*RST", core.reset, always)
    table.action("*CLS", status.clear)
    table.action("*WAI", lambda: None)
    # Both come only once the instrument is idle: no other command runs before.
    add("*OPC", lambda p: status.standard.strike(0), lambda p: "1")

    def trigger() -> None:
        if not core.sequencer.signal("BUS", latch=False):
            raise ScpiError(-211)

    table.action("*TRG", trigger, always)
    add("*STB", None, lambda p: shown(status.byte()))
    add("*ESR", None, lambda p: shown(status.standard.read()))

    def set_service(parameters: Parameters) -> None:
        status.service_enable = whole(parameters, 0, 255) & ~64

    def set_standard(parameters: Parameters) -> None:
        status.standard.enable = whole(parameters, 0, 255)

    add("*SRE", set_service, lambda p: shown(status.service_enable))
    add("*ESE", set_standard, lambda p: shown(status.standard.enable))

    def save(parameters: Parameters) -> None:
        core.setups[whole(parameters, 0, 4)] = settings.snapshot()

    add("*SAV", save)
    add("*RCL", lambda p: core.recall_setup(whole(p, 0, 4)), immediate=always)
    if core.model.language:
        languages = ["SCPI", "SCPI2400", "TSP"]

        def set_language(parameters: Parameters) -> None:
            # The choice takes effect at the next power-on; this one has none.
            if scpi.one(parameters).upper() not in languages:
                raise ScpiError(-141)

        add("*LANG", set_language, lambda p: core.model.language)
    sets: dict[str, RegisterSet] = {
        "MEASurement": status.measurement,
        "OPERation": status.operation,
        "QUEStionable": status.questionable,
    }

    def read_event(registers: RegisterSet) -> Callable[[], Reply]:
        def ask() -> Reply:
            core.look_at_source()
            return shown(registers.read())

        return ask

    def read_condition(registers: RegisterSet) -> Callable[[], Reply]:
        def ask() -> Reply:
            core.look_at_source()
            return shown(registers.condition)

        return ask

    def enable(registers: RegisterSet) -> Callable[[Parameters], None]:
        def write(parameters: Parameters) -> None:
            registers.enable = whole(parameters, 0, 65535)

        return write

    for name, registers in sets.items():
        table.query(f":STATus:{name}[:EVENt]", read_event(registers))
        table.query(f":STATus:{name}:CONDition", read_condition(registers))
        add(
            f":STATus:{name}:ENABle",
            enable(registers),
            lambda p, r=registers: shown(r.enable),  # type: ignore[misc]
        )
    table.action(":STATus:PRESet", status.preset)
    errors = status.errors
    table.query(":STATus:QUEue[:NEXT]", errors.next)
    table.action(":STATus:QUEue:CLEar", errors.clear)

    def ranges() -> Reply:
        return "(" + ",".join(f"{low:+d}:{high:+d}" for low, high in errors.enabled) + ")"

    add(":STATus:QUEue:ENABle", lambda p: errors.enable(_numlist(p)), lambda p: ranges())
    add(":STATus:QUEue:DISable", lambda p: errors.disable(_numlist(p)))


def _numlist(parameters: Parameters) -> list[tuple[int, int]]:
    return scpi.intervals(scpi.one(parameters))


def add_system_commands(table: CommandTable, core: SourceCore) -> None:
    """Enter SYSTem and DISPlay."""
    add, errors, settings = table.tree.add, core.status.errors, core.settings
    table.query(":SYSTem:ERRor[:NEXT]", errors.next)
    table.query(":SYSTem:ERRor:COUNt", lambda: str(len(errors)))
    table.query(":SYSTem:ERRor:CODE[:NEXT]", errors.next_code)

    def every(read: Callable[[], str]) -> Callable[[], Reply]:
        return lambda: ",".join([read() for _ in range(max(1, len(errors)))])

    table.query(":SYSTem:ERRor:ALL", every(errors.next))
    table.query(":SYSTem:ERRor:CODE:ALL", every(errors.next_code))
    table.action(":SYSTem:CLEar", errors.clear)
    table.query(":SYSTem:VERSion", lambda: "1996.0")
    table.action(":SYSTem:PRESet", lambda: core.reset(swapped=True), always)
    power_on = ["RST", "PRESet", "SAV0", "SAV1", "SAV2", "SAV3", "SAV4"]
    kept = {"power-on": "RST"}

    def set_power_on(parameters: Parameters) -> None:
        kept["power-on"] = scpi.keyword(scpi.one(parameters), power_on)

    add(":SYSTem:POSetup", set_power_on, lambda p: kept["power-on"])
    table.query(":SYSTem:FRSWitch", lambda: str(int(settings.front)))
    table.switch(":SYSTem:RSENse", "remote_sense")
    table.word(":SYSTem:GUARd", "guard", ["OHMS", "CABLe"])
    table.word(":SYSTem:RCMode", "range_change", ["SINGle", "MULTiple"])

    def set_zero(parameters: Parameters) -> None:
        text = scpi.one(parameters)
        if text.upper() != "ONCE":  # which refreshes the zero and changes no setting
            settings.autozero = scpi.boolean(text)

    add(":SYSTem:AZERo[:STATe]", set_zero, lambda p: str(int(settings.autozero)))
    flags = {"caching": False, "beeper": True, "remote": False, "lockout": False}

    def keep(name: str) -> tuple[Callable[[Parameters], None], Callable[[Parameters], Reply]]:
        def write(parameters: Parameters) -> None:
            flags[name] = scpi.boolean(scpi.one(parameters))

        return write, lambda p: str(int(flags[name]))

    add(":SYSTem:AZERo:CACHing[:STATe]", *keep("caching"))
    table.action(":SYSTem:AZERo:CACHing:REFResh", lambda: None)
    table.action(":SYSTem:AZERo:CACHing:RESet", lambda: None)
    table.query(":SYSTem:AZERo:CACHing:NPLCycles", lambda: nr3(settings.nplc))
    add(":SYSTem:BEEPer:STATe", *keep("beeper"))
    add(":SYSTem:RWLock", *keep("lockout"))
    for name in ("LOCal", "REMote"):
        table.action(f":SYSTem:{name}", lambda: None)

    def beep(parameters: Parameters) -> None:
        if len(parameters) != 2:
            raise ScpiError(-109 if len(parameters) < 2 else -108)
        scpi.numeric(parameters[0], 65, 2e6, 65)
        scpi.numeric(parameters[1], 0, 7.9, 0)

    add(":SYSTem:BEEPer[:IMMediate]", beep)

    def set_line(parameters: Parameters) -> None:
        value = scpi.number(scpi.one(parameters))
        if value not in (50, 60):
            raise ScpiError(-222)
        core.line_hz, core.line_auto = round(value), False

    def set_line_auto(parameters: Parameters) -> None:
        core.line_auto = scpi.boolean(scpi.one(parameters))

    add(":SYSTem:LFRequency", set_line, lambda p: str(core.line_hz))
    add(":SYSTem:LFRequency:AUTO", set_line_auto, lambda p: str(int(core.line_auto)))

    def time() -> Reply:
        return nr3(core.timer.stamp(core.clock.now()))

    def reset_time() -> None:
        core.timer.reset(core.clock.now())

    table.query(":SYSTem:TIME", time)
    table.action(":SYSTem:TIME:RESet", reset_time)
    table.switch(":SYSTem:TIME:RESet:AUTO", "time_auto_reset")

    def initialise() -> None:
        core.memories.clear()
        core.trace.clear()
        core.mark_buffer()

    table.action(":SYSTem:MEMory:INITialize", initialise)

    def press(parameters: Parameters) -> None:
        core.last_key = whole(parameters, 1, 31)
        key = _FRONT_KEYS.get(core.last_key)
        if key == "TRIG":
            core.sequencer.signal("MAN", latch=False)
        elif key == "OUTPUT":
            core.switch_output(not core.output.on)

    add(":SYSTem:KEY", press, lambda p: str(core.last_key), always)
    _add_display(table)


def _add_display(table: CommandTable) -> None:
    add = table.tree.add
    display = {"enabled": "1", "digits": "5"}
    texts = {1: "", 2: ""}
    shown = {1: "0", 2: "0"}

    def set_enabled(parameters: Parameters) -> None:
        display["enabled"] = str(int(scpi.boolean(scpi.one(parameters))))

    def set_digits(parameters: Parameters) -> None:
        display["digits"] = str(whole(parameters, 4, 7))

    add(":DISPlay:ENABle", set_enabled, lambda p: display["enabled"])
    add(":DISPlay:DIGits", set_digits, lambda p: display["digits"])
    table.action(":DISPlay:CNDisplay", lambda: None)

    def window(number: int, head: str, longest: int) -> None:
        def set_text(parameters: Parameters) -> None:
            text = scpi.string(scpi.one(parameters))
            if len(text) > longest:
                raise ScpiError(-223)
            texts[number] = text

        def set_shown(parameters: Parameters) -> None:
            shown[number] = str(int(scpi.boolean(scpi.one(parameters))))

        add(f"{head}:TEXT[:DATA]", set_text, lambda p: f'"{texts[number]}"')
        add(f"{head}:TEXT:STATe", set_shown, lambda p: shown[number])
        table.query(f"{head}:DATA", lambda: f'"{texts[number]}"')
        table.query(f"{head}:ATTRibutes", lambda: '"' + "0" * longest + '"')

    window(1, ":DISPlay[:WINDow[1]]", 20)
    window(2, ":DISPlay:WINDow2", 32)
