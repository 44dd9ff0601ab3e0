"""The local desk as a DAG sees it: the emulators, a Cloud Run that can be killed, an Airflow."""

import json
import os
import subprocess
import sys
from pathlib import Path

from mbats.config import Settings
from mbats.local import rest
from mbats.local.cloud_run.clients import REGION, Addresses, client_env
from mbats.local.cloud_run.desk_jobs import document, make_jobs
from mbats.local.cloud_run.jobs_file import read_jobs

CHECKOUT = Path(__file__).parents[2]
IMAGES = Path(__file__).with_name("images")


class CloudRun:
    """The local Cloud Run as a process of its own, over a stack's emulators."""

    def __init__(self, folder: Path, settings: Settings) -> None:
        self._folder = folder
        self._settings = settings
        self.probed = folder / "probed"
        self.probed.mkdir(parents=True)
        self._ports = ["0", "0", "0"]
        self.start()
        specs = read_jobs(CHECKOUT / "containers" / "jobs.yaml")
        make_jobs(self.port, specs, settings.project, REGION)

    def start(self) -> None:
        """Start it, at the ports it had before."""
        flags = zip(("--http", "--grpc", "--proxy"), self._ports, strict=True)
        self._process = subprocess.Popen(
            [sys.executable, "-m", "mbats.local.cloud_run", "--folder", self._folder / "run",
             "--containers", IMAGES, "--workdir", CHECKOUT, *(w for each in flags for w in each)],
            env=self._environment(), stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert self._process.stdout
        for line in self._process.stdout:
            words = json.loads(line)["event"].split()
            if words[0] == "serves":
                break
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
        self._process.wait()

    def make_probe(self, job: str) -> None:
        """Create a job whose container is the probe."""
        spec = read_jobs(CHECKOUT / "containers" / "jobs.yaml")["backtest"]
        body = document(spec.model_copy(update={"image": "probe"}), self._project, REGION)
        container = body["template"]["template"]["containers"][0]
        container["env"].append({"name": "PROBE_FOLDER", "value": str(self.probed)})
        rest.make(self.port, "POST", f"{self._jobs}?jobId={job}", body)

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
            "MBATS_PROJECT": self._project,
            "PUBSUB_EMULATOR_HOST": str(self._settings.pubsub_endpoint),
            "MARKET_DATA_VENDOR": "ecb",
        }
