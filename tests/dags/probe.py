"""What runs in the place of a bot: writes down its arguments, then waits until it is ended."""

import json
import os
import signal
import sys
from pathlib import Path

marks = {name: os.environ[name] for name in ("DESK_RUN", "DESK_SESSION")}
told = {"args": sys.argv[1:], **marks}
folder = Path(os.environ["PROBE_FOLDER"])
(folder / f"{os.environ['CLOUD_RUN_EXECUTION']}.json").write_text(json.dumps(told))
if (folder / "wait").exists():
    signal.pause()
