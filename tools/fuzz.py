"""Attack the readers: broken archives, areas of interest and TOML files, by the thousand.

    python tools/fuzz.py --seconds 600 [--target archive payload aoi toml] [--seed 0] [--keep DIR]
    python tools/fuzz.py --seconds 600 --coverage --target index      (needs atheris)

Archives are mutated behind their checksums: an attacker can compute those too. An execution opens
the input and uses it as users do. It may end in a `StvcError`, or well; anything else is a finding:
another exception, more than --memory, more than --patience. Findings are told apart by the line of
stvc that raised; one input of each is kept.
"""

from __future__ import annotations

import argparse
import random
import sys
import warnings
from pathlib import Path
from tempfile import TemporaryDirectory

sys.path.insert(0, str(Path(__file__).resolve().parent))

NAMES = ("archive", "payload", "index", "aoi", "toml")
WATCHED = ["stvc.archive", "stvc._geojson", "stvc.aoi", "stvc._header_rules", "stvc.header"]
"""Modules whose branches steer a guided run."""


def guided(name: str, seconds: float) -> None:
    """Let atheris (libFuzzer) steer by the branches that an input reaches; ends the process."""
    import atheris

    with atheris.instrument_imports(include=WATCHED):
        from fuzzing.mutations import mutate_bytes
        from fuzzing.targets import TARGETS

        import stvc.aoi
        import stvc.header  # noqa: F401 - watched by being imported here
        from stvc.errors import StvcError

    target = TARGETS[name]
    corpus = TemporaryDirectory()
    for k, block in enumerate(target.seeds()):
        (Path(corpus.name) / str(k)).write_bytes(block)
    beside = TemporaryDirectory()
    scratch = Path(beside.name)

    def one(block: bytes) -> None:
        try:
            target.use(block, scratch)
        except StvcError:
            return

    def behind_checksums(block: bytes, size: int, seed: int) -> bytes:
        try:
            return target.mutate(block, random.Random(seed))[:size]
        except Exception:  # not an archive any more: let libFuzzer go on with its bytes
            return mutate_bytes(block, random.Random(seed))[:size]

    arguments = [sys.argv[0], f"-max_total_time={int(seconds)}", "-rss_limit_mb=4096"]
    arguments += ["-timeout=60", "-max_len=65536", corpus.name]
    atheris.Setup(arguments, one, custom_mutator=behind_checksums)
    atheris.Fuzz()


def main() -> int:
    """Attack and report; exit code 1 if anything was found."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=60.0, help="for all targets together")
    parser.add_argument("--target", nargs="+", choices=NAMES, default=list(NAMES))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--memory", type=float, default=1.0, help="GB that an input may take")
    parser.add_argument("--patience", type=int, default=60, help="seconds that it may take")
    parser.add_argument("--keep", type=Path, help="write the inputs of findings here")
    parser.add_argument("--coverage", action="store_true", help="guided by atheris, one target")
    options = parser.parse_args()
    warnings.simplefilter("error", RuntimeWarning)
    # ^ a cast that overflows is a finding: its result depends on the machine
    if options.coverage:
        guided(options.target[0], options.seconds)
    from fuzzing.running import fuzz

    found = 0
    for name in options.target:
        tally = fuzz(
            name,
            seconds=options.seconds / len(options.target),
            seed=options.seed,
            memory=int(options.memory * 1e9),
            patience=options.patience,
        )
        outcomes = ", ".join(f"{kind} {count}" for kind, count in tally.outcomes.most_common())
        print(
            f"{name}: {tally.executions} executions, {len(tally.findings)} findings; {outcomes}; "
            f"slowest {tally.slowest:.1f} s"
        )
        found += len(tally.findings)
        for k, (place, (trace, block)) in enumerate(tally.findings.items()):
            print(f"  {place}\n    {trace.strip().splitlines()[-1][:200]}")
            if options.keep:
                options.keep.mkdir(parents=True, exist_ok=True)
                (options.keep / f"{name}-{k}.bin").write_bytes(block)
                (options.keep / f"{name}-{k}.txt").write_text(f"{place}\n{trace}")
        if options.keep and tally.slowest_input:
            options.keep.mkdir(parents=True, exist_ok=True)
            (options.keep / f"{name}-slowest.bin").write_bytes(tally.slowest_input)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
