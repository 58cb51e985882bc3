"""`make fuzz`: asks a real service what nobody thought of, one operation or a chain of them, from its own contract."""

import argparse
import sys

from tests.ending import clean_up_on_sigterm
from tests.fuzz.run import PHASES, fuzz
from tests.integration.stores import running_postgres


def main() -> int:
    parser = argparse.ArgumentParser(prog="fuzz", description=__doc__)
    parser.add_argument("--cases", type=int, default=45, help="of each operation")
    parser.add_argument("--chains", type=int, default=200, help="of several operations along links, at a time")
    parser.add_argument("--at-least", type=int, default=10_000, help="in all; fewer are a failure")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--phases", default=",".join(PHASES))
    options, more = parser.parse_known_args()
    clean_up_on_sigterm()
    with running_postgres() as postgres:
        phases = options.phases.split(",")
        outcome = fuzz(postgres, options.cases, options.chains, options.seed, phases, options.at_least, more)
    print(
        f"{outcome.cases} cases of {outcome.operations} operations, {outcome.answered} requests in all, "
        f"in {outcome.seconds:.0f} s, seed {options.seed}:",
        *(outcome.findings or ["nothing was found."]),
        sep="\n  ",
    )
    if outcome.never_accepted:
        print("None of its cases was accepted by:", *outcome.never_accepted, sep="\n  ")
    if outcome.cases < options.at_least:
        print(f"These are fewer than {options.at_least}.")
    # Of a part of it, as `--include-path` makes, nobody expects all operations.
    is_whole = not more and phases == list(PHASES)
    unreached = is_whole and bool(outcome.never_accepted)
    return int(bool(outcome.findings) or unreached or outcome.cases < options.at_least)


if __name__ == "__main__":
    sys.exit(main())
