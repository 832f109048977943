"""docs/reference/config.md, written from the models that check a configuration."""

from collections.abc import Iterator
from typing import Any

from daemon.config import ENV_PREFIX, MAX_BYTES, NAME_PATTERN, schema
from daemon.supervise import LIVE_KEYS

Node = dict[str, Any]

_INTRO = """\
# Settings

<!-- Written by `linegate schema --markdown --out docs/reference/config.md`; a test compares. -->

Every key of a configuration. [`config.yaml`](../../config.yaml) is an example of a real line, with the reasons.
`linegate check FILE` names each mistake with its line; a key that is not on this page is one, and so is a key that
stands twice. On a wrong configuration `linegate run` ends with exit code 78, and systemd does not try it again. Where
the operating system refuses something now, it ends with 75, and systemd tries again: see [exit codes](commands.md).

- **Values** are read by the core schema of YAML 1.2. Numbers are decimal: `0500` is 500, and `21:43` is no number.
  **Text that looks like a number, `true`, `false` or `null` needs quotes**: `line: "12"`, `version: "5"`, a station
  `"010":`. `on`, `off`, `yes` and `no` are text; they count as true or false only where a key takes nothing else.
- **YAML** may use aliases, and `<<: *alias` to merge a mapping. Other tags, control characters, and a file that is not
  UTF-8 or larger than {kib} KiB are refused.
- **Names** (site, line, stations, cameras): 1 to 32 letters, digits, `-` and `_`, beginning with a letter or a digit.
  They become MQTT topic levels and labels of metrics.
- **Paths**: a relative one starts from the folder of the configuration file; `~` is the home. A bare file name that
  systemd passes as a credential means that one.
- **Environment**: `{prefix}A__B` overrides key `a.b`, for example `{prefix}MQTT__HOST=10.0.0.5`; the value is read as
  YAML. Names are taken in lower case, so a station or camera whose name has capitals or a `-` cannot be reached so.
  Any other variable that begins with `{prefix}` is a mistake, except those that Kubernetes and Docker set for a service
  whose name begins with linegate, such as `{prefix}PORT=tcp://10.0.0.7:9580` and `{prefix}SERVICE_HOST`. These are
  ignored; the log names them at level `debug`.
- **While it runs**: SIGHUP (`systemctl reload`) reads the file again and applies
  {live}.
  Any other change is logged as waiting for a restart. A mistake, or a file that cannot be read, leaves everything as it
  was, and the log says why.
- **Editors** complete and check a file that begins with `# yaml-language-server: $schema=linegate.schema.json`
  (`linegate schema --out linegate.schema.json`).

A key whose default is *none* may be left out, and nothing is set.
"""

_CAMERA = "stations.NAME.cameras.NAME"


def page() -> str:
    """The whole page, with a line end at the end."""
    document = schema()
    defs: Node = document["$defs"]
    live = ", ".join(f"`{key}`" for key in LIVE_KEYS)
    sections = [_INTRO.format(prefix=ENV_PREFIX, live=live, kib=MAX_BYTES >> 10), *_sections("", document, defs)]
    return "\n".join(sections)


def _sections(where: str, model: Node, defs: Node) -> Iterator[str]:
    """The table of one model, then those of the models below it."""
    yield _section(where or "Top level", model, model["properties"], defs)
    for name, node in model["properties"].items():
        inside = f"{where}.{name}".lstrip(".")
        kinds = _kinds(node, defs)
        if kinds:
            yield from _cameras(kinds, defs)
            continue
        for inner in _below(node, defs):
            yield from _sections(f"{inside}.NAME" if "patternProperties" in node else inside, inner, defs)


def _cameras(kinds: dict[str, Node], defs: Node) -> Iterator[str]:
    """What every kind has, then each kind's own."""
    first, *others = (kind["properties"] for kind in kinds.values())
    common = {key: node for key, node in first.items() if all(other.get(key) == node for other in others)}
    yield _section(_CAMERA, {"description": "What every kind of camera has."}, common, defs)
    for name, node in common.items():
        for inner in _below(node, defs):
            yield from _sections(f"{_CAMERA}.{name}", inner, defs)
    for kind, model in kinds.items():
        own = {key: node for key, node in model["properties"].items() if key not in common}
        yield _section(f"{_CAMERA}, kind: {kind}", model, own, defs)
        for name, node in own.items():
            for inner in _below(node, defs):
                yield _section(f"{_CAMERA}.{name}[], kind: {kind}", inner, inner["properties"], defs)


def _section(title: str, model: Node, properties: dict[str, Node], defs: Node) -> str:
    required = model.get("required", ())
    rows = [_row(name, node, defs, required=name in required) for name, node in properties.items()]
    head = ["| key | type | default | allowed | meaning |", "|---|---|---|---|---|"]
    return "\n".join([f"## {title}", "", model.get("description", ""), "", *head, *rows, ""])


def _row(name: str, node: Node, defs: Node, *, required: bool) -> str:
    plain = next((n for n in node.get("anyOf", ()) if n.get("type") != "null"), node)
    below = _named(node["$ref"], defs) if "$ref" in node else {}
    default = "**required**" if required else "its own below" if below else _value(node.get("default"))
    meaning = node.get("description") or below.get("description", "")
    cells = (f"`{name}`", _type(plain), default, _limits(plain), meaning)
    return f"| {' | '.join(cell.replace('|', '&#124;') for cell in cells)} |"


def _value(default: Any) -> str:
    match default:
        case None:
            return "*none*"
        case bool():
            return f"`{str(default).lower()}`"
        case []:
            return "*none*"
        case _:
            return f"`{default}`"


def _type(node: Node) -> str:
    match node:
        case {"format": "path"}:
            return "path"
        case {"enum": values} | {"const": values}:
            return "integer" if isinstance(values, list) and isinstance(values[0], int) else "text"
        case {"type": "array", "items": items}:
            return f"list of {_type(items)}s"
        case {"type": "string"} | {"type": ["string", *_]}:
            return "text"
        case {"patternProperties": _}:
            return "sections by name"
        case {"type": str(kind)} if kind != "object":
            return {"boolean": "true or false"}.get(kind, kind)
        case _:
            return "section"


def _limits(node: Node) -> str:
    match node:
        case {"enum": values}:
            return ", ".join(f"`{value}`" for value in values)
        case {"const": value}:
            return f"`{value}`"
        case {"exclusiveMinimum": low, "maximum": high}:
            return f"above {low}, at most {high}"
        case {"exclusiveMinimum": low}:
            return f"above {low}"
        case {"minimum": low, "maximum": high} | {"minProperties": low, "maxProperties": high}:
            return f"{low}..{high}"
        case {"minimum": low} | {"minItems": low}:
            return f"{low} or more"
        case {"pattern": pattern} if pattern == NAME_PATTERN:
            return "a name"
        case {"pattern": pattern}:
            return f"`{pattern}`"
        case {"minLength": 1}:
            return "not empty"
        case _:
            return ""


def _kinds(node: Node, defs: Node) -> dict[str, Node]:
    """The camera kinds by name where `node` holds cameras."""
    for inner in node.get("patternProperties", {}).values():
        mapping = inner.get("discriminator", {}).get("mapping", {})
        return {kind: _named(reference, defs) for kind, reference in mapping.items()}
    return {}


def _below(node: Node, defs: Node) -> Iterator[Node]:
    """The models that `node` holds: itself, one of its alternatives, what a list or a mapping is made of."""
    if "$ref" in node:
        yield _named(node["$ref"], defs)
    items = [node["items"]] if "items" in node else []
    for inner in (*node.get("anyOf", ()), *items, *node.get("patternProperties", {}).values()):
        yield from _below(inner, defs)


def _named(reference: str, defs: Node) -> Node:
    model: Node = defs[reference.rpartition("/")[2]]
    return model
