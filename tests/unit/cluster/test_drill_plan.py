"""Drill files are strict: what can't be carried out is refused in one line."""

from pathlib import Path

import pytest

from cluster.drill.plan import Action, decode_drill
from tests.unit.cluster.drill_record import DRILL_TOML, KILL_GW2

DRILLS = sorted((Path(__file__).parents[3] / "deploy" / "drills").glob("*.toml"))


@pytest.mark.parametrize("path", DRILLS, ids=lambda path: path.stem)
def test_every_drill_file_of_the_project_is_accepted(path: Path) -> None:
    plan = decode_drill(path.read_text(), path.name)
    assert plan.name == path.stem


def test_the_project_has_drill_files() -> None:
    assert "kill-one" in [path.stem for path in DRILLS]


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (
            ("gateways = 3", "gateway = 3"),
            "topology.gateway: unknown key → see deploy/drills/README.md",
        ),
        (("gateways = 3", 'gateways = "3"'), "topology.gateways: Expected `int`, got `str`"),
        (("gateways = 3", "gateways = 0"), "topology.gateways: 0 → 1 to 16"),
        (("gateways = 3", "shards = 48"), "topology.shards: 48 → a power of two"),
        (("clients = 4", "clients = 0"), "load.clients: 0 → 1 to 9999"),
        (("[1, 3]", "[1, 9]"), "expect.promises: 9 → 1 to 8"),
        (('"gw2"', '"gw4"'), "fault[0].target: 'gw4' → one of gw1, gw2, gw3, busiest, any, last"),
        (('"gw2"', '"last"'), "fault[0].target: 'last' → a fault on a gateway must come before it"),
        (('"kill"', '"slap"'), "fault[0].action: Invalid enum value 'slap'"),
        (("at_s = 5", 'at_s = 5\nafter = "x"'), "fault[0]: either at_s or after → exactly one of"),
        (("at_s = 5", ""), "fault[0]: either at_s or after → exactly one of them"),
        (("at_s = 5", "at_s = -5"), "fault[0]: a negative time → 0 or more"),
        (('"kill"', '"replace-ring"'), "fault[0].target: 'gw2' → none for replace-ring"),
        (
            ('"kill"\ntarget = "gw2"', '"stop-store"'),
            "fault: stop-store and start-store → in turns",
        ),
        (('"kill"\ntarget = "gw2"', '"start"\ntarget = "any"'), "fault[0].target: 'any' → a name"),
        (("[topology]", "[topology"), "not TOML: "),
        (('"made-up"', '"Made up"'), "name: 'Made up' → small letters"),
        (
            ("[load]", "[topology.only.gw9.ike]\nx = 1\n[load]"),
            "topology.only.gw9: no such gateway",
        ),
    ],
)
def test_an_impossible_drill_file_is_one_line_that_says_what_is_right(
    change: tuple[str, str], complaint: str
) -> None:
    text = DRILL_TOML.format(clients=4, promises="[1, 3]", fault=KILL_GW2)
    assert change[0] in text
    with pytest.raises(ValueError, match=r"^made-up\.toml: ") as problem:
        decode_drill(text.replace(*change), "made-up.toml")
    assert f"made-up.toml: {complaint}" in str(problem.value)
    assert "\n" not in str(problem.value)


def test_a_drill_file_may_change_the_gateways_configuration() -> None:
    text = DRILL_TOML.format(clients=4, promises="[1]", fault=KILL_GW2)
    text += "[topology.every.member]\nlease_ttl_s = 3\n[topology.only.gw1.ike]\nproposals = ['x']\n"
    plan = decode_drill(text, "x")
    assert plan.topology.every == {"member": {"lease_ttl_s": 3}}
    assert plan.topology.only == {"gw1": {"ike": {"proposals": ["x"]}}}


def test_actions_are_spelled_as_in_the_drill_files() -> None:
    assert {action.value for action in Action} == {
        "kill",
        "stop",
        "cont",
        "term",
        "start",
        "replace-ring",
        "stop-store",
        "start-store",
    }
