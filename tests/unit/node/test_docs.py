"""docs/: every setting and every metric is named there, with the default that it has."""

import re
import typing
from pathlib import Path
from urllib.request import urlopen

import msgspec
import pytest

from cluster.conditions import Condition
from node.metrics import Metrics, MetricsServer
from node.sections import ClientConfig, GatewayConfig, OperatorFile
from node.toml_strict import show
from proto.ike.errors import TicketReason

CONFIGURATION = Path("docs/configuration.md").read_text()
OPERATIONS = Path("docs/operations.md").read_text()


def rows() -> dict[str, str]:
    """`section.key` → what stands in the column of defaults."""
    found: dict[str, str] = {}
    section = ""
    for line in CONFIGURATION.splitlines():
        if line.startswith("#"):
            named = re.search(r"\[(\w+)\]", line)
            section = named[1] if named and "], [" not in line else ""
        elif row := re.match(r"\| `([\w.]+)` \| (.*?) ?\|", line):
            found[f"{section}.{row[1]}" if section else row[1]] = row[2].strip("` ")
    return found


def settings() -> dict[str, msgspec.structs.FieldInfo]:
    """`section.key` → the field of the configuration's structs."""
    found: dict[str, msgspec.structs.FieldInfo] = {}
    for file in (GatewayConfig, ClientConfig, OperatorFile):
        for section, hint in typing.get_type_hints(file).items():
            struct = typing.get_args(hint)[0] if typing.get_args(hint) else hint
            for field in msgspec.structs.fields(struct):
                found[f"{section}.{field.name}"] = field
    return found


def whole(values: tuple[object, ...]) -> str:
    """A list with texts of any length, which `show` would cut."""
    return "[" + ", ".join(f'"{v}"' if isinstance(v, str) else show(v) for v in values) + "]"


def test_every_setting_has_a_row_and_every_row_a_setting() -> None:
    assert sorted(rows()) == sorted(settings())


@pytest.mark.parametrize("name", sorted(settings()))
def test_the_row_has_the_settings_default(name: str) -> None:
    field, said = settings()[name], rows()[name]
    if said == "as a gateway's":
        field, said = settings()[name.replace("client.", "ike.")], "the same"
        assert field.default == settings()[name].default
    elif field.required:
        assert said == ""
    else:
        value = field.default
        plain = int(value) if isinstance(value, float) and value.is_integer() else value
        text = whole(value) if isinstance(value, tuple) else show(plain)
        assert said in (text, show(value))


def test_every_metric_and_every_reason_of_a_refused_ticket_is_explained() -> None:
    metrics = Metrics()
    for counts in (metrics.resumptions, metrics.handshakes, metrics.dropped):
        counts.add("accepted")
    server = MetricsServer(metrics, "127.0.0.1", 0)
    try:
        names = scraped(server.port)
    finally:
        server.close()
    assert len(names) > 10
    assert [name for name in sorted(names) if name not in OPERATIONS] == []
    assert [r.value for r in TicketReason if f"`{r.value}`" not in OPERATIONS] == []
    assert [c.value for c in Condition if f"`{c.value}`" not in OPERATIONS] == []


def scraped(port: int) -> set[str]:
    """The names of all metrics of ours that a scrape shows."""
    with urlopen(f"http://127.0.0.1:{port}/metrics", timeout=60) as answer:
        text = answer.read().decode()
    return set(re.findall(r"^# TYPE (standfast_\w+)", text, re.M))
