"""The local desk as a DAG sees it: the emulators, a Cloud Run that can be killed, an Airflow."""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Mapping
from pathlib import Path

from mbats.config import Settings
from mbats.local import rest
from mbats.local.airflow import bot_jobs
from mbats.local.cloud_run.clients import REGION, Addresses, client_env
from mbats.local.cloud_run.desk_jobs import document, make_jobs
from mbats.local.cloud_run.jobs_file import JobSpec, read_jobs

CHECKOUT = Path(__file__).parents[2]
JOBS = CHECKOUT / "containers" / "jobs.yaml"
PATIENCE_S = 900.0
IMAGES = Path(__file__).with_name("images")


class Inside(subprocess.Popen):
    """A script of in_airflow/ that runs, and the file it leaves its answer in."""

    def __init__(self, command, answer, **more):
        self._file = answer
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
        super().__init__(command, text=True, **pipes, **more)

    def answer(self):
        """Return the JSON that it left."""
        return json.loads(self._file.read_text())

    def ask(self, dag_id, conf=None, due=None, week_closes=None):
        """Have run.py run a DAG: by hand, or as if it had been ``due`` then.

        ``week_closes`` is what the DAG takes for Friday's close: a session of seconds.
        """
        instants = {"due": due, "week_closes": week_closes}
        told = {name: at and at.isoformat() for name, at in instants.items()}
        self.stdin.write(json.dumps({"dag_id": dag_id, "conf": conf or {}, **told}) + "\n")
        self.stdin.flush()

    def run(self, *asked, **more):
        """Run a DAG to its end; return its state, its tasks' and what was said."""
        self.ask(*asked, **more)
        said = []
        watchdog = threading.Timer(PATIENCE_S, self.kill)
        watchdog.start()
        try:
            for line in self.stdout:
                if line == "ANSWERED\n":
                    return self.answer() | {"log": "".join(said)}
                said.append(line)
        finally:
            watchdog.cancel()
        raise AssertionError("It gave no answer. " + "".join(said)[-5000:])


class CloudRun:
    """The local Cloud Run as a process of its own, over a stack's emulators."""

    def __init__(self, folder: Path, settings: Settings, workdir: Path = CHECKOUT) -> None:
        self._folder = folder
        self._settings = settings
        self._workdir = workdir
        self.probed = folder / "probed"
        self.probed.mkdir(parents=True)
        self._ports = ["0", "0", "0"]
        self.start()
        make_jobs(self.port, read_jobs(JOBS), settings.project, REGION)

    def start(self) -> None:
        """Start it, at the ports it had before."""
        flags = zip(("--http", "--grpc", "--proxy"), self._ports, strict=True)
        folders = ("--containers", IMAGES, "--workdir", self._workdir)
        self._process = subprocess.Popen(
            [sys.executable, "-m", "mbats.local.cloud_run", "--folder", self._folder / "run",
             *folders, *(word for each in flags for word in each)],
            env=self._environment(), stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert self._process.stdout
        for line in self._process.stdout:
            words = json.loads(line)["event"].split()
            if words[0] == "serves":
                break
        # What it says from now on nobody reads, and a full pipe would block it.
        threading.Thread(target=self._process.stdout.read, daemon=True).start()
        at = dict(zip(words[1::2], words[2::2], strict=True))
        self._ports = [at[name].rpartition(":")[2] for name in ("http", "grpc", "proxy")]
        authority = self._folder / "run" / "tls" / "ca.pem"
        self.addresses = Addresses(at["http"], at["grpc"], at["proxy"], authority)

    @property
    def port(self) -> int:
        """The port of REST."""
        return int(self._ports[0])

    def kill(self) -> None:
        """End it as a crash would."""
        self._process.kill()
        self._process.wait()

    def close(self) -> None:
        """End it and what it runs."""
        self._process.terminate()
        try:
            self._process.wait(PATIENCE_S)
        except subprocess.TimeoutExpired:
            self.kill()
            raise

    def make_bots(
        self, bots: Mapping[str, str], variables: Mapping[str, str] | None = None
    ) -> None:
        """Create the jobs of the bots as `mbats airflow` does, with ``variables`` besides."""
        for job, spec in bot_jobs(bots).items():
            self._make(job, spec, variables or {})

    def make_committed(self, job: str) -> None:
        """Create a job of the desk anew, as its image is built: it knows the commit it is of."""
        self._make(job, read_jobs(JOBS)[job], {"GIT_SHA": "a" * 40})

    def make_probe(self, job: str) -> None:
        """Create a job whose container is the probe."""
        spec = read_jobs(JOBS)["backtest"].model_copy(update={"image": "probe"})
        self._make(job, spec, {"PROBE_FOLDER": str(self.probed)})

    def _make(self, job: str, spec: JobSpec, variables: Mapping[str, str]) -> None:
        body = document(spec, self._project, REGION)
        container = body["template"]["template"]["containers"][0]
        container["env"] += [{"name": name, "value": text} for name, text in variables.items()]
        rest.make(self.port, "PATCH", f"{self._jobs}/{job}?allowMissing=true", body)

    def executions(self, job: str) -> list[dict]:
        """Return the executions of a job, the newest first."""
        status, text = rest._request(self.port, "GET", f"{self._jobs}/{job}/executions", None, 10.0)
        assert status == 200, text
        return json.loads(text).get("executions", [])

    @property
    def _project(self) -> str:
        return self._settings.project

    @property
    def _jobs(self) -> str:
        return f"/v2/projects/{self._project}/locations/{REGION}/jobs"

    def _environment(self) -> dict[str, str]:
        wanted = self._settings.model_dump(mode="json", exclude_none=True)
        if token := self._settings.oanda_token:
            wanted["oanda_token"] = token.get_secret_value()
        settings = {f"MBATS_{name.upper()}": str(value) for name, value in wanted.items() if value}
        return {
            "PATH": os.environ["PATH"],
            "HOME": os.environ["HOME"],
            **settings,
        }

    def airflow(self) -> dict[str, str]:
        """Return what an Airflow needs to be told to use it."""
        return {
            **client_env(self.addresses, self._project),
            "PUBSUB_EMULATOR_HOST": str(self._settings.pubsub_endpoint),
        }
