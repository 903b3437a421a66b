"""Result rows: one JSON object per line, one line per attack, epsilon and evaluation seed.

Rows are the truth; tables, figures and W&B are made from them.
"""

import json
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import MISSING, asdict, dataclass, fields
from functools import cache
from typing import Any, get_type_hints

from defensive_tensorization.errors import UsageError
from defensive_tensorization.results.network import OfNetwork

_NO_DRAWS = "none: "  # how `draws` begins in a row of a network without randomness
OUTSIDE = "autoattack"  # the attack that is others' code, with draws and times of its own


@dataclass(frozen=True)
class Row(OfNetwork):
    """One attack at one epsilon under one evaluation seed.

    Accuracies are fractions in [0, 1]; for the attack "clean" both are the clean accuracy.
    `epsilon` is in the task's unit (8 means 8/255 on images), `epsilon_absolute` and `step_size`
    in the input's own scale. `seconds` is the time of the attack and its scoring; of several that
    were one walk, what each alone takes, by its steps. `commit` is the code that attacked and
    scored, `trained_commit` the code that trained, `weights` the digest of what it trained; rows
    from before these two were kept have "". `knowledge` is the attacker's, `options` are its
    further settings, `input` how it took a transform of the input: "through" or "oblivious", ""
    where there is none. `sketch` is False where all of it ran at theta = 1. `scored` is how many
    draws the accuracies are the mean of; where they are several, `correct`, `votes` and `by_draw`
    are what each image got (`scores.Answers.decoded`). `outcomes` is of an attack that stops at the
    first miss: name=images:right for each outcome, right answers of all scoring draws together.
    `train_autocast` and `autocast` are the precision of the training and of attack and scoring;
    older rows have "". `random` says whether two forwards of the evaluated network can differ; of
    an older row it is found in the sentence `draws`. `gradient_cosine` is that of two
    draws' gradients at the first `gradient_images` images, of clean rows where it was asked for.
    """

    attack: str
    epsilon: float
    epsilon_absolute: float
    steps: int
    step_size: float
    random_start: bool
    draws: str
    n: int
    subset: str
    eval_seed: int
    clean_accuracy: float
    robust_accuracy: float
    commit: str
    dirty: bool
    versions: dict[str, str]
    hardware: str
    seconds: float
    command: str
    trained_commit: str = ""
    weights: str = ""
    knowledge: str = "fresh"
    options: str = ""
    scored: int = 1
    correct: str = ""
    votes: str = ""
    by_draw: str = ""
    input: str = ""
    sketch: bool = True
    outcomes: str = ""
    train_autocast: str = ""
    autocast: str = ""
    random: bool = True
    gradient_cosine: float | None = None
    gradient_images: int = 0

    def __post_init__(self) -> None:
        for name in ("clean_accuracy", "robust_accuracy"):
            value = getattr(self, name)
            if not 0.0 <= value <= 1.0:
                raise ValueError(f"{name} must be a fraction in [0, 1], got {value}")

    @property
    def settings(self) -> dict[str, str]:
        """`options` by name."""
        return dict(pair.split("=", 1) for pair in self.options.split())

    @property
    def ended(self) -> dict[str, tuple[int, int]]:
        """`outcomes` by name: images, and right answers of `scored` draws together."""
        pairs = (pair.split("=", 1) for pair in self.outcomes.split())
        counts = {name: value.split(":") for name, value in pairs}
        return {name: (int(images), int(right)) for name, (images, right) in counts.items()}

    @property
    def averaged(self) -> int:
        """K, how many draws each question of the attack averages over."""
        return int(self.settings.get("draws", 1))

    @property
    def key(self) -> str:
        """What makes a row unique."""
        return key(self.fingerprint, self.protocol, self.eval_seed)

    def to_json(self) -> str:
        """One line without its newline."""
        record = asdict(self) | {"versions": dict(sorted(self.versions.items()))}
        return json.dumps(record, ensure_ascii=False, allow_nan=False)

    @classmethod
    def from_json(cls, text: str | bytes, where: str) -> "Row":
        """Reads one line; `where` ("file:line") opens the message of a UsageError."""
        return _row(json.loads(text), where)


def key(fingerprint: str, protocol: str, eval_seed: int) -> str:
    """Which network, scored how, under which seed."""
    return f"{fingerprint}/{protocol}/{eval_seed}"


@dataclass(frozen=True)
class Summary:
    """Mean and sample standard deviation over evaluation seeds; no deviation of one seed."""

    clean_mean: float
    robust_mean: float
    robust_std: float | None
    n: int
    seeds: int


def summarise(rows: Sequence[Row]) -> Summary:
    """Summary of the rows of one network under one protocol, one row per evaluation seed."""
    if not rows:
        raise ValueError("no rows to summarise")
    if len({(row.fingerprint, row.weights, row.protocol, row.n) for row in rows}) > 1:
        raise ValueError("rows of more than one network or protocol cannot be averaged")
    if len({row.eval_seed for row in rows}) < len(rows):
        raise ValueError("an evaluation seed occurs twice")
    robust = [row.robust_accuracy for row in rows]
    return Summary(
        clean_mean=statistics.fmean(row.clean_accuracy for row in rows),
        robust_mean=statistics.fmean(robust),
        robust_std=_std(robust),
        n=rows[0].n,
        seeds=len(rows),
    )


def given(rows: Iterable[Row], *outcomes: str) -> tuple[int, float | None]:
    """How many images an attack that stops left so, over all rows, and the accuracy on them.

    given(rows, "found") is P(correct | found); None where there is no such image.
    """
    images = right = draws = 0
    for row in rows:
        for name in outcomes:
            n, answers = row.ended.get(name, (0, 0))
            images, right, draws = images + n, right + answers, draws + n * row.scored
    return images, right / draws if draws else None


def means(rows: Iterable[Row]) -> dict[tuple[str, float], float]:
    """Mean robust accuracy for each (attack, epsilon), over the evaluation seeds of one network;
    of the most steps and draws where they are several."""
    cells: dict[tuple[str, float], dict[tuple[int, int], list[Row]]] = {}
    for row in rows:
        costs = cells.setdefault((row.attack, row.epsilon), {})
        costs.setdefault((row.steps, row.averaged), []).append(row)
    return {at: summarise(each[max(each)]).robust_mean for at, each in cells.items()}


def _std(values: list[float]) -> float | None:
    return statistics.stdev(values) if len(values) > 1 else None


def _row(record: Any, where: str) -> Row:
    if not isinstance(record, dict):
        raise UsageError(f"{where}: a row must be a JSON object, got {record!r:.40}")
    kinds, later = _kinds()
    for name in record:
        if name not in kinds:
            raise UsageError(
                f"{where}: unknown field '{name}'; the row is of another version, "
                "move the file away or read it with that version"
            )
    for name in kinds:
        if name not in record and name not in later:
            raise UsageError(
                f"{where}: missing field '{name}'; the row is of another version, "
                "move the file away or read it with that version"
            )
    if "random" not in record:
        record = record | {"random": not str(record["draws"]).startswith(_NO_DRAWS)}
    try:
        return Row(**{name: _value(name, kinds[name], value) for name, value in record.items()})
    except ValueError as error:
        raise UsageError(f"{where}: {error}; delete this line and run the command again") from None


@cache
def _kinds() -> tuple[dict[str, Any], frozenset[str]]:
    """The type of each field, and the fields that rows of older versions lack."""
    later = frozenset(field.name for field in fields(Row) if field.default is not MISSING)
    return get_type_hints(Row), later


def _value(name: str, kind: Any, value: Any) -> Any:
    if kind is float and type(value) in (int, float):
        return float(value)
    if kind == float | None:
        return None if value is None else _value(name, float, value)
    if kind == dict[str, str]:
        sound = isinstance(value, dict) and all(isinstance(each, str) for each in value.values())
    else:
        sound = type(value) is kind
    if not sound:
        raise ValueError(f"{name} must be {getattr(kind, '__name__', kind)}, got {value!r:.40}")
    return value
