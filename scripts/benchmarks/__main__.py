"""`scripts/bench`: measures, then prints."""

from __future__ import annotations

import argparse
import json
import os
import sys

from benchmarks import application, policies, services, trace, up
from benchmarks.figures import document, machine, table

TOPICS = {
    "up": up.measure, "services": services.measure, "policies": policies.measure, "trace": trace.measure,
    "application": application.measure,
}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(prog="scripts/bench", description=__doc__)
    parser.add_argument("topic", choices=TOPICS)
    parser.add_argument("-o", "--output", choices=("table", "json"), default="table")
    parser.add_argument("--rounds", type=int, default=5, help="runs of each measurement (default: 5)")
    parser.add_argument("--full", action="store_true", help="services: what takes minutes as well")
    arguments = parser.parse_args()
    if arguments.full and arguments.topic != "services":
        parser.error("--full is for services")
    if os.geteuid() != 0:
        sys.exit("scripts/bench builds labs, which takes root")
    more = {"full": True} if arguments.full else {}
    groups = TOPICS[arguments.topic](arguments.rounds, lambda text: print(text, file=sys.stderr, flush=True), **more)
    if arguments.output == "json":
        print(json.dumps(document(machine(), groups), indent=2))
    else:
        print(table(machine(), groups))


main()
