"""The DAGs are tested in Airflow's own environment: this interpreter has no Airflow."""

import itertools
import os
import shutil
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest
from dags.world import CloudRun, Inside

from mbats.cli.init import make_all
from mbats.desk import Desk
from mbats.local.airflow import dags_environment
from mbats.local.environments import AIRFLOW, Environments

CHECKOUT = Path(__file__).parents[2]
DAGS = CHECKOUT / "composer_dags"
sys.path.append(str(DAGS))  # what needs no Airflow is tested here as well
INSIDE = Path(__file__).with_name("in_airflow")
HEADER = "Strategy,Mode,Securities,Model ID,Account,Strategy Parameters\n"
BOTS = {
    "000-001-0000001-001": "bot-paper",
    "101-001-1234567-001": "bot-one",
    "101-001-1234567-002": "bot-two",
}


@pytest.fixture(scope="session")
def airflow_python():
    """Airflow's interpreter: Composer's version, made once from requirements/airflow.txt."""
    return Environments(CHECKOUT / ".mbats" / "venvs").ensure(AIRFLOW) / "bin" / "python"


@pytest.fixture(scope="session")
def start_inside(airflow_python, tmp_path_factory):
    """Start a script of in_airflow/ over a DAG folder.

    The environment is what Composer has and nothing more; ``bots`` is what Terraform says.
    """
    home = tmp_path_factory.mktemp("airflow")
    numbers = itertools.count()

    def start(script, folder, *arguments, bots=BOTS, **environment):
        answer = home / f"answer-{next(numbers)}.json"
        environ = {
            "PATH": os.environ["PATH"],
            "HOME": str(home),
            "AIRFLOW_HOME": str(home),
            "AIRFLOW__CORE__DAGS_FOLDER": str(folder),
            "AIRFLOW__CORE__PLUGINS_FOLDER": str(folder / "plugins"),
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW__CORE__DAGBAG_IMPORT_TIMEOUT": "300",
            **dags_environment("mbats-test", bots, vendor="ecb"),
            **environment,
        }
        command = [airflow_python, INSIDE / script, folder, answer, *arguments]
        return Inside(list(map(str, command)), answer, env=environ, cwd=home)

    return start


@pytest.fixture(scope="session")
def run_inside(start_inside):
    """Run a script of in_airflow/ to its end; return the JSON it leaves, and what it said."""

    def run(*asked, **more):
        inside = start_inside(*asked, **more)
        said, _ = inside.communicate(timeout=900)
        assert inside.returncode == 0, said[-5000:]
        return inside.answer() | {"log": said}

    return run


@pytest.fixture(scope="session")
def dag_folder(tmp_path_factory):
    """Copy the DAGs beside a control file, as the Composer bucket has them."""

    def made(rows):
        folder = tmp_path_factory.mktemp("bucket") / "dags"
        shutil.copytree(DAGS, folder, ignore=shutil.ignore_patterns("control", "__pycache__"))
        if rows is not None:
            (folder / "control").mkdir()
            (folder / "control" / "strategies.csv").write_text(HEADER + rows)
        return folder

    return made


@pytest.fixture(scope="session")
def make_desk(settings):
    """Open a desk with every table, its datasets and buckets under a name of its own."""
    with ExitStack() as opened:

        def make(name, **more):
            own = {"security_master": f"security_master_{name}", "risk": f"risk_{name}"}
            own |= {"bucket_prefix": name, **more}
            made = opened.enter_context(Desk(settings.model_copy(update=own)))
            make_all(made)
            return made

        yield make


@pytest.fixture(scope="session")
def desk(make_desk):
    return make_desk("dags")


@pytest.fixture
def cloud_run(desk, tmp_path):
    """A local Cloud Run with the desk's jobs, its containers' settings those of ``desk``."""
    running = CloudRun(tmp_path / "cloud-run", desk.settings)
    yield running
    running.close()


@pytest.fixture
def start_dag(start_inside, dag_folder, cloud_run):
    """Start a DAG by hand in Airflow, triggers and all."""

    def start(dag_id, conf=None, rows=None):
        inside = start_inside("run.py", dag_folder(rows), **cloud_run.airflow())
        inside.ask(dag_id, conf)
        return inside

    return start


@pytest.fixture
def run_dag(start_dag):
    """Run a DAG by hand to its end; return its state, its tasks' and what was said."""

    def run(*asked, **more):
        airflow = start_dag(*asked, **more)
        said, _ = airflow.communicate(timeout=900)
        assert airflow.returncode == 0, said[-5000:]
        return airflow.answer() | {"log": said}

    return run
