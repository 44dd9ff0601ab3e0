"""The merge of a job's template with the overrides of one run."""

from datetime import timedelta

from google.cloud import run_v2
from hypothesis import given
from hypothesis import strategies as st

from mbats.local.cloud_run.overrides import overridden

NAMES = st.sampled_from(["A", "B", "C", "D"])
ENV = st.dictionaries(NAMES, st.text("xyz", max_size=3))
ARGS = st.lists(st.text("ab=-", max_size=4), max_size=4)
Override = run_v2.RunJobRequest.Overrides


def variables(env):
    return [run_v2.EnvVar(name=name, value=value) for name, value in env.items()]


def env_of(container):
    return {variable.name: variable.value for variable in container.env}


@st.composite
def templates(draw):
    container = run_v2.Container(
        name="main", image="desk", args=draw(ARGS), env=variables(draw(ENV)), command=["program"]
    )
    return run_v2.ExecutionTemplate(
        task_count=draw(st.integers(1, 10_000)),
        parallelism=draw(st.integers(0, 5)),
        template=run_v2.TaskTemplate(
            containers=[container],
            max_retries=draw(st.integers(0, 10)),
            timeout=timedelta(seconds=draw(st.integers(1, 604_800))),
        ),
    )


@st.composite
def overrides(draw):
    args = draw(ARGS)
    container = Override.ContainerOverride(
        name=draw(st.sampled_from(["", "main"])),
        args=args,
        clear_args=draw(st.booleans()) and not args,
        env=variables(draw(ENV)),
    )
    return Override(
        container_overrides=[container] if draw(st.booleans()) else [],
        task_count=draw(st.integers(0, 10_000)),
        timeout=timedelta(seconds=draw(st.integers(0, 604_800))),
    )


@given(templates(), overrides())
def test_what_is_given_wins_and_the_rest_stays(template, given_overrides):
    before = run_v2.ExecutionTemplate(template)
    made = overridden(template, given_overrides)
    assert template == before
    [was], [now] = template.template.containers, made.template.containers
    wanted = next(iter(given_overrides.container_overrides), Override.ContainerOverride())
    cleared = [] if wanted.clear_args else list(was.args)
    assert list(now.args) == (list(wanted.args) or cleared)
    assert env_of(now) == env_of(was) | env_of(wanted)
    assert len(now.env) == len(env_of(now))
    assert made.task_count == (given_overrides.task_count or template.task_count)
    assert made.template.timeout == (given_overrides.timeout or template.template.timeout)
    for field in ("name", "image", "command", "resources"):
        assert getattr(now, field) == getattr(was, field)
    assert made.parallelism == template.parallelism
    assert made.template.max_retries == template.template.max_retries


@given(templates(), overrides())
def test_the_same_overrides_twice_are_the_same(template, given_overrides):
    once = overridden(template, given_overrides)
    assert overridden(once, given_overrides) == once


@given(templates())
def test_no_overrides_change_nothing(template):
    assert overridden(template, Override()) == template
