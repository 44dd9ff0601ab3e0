"""`make demo-airflow`: the daily DAG, once and end to end, and its graph as a picture."""

import json
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

from tests.headless_chromium import WITHOUT, browser, executable

DAG = "market_data_daily"
PATIENCE_S = 900
PAUSE_S = 2.0
WAIT_MS = 90_000
_DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def main() -> None:
    """Start Airflow, run the DAG, take the picture, stop all that was started."""
    began = time.monotonic()
    mbats = str(Path(sys.executable).with_name("mbats"))
    airflow = subprocess.Popen([mbats, "airflow", "--json"], stdout=subprocess.PIPE, text=True)
    try:
        services = {each["service"]: each for each in _document(airflow)["services"]}
        address = f"http://{services['airflow']['addresses']['http']}"
        print(f"Airflow is at {address} ({time.monotonic() - began:.0f} s)")
        _until(lambda: _ask(address, f"dags/{DAG}") is not None, f"{DAG} was not parsed")
        run = _ask(address, f"dags/{DAG}/dagRuns", {"logical_date": None})
        print(f"{DAG} runs: {run['dag_run_id']}")
        path = f"dags/{DAG}/dagRuns/{run['dag_run_id']}"
        _until(lambda: _ask(address, path)["state"] in ("success", "failed"), "the run did not end")
        for task in sorted(_tasks(address, path), key=lambda each: each["start_date"] or ""):
            print(f"  {task['task_id']:8} {task['state']:8} {task['duration'] or 0:6.1f} s")
        if _ask(address, path)["state"] != "success":
            sys.exit(f"The run failed: see {address}/dags/{DAG}")
        subprocess.run([mbats, "data", "list"], check=True)
        _picture(address, Path(services["airflow"]["log"]).parents[1])
    finally:
        airflow.terminate()
        airflow.wait()
    print(f"Done in {time.monotonic() - began:.0f} s; what was started is stopped.")


def _document(process: Any) -> Any:
    """Return the JSON document that a process prints, as soon as it is whole."""
    text = ""
    for line in process.stdout:
        text += line
        if line.startswith("}"):
            return json.loads(text)
    sys.exit(f"`mbats airflow` ended with {process.wait()}")


def _until(true: Any, otherwise: str) -> None:
    ending = time.monotonic() + PATIENCE_S
    while not true():
        if time.monotonic() > ending:
            sys.exit(f"{otherwise} within {PATIENCE_S} s")
        time.sleep(PAUSE_S)


def _ask(address: str, path: str, body: dict[str, Any] | None = None) -> Any:
    """Return what Airflow's API answers; None where there is nothing (yet)."""
    data = None if body is None else json.dumps(body).encode()
    headers = {"Content-Type": "application/json"}
    request = urllib.request.Request(f"{address}/api/v2/{path}", data, headers)
    try:
        with _DIRECT.open(request, timeout=300) as answer:
            return json.load(answer)
    except urllib.error.HTTPError as error:
        if error.code == 404:
            return None
        raise


def _tasks(address: str, path: str) -> list[dict[str, Any]]:
    return list(_ask(address, f"{path}/taskInstances")["task_instances"])


def _picture(address: str, home: Path) -> None:
    chromium = executable()
    if chromium is None:
        print(f"{WITHOUT}: no picture. Mend: apt-get install -y chromium")
        return
    file = home / "reports" / f"airflow-{DAG}.png"
    file.parent.mkdir(exist_ok=True)
    with browser(chromium) as running:
        page = running.new_page(viewport={"width": 1440, "height": 900})
        # The page never stops asking for news, so it is never "loaded".
        page.goto(f"{address}/dags/{DAG}", wait_until="commit", timeout=WAIT_MS)
        page.click('button[value="graph"]', timeout=WAIT_MS)
        page.wait_for_selector(".react-flow__node", timeout=WAIT_MS)
        page.screenshot(path=file, animations="disabled")
    print(f"Its graph: {file}")


if __name__ == "__main__":
    main()
