import pytest

pytestmark = pytest.mark.emulators


def test_the_session_stack_runs(stack, settings):
    assert {each.condition for each in stack.status()} == {"running"}
    assert settings.bigquery_endpoint.startswith("http://127.0.0.1:")
