"""node.toml_strict: a key that a table doesn't have."""

from pathlib import Path

from tests.unit.node.test_config import made, problems

__all__ = ["made"]  # a fixture


def test_an_unknown_key_hides_nothing(made: Path) -> None:
    found = problems(made, "shards = 64", "shards = 63\nwhen_isolatd = 1")
    assert [line.split(": ")[1] for line in found] == ["cluster.when_isolatd", "cluster.shards"]


def test_a_key_of_another_table_is_told_where_it_belongs(made: Path) -> None:
    (found,) = problems(made, "mirrors = 1", 'mirrors = 1\nwhen_isolated = "pause"')
    assert found == "changed.toml: member.when_isolated: unknown key → a key of [cluster]"
    (found,) = problems(made, "mirrors = 1", "mirrors = 1\nsessions_over = 1")
    assert found.endswith("member.sessions_over: unknown key → a key of [ike], [[connection]]")
    (found,) = problems(made, "[cluster]", "shards = 64\n[cluster]")
    assert found == "changed.toml: shards: unknown key → a key of [cluster]"
