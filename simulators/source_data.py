"""Commands of FORMat, TRACe, the digital port, ARM, TRIGger and CALCulate (manual, section 18)."""

from collections.abc import Callable

from . import scpi
from .scpi import Parameters, Reply, ScpiError
from .source_core import SourceCore
from .source_settings import ELEMENTS, MOST_POINTS
from .source_table import CommandTable, always, in_base, nr3, whole

_FORMATS = ("ASCii", "HEXadecimal", "OCTal", "BINary")


def add_data_commands(table: CommandTable, core: SourceCore) -> None:
    """Enter FORMat, TRACe and the digital port."""
    add, settings = table.tree.add, core.settings

    def set_data(parameters: Parameters) -> None:
        if not parameters:
            raise ScpiError(-109)
        name = scpi.keyword(parameters[0], ["ASCii", "REAL", "SREal"])
        if len(parameters) > 2 or (len(parameters) == 2 and name != "REAL"):
            raise ScpiError(-108)
        if len(parameters) == 2 and scpi.number(parameters[1]) != 32:
            raise ScpiError(-222)
        if name != "ASC" and core.serial_port:
            raise ScpiError(701)
        settings.data_format = name

    answers = {"ASC": "ASC", "REAL": "REAL,32", "SRE": "SRE"}
    add(":FORMat[:DATA]", set_data, lambda p: answers[settings.data_format])

    def set_order(parameters: Parameters) -> None:
        settings.swapped = scpi.keyword(scpi.one(parameters), ["NORMal", "SWAPped"]) == "SWAP"

    add(":FORMat:BORDer", set_order, lambda p: "SWAP" if settings.swapped else "NORM")

    def chooser(path: str, names: list[str]) -> Callable[[Parameters], None]:
        def write(parameters: Parameters) -> None:
            if not parameters:
                raise ScpiError(-109)
            chosen = [scpi.keyword(text, names) for text in parameters]
            order = [scpi.mnemonics(name)[0] for name in names]
            settings.put(path, [name for name in order if name in chosen])

        return write

    elements = ["VOLTage", "CURRent", "RESistance", "TIME", "STATus"]
    add(
        ":FORMat:ELEMents[:SENSe[1]]",
        chooser("elements", elements),
        lambda p: ",".join(settings.elements),
    )
    add(
        ":FORMat:ELEMents:CALCulate",
        chooser("calc_elements", ["CALC", "TIME", "STATus"]),
        lambda p: ",".join(settings.calc_elements),
    )
    table.word(":FORMat:SREGister", "register_format", _FORMATS)
    table.word(":FORMat:SOURce2", "pattern_format", _FORMATS)
    for root in ("TRACe", "DATA"):
        _add_trace(table, core, root)

    def shown(pattern: int) -> Reply:
        return in_base(pattern, settings.pattern_format)

    size = {"lines": 4}

    def set_pattern(parameters: Parameters) -> None:
        core.set_pattern(whole(parameters, 0, 2 ** size["lines"] - 1))

    def set_size(parameters: Parameters) -> None:
        size["lines"] = whole(parameters, 3, 4)

    add(":SOURce2:TTL[:LEVel][:DEFault]", set_pattern, lambda p: shown(settings.pattern))
    table.query(":SOURce2:TTL[:LEVel]:ACTual", lambda: shown(core.actual_pattern))
    add(":SOURce2:BSIZe", set_size, lambda p: str(size["lines"]))
    table.word(":SOURce2:TTL4:MODE", "end_of_test", ["EOTest", "BUSY"])
    table.number(":SOURce2:TTL4:BSTate", "end_of_test_busy", 0, 1, 0, integer=True)
    table.action(":SOURce2:CLEar[:IMMediate]", lambda: core.show_pattern(settings.pattern))
    table.switch(":SOURce2:CLEar:AUTO", "pattern_clear_auto")
    table.number(":SOURce2:CLEar:AUTO:DELay", "pattern_clear_delay", 0, 60, 1e-4)


def _add_trace(table: CommandTable, core: SourceCore, root: str) -> None:
    add, trace, settings = table.tree.add, core.trace, core.settings

    def elements() -> list[str]:
        return settings.elements if trace.feed == "SENS" else settings.calc_elements

    def data() -> Reply:
        if not trace.readings:
            raise ScpiError(-230)
        return core.pack(trace.values(elements()))

    def clear() -> None:
        trace.clear()
        core.mark_buffer()

    def idle() -> None:
        if trace.active:
            raise ScpiError(800)

    def set_size(parameters: Parameters) -> None:
        idle()
        trace.size = round(scpi.numeric(scpi.one(parameters), 1, MOST_POINTS, 100))

    def ask_size(parameters: Parameters) -> Reply:
        return str(
            round(scpi.numeric(parameters[0], 1, MOST_POINTS, 100)) if parameters else trace.size
        )

    def set_feed(parameters: Parameters) -> None:
        idle()
        feeds = ["SENSe[1]", "CALCulate[1]", "CALCulate2"]
        trace.feed = scpi.keyword(scpi.one(parameters), feeds)

    def set_control(parameters: Parameters) -> None:
        if scpi.keyword(scpi.one(parameters), ["NEXT", "NEVer"]) == "NEXT":
            trace.activate()
        else:
            trace.active = False

    def set_stamp(parameters: Parameters) -> None:
        trace.delta = scpi.keyword(scpi.one(parameters), ["ABSolute", "DELTa"]) == "DELT"

    table.query(f":{root}:DATA", data)
    table.action(f":{root}:CLEar", clear)
    table.query(f":{root}:FREE", lambda: ",".join(map(str, trace.free())))
    add(f":{root}:POINts", set_size, ask_size)
    table.query(f":{root}:POINts:ACTual", lambda: str(len(trace.readings)))
    add(f":{root}:FEED", set_feed, lambda p: trace.feed)
    add(f":{root}:FEED:CONTrol", set_control, lambda p: "NEXT" if trace.active else "NEV")
    add(f":{root}:TSTamp:FORMat", set_stamp, lambda p: "DELT" if trace.delta else "ABS")


def add_trigger_commands(table: CommandTable, core: SourceCore) -> None:
    """Enter ABORt, ARM and TRIGger."""
    settings = core.settings
    table.action(":ABORt", core.abort, always)
    arm, trigger = ":ARM[:SEQuence[1]][:LAYer[1]]", ":TRIGger[:SEQuence[1]]"

    def count(path: str, other: str, endless: bool) -> Callable[[Parameters], None]:
        def write(parameters: Parameters) -> None:
            text = scpi.one(parameters)
            if endless and text.upper() in ("INF", "INFINITE", "INFINITY"):
                settings.put(path, float("inf"))
                return
            value = round(scpi.numeric(text, 1, MOST_POINTS, 1))
            rest = settings.get(other)
            if rest != float("inf") and value * rest > MOST_POINTS:
                raise ScpiError(-221)
            settings.put(path, value)

        return write

    def counted(path: str) -> Callable[[Parameters], Reply]:
        def ask(parameters: Parameters) -> Reply:
            if parameters:
                return str(round(scpi.numeric(scpi.one(parameters), 1, MOST_POINTS, 1)))
            value = settings.get(path)
            return nr3(value) if value == float("inf") else str(value)

        return ask

    table.tree.add(f"{arm}:COUNt", count("arm.count", "trigger.count", True), counted("arm.count"))
    table.tree.add(
        f"{trigger}:COUNt", count("trigger.count", "arm.count", False), counted("trigger.count")
    )
    sources = ["IMMediate", "TLINk", "TIMer", "MANual", "BUS", "NSTest", "PSTest", "BSTest"]
    table.word(f"{arm}:SOURce", "arm.source", sources)
    table.word(f"{trigger}:SOURce", "trigger.source", ["IMMediate", "TLINk"])
    table.number(f"{arm}:TIMer", "arm_timer", 0.001, 99999.99, 0.1)
    table.number(f"{trigger}:DELay", "trigger_delay", 0.0, 999.9999, 0.0)
    for head, path in ((arm, "arm"), (trigger, "trigger")):
        wiring = f"{head}[:TCONfigure]"
        table.word(f"{wiring}:DIRection", f"{path}.direction", ["SOURce", "ACCeptor"])
        for end, name, usual in (("ILINe", "input_line", 1), ("OLINe", "output_line", 2)):
            spec = f"{wiring}[:ASYNchronous]:{end}"
            table.number(spec, f"{path}.{name}", 1, 4, usual, integer=True)
    events = ["SOURce", "DELay", "SENSe"]
    table.events(f"{arm}[:TCONfigure][:ASYNchronous]:OUTPut", "arm.outputs", ["TENTer", "TEXit"])
    table.events(f"{trigger}[:TCONfigure][:ASYNchronous]:OUTPut", "trigger.outputs", events)
    table.events(f"{trigger}[:TCONfigure][:ASYNchronous]:INPut", "trigger_inputs", events)
    table.action(f"{trigger}:CLEar", core.sequencer.forget_triggers)


def add_calculate_commands(table: CommandTable, core: SourceCore) -> None:
    """Enter CALCulate[1], CALCulate2 and CALCulate3."""
    settings, trace = core.settings, core.trace
    table.switch(":CALCulate[1]:STATe", "math")

    def set_math(parameters: Parameters) -> None:
        if scpi.string(scpi.one(parameters)).upper() != "POWER":
            raise ScpiError(806)

    table.tree.add(":CALCulate[1]:MATH[:EXPRession]:NAME", set_math, lambda p: '"POWER"')
    table.query(":CALCulate[1]:MATH[:EXPRession]:CATalog", lambda: '"POWER"')

    def math_data(first: int) -> Reply:
        if not settings.math or not core.samples:
            raise ScpiError(-230)
        return core.pack([reading.calc for reading in list(core.samples)[first:]])

    table.query(":CALCulate[1]:DATA", lambda: math_data(0))
    table.query(":CALCulate[1]:DATA:LATest", lambda: math_data(-1))
    feeds = ["VOLTage", "CURRent", "RESistance", "CALCulate[1]"]
    table.word(":CALCulate2:FEED", "limit_feed", feeds)
    big = 9.999999e20
    table.number(":CALCulate2:NULL:OFFSet", "null_offset", -big, big, 0.0)
    table.switch(":CALCulate2:NULL:STATe", "null")

    def acquire() -> None:
        if not core.samples:
            raise ScpiError(-230)
        settings.null_offset = core.samples[-1].element(settings.limit_feed)

    table.action(":CALCulate2:NULL:ACQuire", acquire)

    def limit_data() -> Reply:
        if not core.samples:
            raise ScpiError(-230)
        return core.pack([core.limit_value(reading) for reading in core.samples])

    table.query(":CALCulate2:DATA", limit_data)
    table.switch(":CALCulate2:LIMit[1]:STATe", "compliance_test")
    table.word(":CALCulate2:LIMit[1]:COMPliance:FAIL", "compliance_test_fail", ["IN", "OUT"])
    table.query(":CALCulate2:LIMit[1]:FAIL", lambda: str(int(settings.compliance_test_failed)))

    def put(number: int, name: str) -> Callable[[Parameters], None]:
        def write(parameters: Parameters) -> None:
            text, limit = scpi.one(parameters), settings.limits[number]
            if name == "state":
                limit.state = scpi.boolean(text)
            elif name.endswith("pattern"):
                setattr(limit, name, round(scpi.numeric(text, 0, 15, 15)))
            else:
                setattr(limit, name, scpi.numeric(text, -big, big, 1 if name == "upper" else -1))

        return write

    def get(number: int, name: str) -> Callable[[Parameters], Reply]:
        def ask(parameters: Parameters) -> Reply:
            value = getattr(settings.limits[number], name)
            if name.endswith("pattern"):
                return in_base(value, settings.pattern_format)
            return nr3(value) if name in ("upper", "lower") else str(int(value))

        return ask

    for number in settings.limits:
        head = f":CALCulate2:LIMit{number}"
        parts = {
            ":STATe": "state",
            ":UPPer[:DATA]": "upper",
            ":LOWer[:DATA]": "lower",
            ":UPPer:SOURce2": "upper_pattern",
            ":LOWer:SOURce2": "lower_pattern",
            ":PASS:SOURce2": "pass_pattern",
        }
        for part, name in parts.items():
            table.tree.add(head + part, put(number, name), get(number, name))
        table.tree.add(f"{head}:FAIL", None, get(number, "failed"))

    def clear_limits() -> None:
        settings.compliance_test_failed = False
        for limit in settings.limits.values():
            limit.failed = False
        for bit in range(6):
            core.status.measurement.hold(bit, False)

    table.action(":CALCulate2:CLIMits:CLEar[:IMMediate]", clear_limits)
    kinds = ["MEAN", "SDEViation", "MAXimum", "MINimum", "PKPK"]
    table.word(":CALCulate3:FORMat", "statistic", kinds)

    def statistics() -> Reply:
        if not trace.readings:
            raise ScpiError(-230)
        names = [name for name in ELEMENTS[:3] if name in settings.elements]
        if trace.feed != "SENS":
            names = ["CALC"]
        return core.pack(trace.statistic(settings.statistic, names))

    table.query(":CALCulate3:DATA", statistics)
