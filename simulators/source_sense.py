"""Commands of SENSe[1], OUTPut, ROUTe and the one-line measurements (manual, sections 17, 18)."""

from collections.abc import Callable

from . import scpi
from .scpi import Deferred, Parameters, Reply, ScpiError
from .source_core import SourceCore
from .source_models import Scale, fitting
from .source_table import CommandTable, nr3, range_answer, range_setter

_WORDS = {"VOLT": "VOLTage", "CURR": "CURRent"}
_FUNCTIONS = {
    "VOLT": "VOLT",
    "VOLTAGE": "VOLT",
    "CURR": "CURR",
    "CURRENT": "CURR",
    "RES": "RES",
    "RESISTANCE": "RES",
}


def add_sense_commands(table: CommandTable, core: SourceCore) -> None:
    """Enter the SENSe[1] subsystem."""
    settings = core.settings
    for function, word in _WORDS.items():
        _add_sense(table, core, function, word)
        table.number(f"[:SENSe[1]]:{word}[:DC]:NPLCycles", "nplc", 0.01, 10.0, 1.0)
    table.number("[:SENSe[1]]:RESistance:NPLCycles", "nplc", 0.01, 10.0, 1.0)
    table.word(
        "[:SENSe[1]]:RESistance:MODE", "ohms_mode", ["MANual", "AUTO"], after=core.output.apply
    )
    table.switch("[:SENSe[1]]:RESistance:OCOMpensated", "offset_compensated")
    ohms = tuple(Scale(full, 0.0, 0.0) for full, _ in core.model.ohms)

    def set_ohms(value: float) -> None:
        if settings.ohms_mode == "MAN":
            raise ScpiError(-221)
        settings.ohms_range, settings.ohms_auto_range = fitting(ohms, value).full, False

    table.tree.add(
        "[:SENSe[1]]:RESistance:RANGe[:UPPer]",
        range_setter(
            ohms, lambda: fitting(ohms, settings.ohms_range), set_ohms, 2e5, core.output.apply
        ),
        lambda p: range_answer(p, ohms, fitting(ohms, settings.ohms_range), 2e5),
    )
    table.switch("[:SENSe[1]]:RESistance:RANGe:AUTO", "ohms_auto_range")
    table.switch("[:SENSe[1]]:FUNCtion:CONCurrent", "concurrent", after=lambda: _alone(core))
    table.tree.add(
        "[:SENSe[1]]:FUNCtion[:ON]",
        lambda p: _functions_on(core, p),
        lambda p: _listed(settings.functions),
    )
    table.tree.add(
        "[:SENSe[1]]:FUNCtion:OFF",
        lambda p: _functions_off(core, p),
        lambda p: _listed([f for f in ("VOLT", "CURR", "RES") if f not in settings.functions]),
    )

    def all_on() -> None:
        if not settings.concurrent:
            raise ScpiError(-221)
        settings.functions = ["VOLT", "CURR", "RES"]
        core.output.apply()

    def all_off() -> None:
        settings.functions = []
        core.output.apply()

    def state(parameters: Parameters) -> Reply:
        return str(int(_function(scpi.one(parameters)) in settings.functions))

    table.action("[:SENSe[1]]:FUNCtion[:ON]:ALL", all_on)
    table.action("[:SENSe[1]]:FUNCtion:OFF:ALL", all_off)
    table.query("[:SENSe[1]]:FUNCtion[:ON]:COUNt", lambda: str(len(settings.functions)))
    table.query("[:SENSe[1]]:FUNCtion:OFF:COUNt", lambda: str(3 - len(settings.functions)))
    table.tree.add("[:SENSe[1]]:FUNCtion:STATe", None, state)
    table.switch("[:SENSe[1]]:AVERage[:STATe]", "filter_on", after=core.meter.forget)
    table.word("[:SENSe[1]]:AVERage:TCONtrol", "filter_type", ["REPeat", "MOVing"])
    table.number("[:SENSe[1]]:AVERage:COUNt", "filter_count", 1, 100, 10, integer=True)
    table.query("[:SENSe[1]]:DATA[:LATest]", lambda: core.encoded(list(core.samples)[-1:]))


def _add_sense(table: CommandTable, core: SourceCore, function: str, word: str) -> None:
    settings = core.settings
    scales, top = core.model.scales(function), settings.largest(function)
    head, path = f"[:SENSe[1]]:{word}[:DC]", f"sense_{word[:4].lower()}"
    default = 20.0 if function == "VOLT" else 1e-4
    table.tree.add(
        f"{head}:RANGe[:UPPer]",
        range_setter(
            scales,
            lambda: settings.sense_scale(function),
            lambda value: settings.set_sense_range(function, value),
            default,
            core.output.apply,
        ),
        lambda p: range_answer(p, scales, settings.sense_scale(function), default),
    )
    table.switch(f"{head}:RANGe:AUTO", f"{path}.auto_range", after=core.output.apply)
    table.query(f"{head}:RANGe:AUTO:ULIMit", lambda: nr3(settings.compliance_scale(function).limit))
    lowest = scales[0].limit

    def set_floor(value: float) -> None:
        side = settings.sense_side(function)
        side.lower_limit = max(abs(value), lowest)
        if side.auto_range:
            side.range = max(side.range, fitting(scales, side.lower_limit).full)

    table.number(
        f"{head}:RANGe:AUTO:LLIMit", f"{path}.lower_limit", -top, top, lowest, put=set_floor
    )
    usual = 21.0 if function == "VOLT" else 1.05e-4
    table.number(
        f"{head}:PROTection[:LEVel]",
        f"{path}.protection",
        -top,
        top,
        usual,
        put=lambda value: settings.set_protection(function, value),
        after=core.output.apply,
    )
    table.switch(f"{head}:PROTection:RSYNchronize", "range_sync")

    def tripped() -> Reply:
        other = "VOLT" if function == "CURR" else "CURR"
        return str(int(core.output.function == other and core.output.in_compliance()))

    table.query(f"{head}:PROTection:TRIPped", tripped)


def _function(text: str) -> str:
    """Return the function that a quoted name such as ``"VOLT:DC"`` means."""
    name = scpi.string(text).strip().upper().removeprefix(":").removesuffix(":DC")
    if name not in _FUNCTIONS:
        raise ScpiError(-151)
    return _FUNCTIONS[name]


def _listed(functions: list[str]) -> Reply:
    names = {"VOLT": '"VOLT:DC"', "CURR": '"CURR:DC"', "RES": '"RES"'}
    return ",".join(names[name] for name in ("VOLT", "CURR", "RES") if name in functions) or '""'


def _functions_on(core: SourceCore, parameters: Parameters) -> None:
    settings = core.settings
    if not parameters:
        raise ScpiError(-109)
    # One string may hold several functions: "VOLT,CURR" is sent as often as "VOLT","CURR".
    texts = [f"'{part}'" for p in parameters for part in scpi.string(p).split(",")]
    chosen = [_function(text) for text in texts]
    if settings.concurrent:
        settings.functions = [
            name for name in ("VOLT", "CURR", "RES") if name in chosen or name in settings.functions
        ]
    elif len(chosen) > 1:
        raise ScpiError(-221)
    else:
        settings.functions = chosen
    core.output.apply()


def _functions_off(core: SourceCore, parameters: Parameters) -> None:
    if not parameters:
        raise ScpiError(-109)
    gone = [_function(text) for text in parameters]
    core.settings.functions = [name for name in core.settings.functions if name not in gone]
    core.output.apply()


def _alone(core: SourceCore) -> None:
    """Leaving concurrent measurement selects the voltage function."""
    if not core.settings.concurrent:
        core.settings.functions = ["VOLT"]
        core.output.apply()


def add_measurement_commands(table: CommandTable, core: SourceCore) -> None:
    """Enter OUTPut, ROUTe and the signal oriented measurement commands."""
    settings = core.settings

    def switch(parameters: Parameters) -> None:
        core.switch_output(scpi.boolean(scpi.one(parameters)))

    def turns_off(parameters: Parameters) -> bool:
        # Not while the output is switched automatically: the manual's exception.
        off = bool(parameters) and parameters[0].upper() in ("0", "OFF")
        return off and not settings.auto_off

    table.tree.add(
        ":OUTPut[1][:STATe]", switch, lambda p: str(int(core.output.on)), immediate=turns_off
    )

    def guard() -> None:
        if core.output.blocked:
            core.switch_output(False)

    # The older manuals call the output enable line the interlock.
    table.switch(":OUTPut[1]:ENABle[:STATe]", "output_enable", after=guard)
    table.switch(":OUTPut[1]:INTerlock[:STATe]", "output_enable", after=guard)
    for name in ("ENABle", "INTerlock"):
        table.query(f":OUTPut[1]:{name}:TRIPped", lambda: str(int(core.output.enable_line)))
    states = ["HIMPedance", "NORMal", "ZERO", "GUARd"]
    table.word(":OUTPut[1]:SMODe", "off_state", states, after=core.output.apply)

    def route(parameters: Parameters) -> None:
        front = scpi.keyword(scpi.one(parameters), ["FRONt", "REAR"]) == "FRON"
        if front != settings.front:  # changing the terminals turns the output off
            settings.front = front
            core.switch_output(False)

    table.tree.add(":ROUTe:TERMinals", route, lambda p: "FRON" if settings.front else "REAR")

    def read() -> Deferred:
        if settings.arm.count == float("inf"):
            raise ScpiError(830)
        core.initiate()
        return Deferred(core.fetch)

    def measurer(functions: list[str]) -> Callable[[], Deferred]:
        def measure() -> Deferred:
            core.configure(functions or settings.functions)
            return read()

        return measure

    table.query(":READ", read)
    table.query(":FETCh", core.fetch)
    table.action(":INITiate[:IMMediate]", core.initiate)
    for function, head in (
        ("VOLT", "VOLTage[:DC]"),
        ("CURR", "CURRent[:DC]"),
        ("RES", "RESistance"),
    ):
        table.action(f":CONFigure:{head}", lambda f=function: core.configure([f]))  # type: ignore[misc]
        table.query(f":MEASure:{head}", measurer([function]))
    table.query(":MEASure", measurer([]))
    table.query(":CONFigure", lambda: _listed(settings.functions))
