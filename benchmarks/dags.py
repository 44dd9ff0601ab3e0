"""How long do 200 strategies take to parse, beyond Airflow's own import? Peer: the same, 0 rows."""

import json
import shutil
import statistics
import subprocess
import tempfile
from pathlib import Path

from mbats.local.environments import AIRFLOW, Environments

CHECKOUT = Path(__file__).parents[1]
DESCRIBE = CHECKOUT / "tests" / "dags" / "in_airflow" / "describe.py"
HEADER = "Strategy,Mode,Securities,Model ID,Account,Strategy Parameters\n"
RUNS = 3


def measure(python: Path, rows: int) -> dict[str, float]:
    """Return processor seconds to parse and to serialise the folder with so many rows."""
    with tempfile.TemporaryDirectory() as home:
        folder = Path(home) / "dags"
        shutil.copytree(CHECKOUT / "composer_dags", folder)
        accounts = [f"101-001-{n:07d}-001" for n in range(rows)]
        lines = (f"sma_reversal,practice,EUR_USD,,{account},period=20\n" for account in accounts)
        (folder / "control").mkdir(exist_ok=True)
        (folder / "control" / "strategies.csv").write_text(HEADER + "".join(lines))
        environ = {
            "PATH": "/usr/bin:/bin",
            "HOME": home,
            "AIRFLOW_HOME": home,
            "AIRFLOW__CORE__PLUGINS_FOLDER": str(folder / "plugins"),
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "MBATS_PROJECT": "benchmark",
            "RUN_REGION": "europe-west1",
            "RUN_BOTS": json.dumps(dict.fromkeys(accounts, "bot")),
        }
        answer = Path(home) / "answer.json"
        command = [python, DESCRIBE, folder, answer]
        subprocess.run(command, env=environ, check=True, capture_output=True)
        told = json.loads(answer.read_text())
        return {name: told[name] for name in ("parse_s", "serialise_s")}


def main() -> None:
    """Print medians."""
    made = Environments(CHECKOUT / ".mbats" / "venvs").ensure(AIRFLOW, print)
    for rows in (0, 200):
        found = [measure(made / "bin" / "python", rows) for _ in range(RUNS)]
        parse, store = (statistics.median(each[k] for each in found) for k in found[0])
        print(f"{rows:4} rows: parse {parse:.2f} s, serialise {store:.2f} s")


if __name__ == "__main__":
    main()
