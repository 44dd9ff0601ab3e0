import json

import pytest

from mbats.cli import main

pytestmark = pytest.mark.emulators


@pytest.fixture
def init(settings, monkeypatch, capsys):
    """Runs `mbats init` against datasets of its own and returns what it printed."""
    names = {"security_master": "security_master_init", "risk": "risk_init"}
    own = settings.model_copy(update=names)
    monkeypatch.setattr("mbats.cli.context.settings", lambda: own)

    def run(*arguments):
        main.app(["init", *arguments], standalone_mode=False)
        return capsys.readouterr().out

    return run


def test_init_says_what_it_did_and_then_that_nothing_changed(init):
    planned = json.loads(init("--dry-run", "--json"))
    made = json.loads(init("--json"))
    assert planned == made
    assert {change["action"] for change in made} == {"created"}
    assert any(change["name"].endswith("security_master_init.bar_minute") for change in made)
    assert f"Nothing changed ({len(made)} checked)." in init()
