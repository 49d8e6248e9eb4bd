"""Commands of the SOURce[1] subsystem (manual, section 18)."""

from collections.abc import Callable

from . import scpi
from .scpi import Parameters, Reply, ScpiError
from .source_core import SourceCore
from .source_settings import MOST_POINTS
from .source_table import CommandTable, nr3, range_answer, range_setter

_WORDS = {"VOLT": "VOLTage", "CURR": "CURRent"}
_LONGEST_LIST = 100


def add_source_commands(table: CommandTable, core: SourceCore) -> None:
    """Enter the SOURce[1] subsystem."""
    settings = core.settings
    for function, word in _WORDS.items():
        _add_source(table, core, function, word)
        _add_list(table, core, function, word)

    def choose(name: str) -> None:
        if settings.auto_ohms and name != "MEM":
            raise ScpiError(825)
        settings.memory_sweep = name == "MEM"
        if name != "MEM" and name != settings.source:
            settings.source = name
            core.output.point = None
            core.output.apply()

    def chosen(parameters: Parameters) -> Reply:
        scpi.none(parameters)
        return "MEM" if settings.memory_sweep else core.output.function

    names = ["VOLTage", "CURRent", "MEMory"]
    table.tree.add(
        ":SOURce[1]:FUNCtion[:MODE]", lambda p: choose(scpi.keyword(scpi.one(p), names)), chosen
    )

    def set_delay(seconds: float) -> None:
        settings.delay, settings.delay_auto = seconds, False

    table.number(":SOURce[1]:DELay", "delay", 0.0, 9999.999, 0.001, put=set_delay)
    table.switch(":SOURce[1]:DELay:AUTO", "delay_auto")
    table.number(":SOURce[1]:SOAK", "soak", 0.0, 9999.999, 0.0)
    table.action(
        ":SOURce[1]:CLEar[:IMMediate]",
        lambda: core.switch_output(False),
        lambda p: not settings.auto_off,
    )
    table.switch(":SOURce[1]:CLEar:AUTO", "auto_off")
    table.word(":SOURce[1]:CLEar:AUTO:MODE", "auto_off_mode", ["ALWays", "TCOunt"])

    top = core.model.max_volts

    def limit_volts(parameters: Parameters) -> None:
        text = scpi.one(parameters)
        value = top if text.upper() == "NONE" else abs(scpi.numeric(text, -top, top, top))
        steps = [step for step in (20, 40, 60, 80, 100, 120, 140, 160) if step >= value - 1e-9]
        settings.volt_limit = float(steps[0]) if steps else top
        core.output.apply()

    table.tree.add(
        ":SOURce[1]:VOLTage:PROTection[:LEVel]", limit_volts, lambda p: nr3(settings.volt_limit)
    )
    table.query(
        ":SOURce[1]:VOLTage:PROTection:TRIPped", lambda: str(int(core.output.volts_clipped))
    )
    table.word(":SOURce[1]:SWEep:SPACing", "spacing", ["LINear", "LOGarithmic"])
    table.word(":SOURce[1]:SWEep:DIRection", "sweep_direction", ["UP", "DOWN"])
    table.word(":SOURce[1]:SWEep:RANGing", "sweep_ranging", ["BEST", "AUTO", "FIXed"])
    table.word(":SOURce[1]:SWEep:CABort", "compliance_abort", ["NEVer", "EARLy", "LATE"])

    def set_points(parameters: Parameters) -> None:
        value = scpi.numeric(scpi.one(parameters), 1, MOST_POINTS, MOST_POINTS)
        settings.points = round(value)
        settings.volt.step = settings.curr.step = None

    table.tree.add(
        ":SOURce[1]:SWEep:POINts",
        set_points,
        lambda p: str(
            round(scpi.numeric(p[0], 1, MOST_POINTS, MOST_POINTS)) if p else settings.sweep_points()
        ),
    )

    def save(parameters: Parameters) -> None:
        place = round(scpi.numeric(scpi.one(parameters), 1, 100, 1))
        core.memories[place] = settings.snapshot()

    def recall(parameters: Parameters) -> None:
        core.recall(round(scpi.numeric(scpi.one(parameters), 1, 100, 1)))

    table.tree.add(":SOURce[1]:MEMory:SAVE", save)
    table.tree.add(":SOURce[1]:MEMory:RECall", recall)
    table.number(":SOURce[1]:MEMory:POINts", "memory_points", 1, 100, 100, integer=True)
    table.number(":SOURce[1]:MEMory:STARt", "memory_start", 1, 100, 1, integer=True)


def _add_source(table: CommandTable, core: SourceCore, function: str, word: str) -> None:
    settings, top = core.settings, core.settings.largest(function)
    head, path = f":SOURce[1]:{word}", word[:4].lower()
    scales = core.model.scales(function)

    def put_level(text: str) -> float:
        side = settings.source_side(function)
        named = text.upper() in ("MIN", "MINIMUM", "MAX", "MAXIMUM")
        if named and not side.auto_range and side.range < scales[-1].full:
            raise ScpiError(-221)
        return scpi.numeric(text, -top, top, 0.0)

    def ask_level(get: Callable[[], float]) -> Callable[[Parameters], Reply]:
        return lambda p: nr3(scpi.numeric(p[0], -top, top, 0.0) if p else get())

    def set_now(parameters: Parameters) -> None:
        core.set_level(function, put_level(scpi.one(parameters)))

    def set_later(parameters: Parameters) -> None:
        settings.source_side(function).triggered = put_level(scpi.one(parameters))

    def later() -> float:
        side = settings.source_side(function)
        return side.level if side.triggered is None else side.triggered

    table.tree.add(
        f"{head}[:LEVel][:IMMediate][:AMPLitude]",
        set_now,
        ask_level(lambda: settings.source_side(function).level),
    )
    table.tree.add(f"{head}[:LEVel]:TRIGgered[:AMPLitude]", set_later, ask_level(later))

    def set_mode(name: str) -> None:
        settings.source_side(function).mode = name
        if name == "FIX":
            core.output.point = None
            core.output.apply()

    table.word(f"{head}:MODE", f"{path}.mode", ["FIXed", "SWEep", "LIST"], put=set_mode)
    table.tree.add(
        f"{head}:RANGe",
        range_setter(
            scales,
            lambda: settings.source_scale(function),
            lambda value: settings.set_source_range(function, value),
            20.0 if function == "VOLT" else 1e-4,
            core.output.apply,
        ),
        lambda p: range_answer(
            p, scales, settings.source_scale(function), 20.0 if function == "VOLT" else 1e-4
        ),
    )
    table.switch(
        f"{head}:RANGe:AUTO",
        f"{path}.auto_range",
        put=lambda state: settings.set_source_auto(function, state),
    )

    def drop_step() -> None:
        side = settings.source_side(function)
        if side.step is not None:
            side.step = abs(side.step) * (1 if side.stop >= side.start else -1)

    table.number(f"{head}:STARt", f"{path}.start", -top, top, 0.0, after=drop_step)
    table.number(f"{head}:STOP", f"{path}.stop", -top, top, 0.0, after=drop_step)

    def set_step(parameters: Parameters) -> None:
        value = scpi.numeric(scpi.one(parameters), -2 * top, 2 * top, 0.0)
        settings.source_side(function).step = value or None
        drop_step()

    table.tree.add(f"{head}:STEP", set_step, lambda p: nr3(settings.sweep_step(function)))

    def centre() -> float:
        side = settings.source_side(function)
        return 0.5 * (side.start + side.stop)

    def span() -> float:
        side = settings.source_side(function)
        return side.stop - side.start

    def place(middle: float, width: float) -> None:
        if abs(middle) + 0.5 * abs(width) > top * (1 + 1e-9):
            raise ScpiError(-222)
        side = settings.source_side(function)
        side.start, side.stop = middle - 0.5 * width, middle + 0.5 * width
        drop_step()

    table.tree.add(
        f"{head}:CENTer",
        lambda p: place(scpi.numeric(scpi.one(p), -top, top, 0.0), span()),
        lambda p: nr3(centre()),
    )
    table.tree.add(
        f"{head}:SPAN",
        lambda p: place(centre(), scpi.numeric(scpi.one(p), -2 * top, 2 * top, 0.0)),
        lambda p: nr3(span()),
    )


def _add_list(table: CommandTable, core: SourceCore, function: str, word: str) -> None:
    settings, top = core.settings, core.settings.largest(function)
    head, path = f":SOURce[1]:LIST:{word}", word[:4].lower()

    def values(parameters: Parameters) -> list[float]:
        if not parameters:
            raise ScpiError(-109)
        if len(parameters) > _LONGEST_LIST:
            raise ScpiError(-223)
        return [scpi.numeric(text, -top, top, 0.0) for text in parameters]

    def define(parameters: Parameters) -> None:
        settings.source_side(function).values = values(parameters)

    def append(parameters: Parameters) -> None:
        side, more = settings.source_side(function), values(parameters)
        if len(side.values) + len(more) > MOST_POINTS:
            raise ScpiError(-223)
        side.values = side.values + more

    def answer() -> Reply:
        return ",".join(f"{value:+.6E}" for value in settings.source_side(function).values)

    table.tree.add(head, define, lambda p: answer())
    table.tree.add(f"{head}:APPend", append)
    table.query(f"{head}:POINts", lambda: str(len(settings.source_side(function).values)))
    table.number(f"{head}:STARt", f"{path}.list_start", 1, MOST_POINTS, 1, integer=True)
    table.word(f"{head}:DIRection", "sweep_direction", ["UP", "DOWN"])
