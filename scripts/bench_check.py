"""Compare the ratios of a new benchmark with the committed ones: exit 1 if one is 25% worse.

    make bench-check-full                                # the suite anew, then this
    python scripts/bench_check.py NEW [COMMITTED]        # folders of JSON; default results/bench

A ratio is what one thing costs as a multiple of another in the same run, so that machines matter
less than code; less is better. The smaller of its two forms (of minima, of medians) is compared,
each with its own, so that noise in one of them alone is no regression. Accuracies that agreed
and no longer do fail as well, and so does a committed part of this device that was not made anew.
"""

import json
import sys
from pathlib import Path
from typing import Any

COMMITTED = Path(__file__).parents[1] / "results" / "bench"
WORSE = 1.25


def compared(new: dict[str, Any], old: dict[str, Any]) -> tuple[list[str], list[str]]:
    """Lines of every ratio that both have, and those of the failures among them."""
    lines, failed = [], []
    for name, was in old["ratios"].items():
        now = new["ratios"].get(name)
        if now is None:
            lines.append(f"  missing   {name}: not measured anew")
            failed.append(lines[-1])
            continue
        change = min(now[form] / was[form] for form in ("minimum", "median"))
        state = "WORSE" if change > WORSE else "better" if change < 1 / WORSE else "as before"
        lines.append(
            f"  {state:9s} {name}: {was['minimum']:.2f} to {now['minimum']:.2f} ({change - 1:+.0%})"
        )
        if change > WORSE:
            failed.append(lines[-1])
    if new.get("same_accuracy") is False and old.get("same_accuracy"):
        lines.append("  DIFFERS   accuracies that agreed do so no longer: see its table")
        failed.append(lines[-1])
    return lines, failed


def read(path: Path) -> dict[str, Any]:
    try:
        record: dict[str, Any] = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        refuse(f"{path} cannot be read ({error}): make it anew with make bench")
    return record


def _on_gpu(name: str) -> bool:
    return name.endswith("_gpu.json")


def refuse(text: str) -> None:
    print(f"error: {text}", file=sys.stderr)
    sys.exit(2)


def main() -> None:
    folders = [Path(word) for word in sys.argv[1:]]
    if not 1 <= len(folders) <= 2:
        refuse("name the folder of the new JSON: python scripts/bench_check.py NEW [COMMITTED]")
    new, old = (*folders, COMMITTED)[:2]
    committed = {p.name: records for p in old.glob("*.json") if "ratios" in (records := read(p))}
    made = {path.name for path in new.glob("*.json")} & committed.keys()
    devices = {_on_gpu(name) for name in made}
    suite = {name: committed[name] for name in sorted(committed) if _on_gpu(name) in devices}
    if not made:
        refuse(f"{old} and {new} have no ratios in common: run make bench, and commit what it made")
    every: list[str] = []
    for name, was in suite.items():
        if name not in made:
            print(name)
            every.append(f"  missing   {name}: not measured anew")
            print(every[-1])
            continue
        now = read(new / name)
        if now.get("quick") or was.get("quick"):
            refuse(f"{name} is of a --quick run, which says nothing about cost: run make bench")
        lines, failed = compared(now, was)
        print("\n".join([name, f"  was {was['circumstances']}", f"  now {now['circumstances']}"]))
        print("\n".join(lines))
        every += failed
    if every:
        print(f"{len(every)} over {WORSE - 1:.0%} worse, different or missing:")
        print("\n".join(every))
        sys.exit(1)
    print(f"no ratio is over {WORSE - 1:.0%} worse")


if __name__ == "__main__":
    main()
