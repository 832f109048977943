"""The part of IEC 61131-3 that the examples for PLCs use, run scan by scan: structured text and ladder.

Timers and edges are those of the standard (tables of the standard function blocks), and nothing else is known: what is
no standard function, or of another type than its variable was declared with, is an error.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

_SKIPPED = r"\s*(?:\(\*.*?\*\)\s*)*"
TOKEN = re.compile(
    _SKIPPED + r"(?P<token>T#\d+(?:MS|S)|[A-Za-z_]\w*(?:\.\w+)?|\d+|'[^']*'|:=|>=|<=|<>|[-+=<>():;,])", re.DOTALL
)
DEFAULTS: dict[str, Any] = {"BOOL": False, "UDINT": 0, "STRING": "", "TIME": 0}
LONGEST_STRING = 80  # of a STRING that is declared without a length, where it is shortest
UDINT = range(2**32)
KINDS: dict[str, type] = {"BOOL": bool, "UDINT": int, "STRING": str, "TIME": int}


class IecError(ValueError):
    """No such program."""


@dataclass
class Ton:
    """On-delay: Q once IN has been TRUE for PT."""

    q: bool = False
    since: int | None = None

    def call(self, now: int, given: dict[str, Any]) -> None:
        if not given["IN"]:
            self.since, self.q = None, False
            return
        self.since = now if self.since is None else self.since
        self.q = now - self.since >= given["PT"]


@dataclass
class RisingEdge:
    """Q for one call when CLK has become TRUE; the memory begins FALSE."""

    q: bool = False
    memory: bool = False

    def call(self, _: int, given: dict[str, Any]) -> None:
        self.q, self.memory = given["CLK"] and not self.memory, given["CLK"]


@dataclass
class FallingEdge:
    """Q for one call when CLK has become FALSE, at the first call as well; the memory begins FALSE."""

    q: bool = False
    memory: bool = False

    def call(self, _: int, given: dict[str, Any]) -> None:
        self.q, self.memory = not given["CLK"] and not self.memory, not given["CLK"]


BLOCKS: dict[str, tuple[Callable[[], Any], frozenset[str]]] = {
    "TON": (Ton, frozenset({"IN", "PT"})),
    "R_TRIG": (RisingEdge, frozenset({"CLK"})),
    "F_TRIG": (FallingEdge, frozenset({"CLK"})),
}
FUNCTIONS: dict[str, Callable[..., Any]] = {"CONCAT": lambda a, b: a + b, "UDINT_TO_STRING": str}
SECTIONS = r"(VAR_INPUT|VAR_OUTPUT|VAR RETAIN|VAR CONSTANT|VAR)\b(.*?)END_VAR"

Run = Callable[["Program"], None]
Value = Callable[["Program"], Any]


@dataclass
class Program:
    """Variables, by their names in capitals: the language does not tell them from small letters."""

    types: dict[str, str] = field(default_factory=dict)
    values: dict[str, Any] = field(default_factory=dict)
    retained: set[str] = field(default_factory=set)
    constants: set[str] = field(default_factory=set)
    now: int = 0

    def get(self, name: str) -> Any:
        """By its name in capitals."""
        try:
            return self.values[name]
        except KeyError:
            raise IecError(f"{name} is not declared") from None

    def set(self, name: str, value: Any) -> None:
        name = name.upper()
        kind = self.types.get(name, "")
        if name in self.constants or kind not in KINDS:
            raise IecError(f"{name} takes no value")
        if type(value) is not KINDS[kind]:
            raise IecError(f"{name} is a {kind}, and no {value!r}")
        if (kind == "UDINT" and value not in UDINT) or (isinstance(value, str) and len(value) > LONGEST_STRING):
            raise IecError(f"{name}: {value!r} does not fit")
        self.values[name] = value

    def __getitem__(self, name: str) -> Any:
        return self.get(name.upper())


def declared(text: str) -> Program:
    """The variables of a function block."""
    program = Program()
    for section, body in re.findall(SECTIONS, re.sub(r"\(\*.*?\*\)", "", text, flags=re.DOTALL), re.DOTALL):
        for line in filter(None, (line.strip() for line in body.split(";"))):
            match = re.fullmatch(r"(\w+)\s*:\s*(\w+)(?:\s*:=\s*(\S+))?", line)
            if match is None:
                raise IecError(f"no declaration: {line}")
            name, kind, initial = match[1].upper(), match[2].upper(), match[3]
            if name in program.types:
                raise IecError(f"{name} is declared twice")
            program.types[name] = kind
            program.values[name] = BLOCKS[kind][0]() if kind in BLOCKS else DEFAULTS[kind]
            if initial:
                program.values[name] = literal(initial)
            if section == "VAR RETAIN":
                program.retained.add(name)
            if section == "VAR CONSTANT":
                program.constants.add(name)
    return program


def literal(token: str) -> Any:
    """TRUE, 12, 'text', T#3S as milliseconds."""
    if token.upper() in {"TRUE", "FALSE"}:
        return token.upper() == "TRUE"
    if match := re.fullmatch(r"T#(\d+)(MS|S)", token.upper()):
        return int(match[1]) * (1 if match[2] == "MS" else 1000)
    return token[1:-1] if token.startswith("'") else int(token)


class Parser:
    """Structured text: assignments, IF, calls of function blocks and functions."""

    def __init__(self, text: str) -> None:
        self._tokens = list(_tokens(text))
        self._at = 0

    def program(self) -> Run:
        run = self._statements(set())
        if self._at < len(self._tokens):
            raise IecError(f"not understood: {self._tokens[self._at]}")
        return run

    def _peek(self) -> str:
        return self._tokens[self._at].upper() if self._at < len(self._tokens) else ""

    def _take(self, wanted: str = "") -> str:
        token = self._tokens[self._at]
        if wanted and token.upper() != wanted:
            raise IecError(f"{token} stands where {wanted} belongs")
        self._at += 1
        return token

    def _statements(self, ends: set[str]) -> Run:
        steps: list[Run] = []
        while self._peek() and self._peek() not in ends:
            steps.append(self._if() if self._peek() == "IF" else self._simple())
            self._take(";")

        def run(program: Program) -> None:
            for step in steps:
                step(program)

        return run

    def _if(self) -> Run:
        self._take("IF")
        condition = self.expression()
        self._take("THEN")
        then = self._statements({"END_IF"})
        self._take("END_IF")

        def run(program: Program) -> None:
            if boolean(condition(program)):
                then(program)

        return run

    def _simple(self) -> Run:
        name = self._take()
        if self._peek() == ":=":
            self._take()
            value = self.expression()
            return lambda program: program.set(name, value(program))
        given = self._arguments()
        return lambda program: call(program, name, {key: value(program) for key, value in given.items()})

    def _arguments(self) -> dict[str, Value]:
        self._take("(")
        given: dict[str, Value] = {}
        while True:
            key = self._take().upper()
            self._take(":=")
            given[key] = self.expression()
            if self._take() == ")":
                return given

    def expression(self) -> Value:
        return self._chain("OR", lambda: self._chain("AND", self._not))

    def _chain(self, word: str, inner: Callable[[], Value]) -> Value:
        parts = [inner()]
        while self._peek() == word:
            self._take()
            parts.append(inner())
        if len(parts) == 1:
            return parts[0]

        def value(program: Program) -> bool:
            found = [boolean(part(program)) for part in parts]  # all of them: the standard promises no shortcut
            return all(found) if word == "AND" else any(found)

        return value

    def _not(self) -> Value:
        if self._peek() == "NOT":
            self._take()
            inner = self._not()
            return lambda program: not boolean(inner(program))
        return self._comparison()

    def _comparison(self) -> Value:
        left = self._sum()
        if self._peek() not in {"=", ">="}:
            return left
        sign, right = self._take(), self._sum()

        def value(program: Program) -> bool:
            a, b = left(program), right(program)
            if type(a) is not type(b):
                raise IecError(f"{a!r} and {b!r} are compared")
            return bool(a == b if sign == "=" else a >= b)

        return value

    def _sum(self) -> Value:
        left = self._primary()
        if self._peek() != "+":
            return left
        self._take()
        right = self._primary()
        return lambda program: left(program) + right(program)

    def _primary(self) -> Value:
        token = self._take()
        if token == "(":
            inner = self.expression()
            self._take(")")
            return inner
        if self._peek() == "(":
            return self._function(token)
        if token.upper() in {"TRUE", "FALSE"} or not (token[0].isalpha() or token[0] == "_") or "#" in token:
            found = literal(token)
            return lambda _: found
        name, _, member = token.upper().partition(".")
        if member == "Q":
            return lambda program: program.get(name).q
        return lambda program: program.get(name)

    def _function(self, name: str) -> Value:
        if name.upper() not in FUNCTIONS:
            raise IecError(f"{name} is no function of the standard")
        self._take("(")
        given = [self.expression()]
        while self._peek() == ",":
            self._take()
            given.append(self.expression())
        self._take(")")
        return lambda program: FUNCTIONS[name.upper()](*(value(program) for value in given))


def _tokens(text: str) -> Iterator[str]:
    text = re.sub(r"(\s|\(\*.*?\*\))+$", "", text, flags=re.DOTALL)
    at = 0
    while at < len(text):
        match = TOKEN.match(text, at)
        if match is None:
            raise IecError(f"not understood: {text[at : at + 40]!r}")
        yield match["token"]
        at = match.end()


def boolean(value: Any) -> bool:
    if type(value) is not bool:
        raise IecError(f"{value!r} is no BOOL")
    return value


def call(program: Program, name: str, given: dict[str, Any]) -> None:
    kind = program.types.get(name.upper(), "")
    if kind not in BLOCKS or given.keys() != BLOCKS[kind][1]:
        raise IecError(f"{name} is not called as a {kind}")
    program.values[name.upper()].call(program.now, given)


def structured_text(text: str) -> tuple[Program, Run]:
    """A function block: its variables, and what one scan does."""
    match = re.search(r"FUNCTION_BLOCK \w+\s(.*)END_FUNCTION_BLOCK\s*$", text, re.DOTALL)
    if match is None:
        raise IecError("no function block")
    body = re.sub(SECTIONS, "", match[1], flags=re.DOTALL)
    return declared(text), Parser(body).program()


def ladder(text: str, program: Program, ask: Run) -> Run:
    """Rungs from the top to the bottom. `ask` is what [ASK ] does; contacts with P and N remember their last scan."""
    joined = re.sub(r"\n {8}(?=-)", "", text)
    rungs = [_rung(line, program, ask) for line in joined.splitlines() if line.startswith("|")]

    def run(program: Program) -> None:
        for rung in rungs:
            rung(program)

    return run


def _rung(line: str, program: Program, ask: Run) -> Run:
    elements = re.findall(r"(\[|\()([ /PNSR]|TON |ASK )([^\])]*?) [\])]", line.replace("[ASK ]", "[ASK  ]"))
    if not elements or re.sub(r"[-| ]|\[[^]]*\]|\([^)]*\)", "", line):
        raise IecError(f"no rung: {line}")
    steps = [_element(bracket + kind.strip(), name.strip(), program, ask) for bracket, kind, name in elements]

    def run(program: Program) -> None:
        power = True
        for step in steps:
            power = step(program, power)

    return run


def _element(kind: str, name: str, program: Program, ask: Run) -> Callable[[Program, bool], bool]:
    """What a contact, a coil or a block does with the power that comes to it; the power that goes on."""
    if kind in {"[P", "[N"}:
        edge = RisingEdge() if kind == "[P" else FallingEdge()

        def changed(p: Program, power: bool) -> bool:
            edge.call(p.now, {"CLK": boolean(p[name])})
            return power and edge.q

        return changed
    if kind in {"[", "[/"}:
        contact = Parser(name).expression()
        return lambda p, power: power and boolean(contact(p)) is (kind == "[")
    timer, _, time = name.partition(" ")

    def act(p: Program, power: bool) -> bool:
        if kind == "[TON":
            call(p, timer, {"IN": power, "PT": literal(time)})
        elif kind == "(":
            p.set(name, power)
        elif power and kind == "[ASK":
            ask(p)
        elif power:
            p.set(name, kind == "(S")
        return power

    return act
