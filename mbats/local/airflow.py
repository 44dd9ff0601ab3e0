"""Composer's Airflow as a service of the local stack: the same DAG files, the same operators.

It reaches Cloud Run through the local proxy, which leads nowhere else, and Pub/Sub by its
emulator's variable. Nothing of it listens beyond the loopback interface.
"""

import csv
import json
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path

from mbats import __version__
from mbats.errors import ConfigError
from mbats.local import state
from mbats.local.airflow_parts import HEALTH
from mbats.local.cloud_run.clients import REGION, client_env
from mbats.local.cloud_run.desk_jobs import BOTS, make_jobs
from mbats.local.cloud_run.jobs_file import JobSpec
from mbats.local.cloud_run_service import NAME as CLOUD_RUN
from mbats.local.cloud_run_service import addresses
from mbats.local.environments import AIRFLOW
from mbats.local.paper import is_paper
from mbats.local.ports import HOST
from mbats.local.service import Launch, Service, Site

NAME = "airflow"
PREFERRED_PORT = 8080
PARALLELISM = 4  # tasks at once; each is a process of 200 MB
WEEK_HOURS = 168


def airflow_service(dags: Path, bots: Mapping[str, str], port: int = PREFERRED_PORT) -> Service:
    """Return Airflow over a folder of DAGs. ``bots`` maps an account to the job of its bot."""
    return Service(
        name=NAME,
        title="Airflow",
        ports={"http": port},
        launch=lambda site: _launch(site, dags, bots),
        health=HEALTH,
        fetch=lambda site: site.environment(AIRFLOW),
        prepare=lambda site: _make_bots(site, bots),
    )


def find_dags(home: Path) -> Path:
    """Return the folder of the DAGs beside ``home``. Raises :class:`ConfigError` without one."""
    folder = home.resolve().parent / "composer_dags"
    if not (folder / "desk").is_dir():
        raise ConfigError(
            "There are no DAGs here.", tried=[str(folder)], mend="run it from a checkout of mbats"
        )
    return folder


def clear(home: Path) -> None:
    """Forget what an earlier Airflow knew, unless it runs."""
    record = state.read(home).get(NAME)
    if record is None or record.process() is None:
        shutil.rmtree(home / "data" / NAME, ignore_errors=True)


def local_bots(dags: Path) -> dict[str, str]:
    """Return a bot job for each account of control/strategies.csv, but for those of live money.

    Terraform says in the cloud which bots there are; here every account that is named has one.
    """
    accounts = set()
    file = dags / "control" / "strategies.csv"
    if file.exists():
        with file.open(encoding="utf-8-sig", newline="") as rows:
            for row in csv.DictReader(rows):
                account = (row.get("Account") or "").strip()
                if account and (row.get("Mode") or "").strip() != "live":
                    accounts.add(account)
    return {account: f"bot-{account}" for account in sorted(accounts)} | BOTS


def dags_environment(project: str, bots: Mapping[str, str], vendor: str) -> dict[str, str]:
    """Return the variables that the DAGs read: Composer's of terraform/orchestration.tf."""
    return {
        "MARKET_DATA_VENDOR": vendor,
        "MBATS_PROJECT": project,
        "RUN_BOTS": json.dumps(dict(bots)),
        "RUN_REGION": REGION,
    }


def bot_jobs(bots: Mapping[str, str]) -> dict[str, JobSpec]:
    """Return the job of each account's bot, but for those that the stack makes itself."""
    return {
        job: JobSpec(
            image="desk",
            account="bot",
            args=("live",),
            cpu="1",
            memory="1Gi",
            hours=WEEK_HOURS,
            retries=0,
            parallelism=1,
            broker="none" if is_paper(account) else "trading",
        )
        for account, job in bots.items()
        if account not in BOTS
    }


def _launch(site: Site, dags: Path, bots: Mapping[str, str]) -> Launch:
    made = site.environments.path(AIRFLOW)
    port = site.ports[NAME]["http"]
    own = {
        "CORE__DAGS_FOLDER": str(dags),
        "CORE__PLUGINS_FOLDER": str(dags / "plugins"),
        "CORE__LOAD_EXAMPLES": "False",
        "CORE__DAGS_ARE_PAUSED_AT_CREATION": "False",
        "CORE__PARALLELISM": str(PARALLELISM),
        # Google's operators take seconds to import; on a busy laptop, many.
        "CORE__DAGBAG_IMPORT_TIMEOUT": "180",
        "DAG_PROCESSOR__DAG_FILE_PROCESSOR_TIMEOUT": "200",
        "WORKERS__EXECUTION_API_TIMEOUT": "60",
        "CORE__EXECUTION_API_SERVER_URL": f"http://{HOST}:{port}/execution/",
        "CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "True",
        "API__HOST": HOST,
        "API__PORT": str(port),
        "API__BASE_URL": f"http://{HOST}:{port}",
        "API__WORKERS": "1",
        "USAGE_DATA_COLLECTION__ENABLED": "False",
    }
    environment = {
        **client_env(addresses(site), site.settings.project),
        **{f"AIRFLOW__{name}": value for name, value in own.items()},
        "AIRFLOW_HOME": str(site.data(NAME)),
        "PATH": f"{made / 'bin'}:/usr/local/bin:/usr/bin:/bin",
        **dags_environment(
            site.settings.project, bots, "oanda" if site.settings.oanda_token else "ecb"
        ),
        "PUBSUB_EMULATOR_HOST": site.address("pubsub"),
    }
    binary = str(made / "bin" / "airflow")
    command = (sys.executable, "-m", "mbats.local.airflow_parts", binary, str(port))
    return Launch(command, environment, f"{__version__} {Path(__file__).parent}")


def _make_bots(site: Site, bots: Mapping[str, str]) -> None:
    port = site.ports[CLOUD_RUN]["http"]
    make_jobs(port, bot_jobs(bots), site.settings.project, REGION)
