"""What the test images run: does what its arguments say, in order."""

import json
import os
import signal
import subprocess
import sys

PAUSE = "import signal; signal.pause()"


def hear(number, frame):
    print("heard SIGTERM", flush=True)
    sys.exit(0)


for word in sys.argv[1:]:
    action, _, value = word.partition("=")
    match action:
        case "say":
            print(value, flush=True)
        case "env":
            print(json.dumps(dict(os.environ)), flush=True)
        case "exit":
            sys.exit(int(value))
        case "exit-before":  # fails in the attempts before this one
            if int(os.environ["CLOUD_RUN_TASK_ATTEMPT"]) < int(value):
                sys.exit(1)
        case "exit-as":  # exits with the index of its task
            sys.exit(int(os.environ["CLOUD_RUN_TASK_INDEX"]))
        case "kill":
            os.kill(os.getpid(), int(value))
        case "deaf":
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
        case "polite":
            signal.signal(signal.SIGTERM, hear)
        case "child":
            child = subprocess.Popen([sys.executable, "-c", PAUSE])
            print(f"child {child.pid}", flush=True)
        case "ready":  # a named pipe: waits until the test reads it
            with open(value, "w") as pipe:
                pipe.write(f"{os.getpid()}\n")
        case "pause":
            while True:
                signal.pause()
