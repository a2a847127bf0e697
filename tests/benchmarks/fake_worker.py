"""A worker that computes nothing: it does what its name says, for tests of the protocol.

Runs take as many seconds as `FAKE_SECONDS` has in turn for its name; every request is written to
the file `FAKE_LOG`.
"""

import json
import os
import sys
import time

from benchmarks import process_memory
from benchmarks.worker import Refusal, needs, serve

SECONDS = json.loads(os.environ.get("FAKE_SECONDS", "{}"))
name = ""
held = []
runs = 0


def log(what: str) -> None:
    with open(os.environ["FAKE_LOG"], "a") as file:
        file.write(f"{name} {what}\n")


def prepare(description: dict, contender: str, remat: str | None) -> dict:
    global name
    name = contender
    log("prepare")
    if name == "refuses":
        raise Refusal("cannot do that")
    if name == "misses":
        needs("a_package_that_is_not_there")
    if name == "breaks":
        raise KeyError("no such thing")
    if name == "dies":
        print("the last words", file=sys.stderr)
        sys.exit(3)
    if name == "hangs":
        time.sleep(1000)
    if name == "eats":
        held.append(b"x" * 600_000_000)
        time.sleep(1)
    print("noise that is no answer")
    return {"compile_s": 1.5, "first_run_s": 2.0, "spent_s": 2.0, "settings": f"remat {remat}"}


def run() -> dict:
    global runs
    log("run")
    if name == "dies_later":
        os.abort()
    runs += 1
    return {"run_s": SECONDS[name][runs - 1], "spent_s": 0.0}


def end() -> dict:
    log("end")
    return {"peak_bytes": process_memory.read("VmHWM"), "device_peak_bytes": None}


if __name__ == "__main__":
    serve({"prepare": prepare, "run": run, "end": end})
