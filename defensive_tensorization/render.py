"""From rows to a table and a figure: which rows belong to an experiment, and where they go.

A pure function of whatever rows exist: no network, no data. Missing cells are marked.
"""

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from . import config as cfg
from . import store, tracking
from .config import Config
from .errors import UsageError
from .report import figures, formats, index, tables
from .report.published import Key, elsewhere, published
from .results import Row

FOLDER = {"paper": "paper-scale"}  # results/paper holds the published numbers


@dataclass(frozen=True)
class Layout:
    """A table before its rows: what the configuration and the paper say of it.

    cells  the configuration of each method, by its name.
    """

    config: Config
    cells: Mapping[str, Config]
    table: tables.Table
    known: Mapping[Key, float]
    copied: Mapping[Key, str]

    @property
    def folder(self) -> Path:
        return folder_of(self.config)

    @property
    def runs(self) -> Path:
        return Path(self.config.paths.runs) / "rows"

    def takes(self, row: Row) -> bool:
        return any(column.takes(row) for column in self.table.columns)

    def filled(self, rows: Sequence[Row], data: str | None = None) -> tables.Rendered:
        """With what there is of its rows; those of this machine's own data stand before others."""
        if data is None:
            own = {row.data_digest for row in store.read([self.runs]) if self.takes(row)}
            data = own.pop() if len(own) == 1 else None
        return tables.render(self.table, rows, self.known, data=data, elsewhere=self.copied)


def folder_of(config: Config) -> Path:
    """Where the results of its scale lie."""
    return Path(config.paths.results) / FOLDER.get(config.scale.name, config.scale.name)


def laid(experiment: str, overrides: Sequence[str] = ()) -> Layout:
    """From configurations alone; UsageError for an experiment that is no table."""
    from .build import attacks

    config = cfg.composed([f"experiment={experiment}", *overrides])
    if not config.experiment.columns:
        raise UsageError(f"experiment={experiment} has no columns: it is no table")
    cells = {
        method: cfg.composed([f"experiment={experiment}", *overrides, f"method={method}"])
        for method in config.experiment.columns
    }
    labels = config.experiment.columns
    named = config.experiment.published_as
    columns = tuple(
        _column(labels[method], named.get(method, method), cell) for method, cell in cells.items()
    )
    _refuse_twins(columns)
    table = tables.Table(
        config.experiment.name,
        config.experiment.title,
        columns,
        (("clean", 0.0), *((attack.name, attack.epsilon) for attack in attacks(config))),
        _notes({labels[method]: cell for method, cell in cells.items()}),
    )
    reference = config.experiment.published
    paper = cfg.CONFIGS.parent / "results" / "paper"
    lines = config.experiment.published_only
    return Layout(
        config,
        cells,
        table,
        published(paper, reference, **lines) if reference else {},
        elsewhere(paper, reference) if reference else {},
    )


def render(
    experiment: str, overrides: Sequence[str] = (), *, data: str | None = None
) -> list[Path]:
    """Collect the experiment's rows into results/<scale>/rows and render them beside it."""
    layout = laid(experiment, overrides)
    tracking.mode_of(layout.config.logger.mode)
    table, folder = layout.table, layout.folder
    store.collect(layout.runs, folder / "rows", layout.takes)
    rows = [row for row in store.read([folder / "rows"]) if layout.takes(row)]
    rendered = layout.filled(rows, data)
    made = formats.write(rendered, folder)
    figure = folder / f"{table.name}.png"
    figure.unlink(missing_ok=True)  # of rows that are gone
    if rows:
        names = tuple(dict.fromkeys(attack for attack, _ in table.lines if attack != "clean"))
        made.append(
            figures.robust_vs_epsilon(
                rows, table.columns, names, figure, title=table.title, data=rendered.data
            )
        )
    made.append(index.write_index(folder))
    print(formats.text(rendered))
    _mirror(layout.config, rendered, made)
    return made


def _refuse_twins(columns: Sequence[tables.Column]) -> None:
    """An override of what the methods set would show one network under two labels."""
    for i, column in enumerate(columns):
        for other in columns[:i]:
            if (column.recipe, column.protocols) == (other.recipe, other.protocols):
                raise UsageError(
                    f"'{other.label}' and '{column.label}' are the same run: an override takes the "
                    "place of what the table's methods set (theta, defence, ...); leave it out"
                )


def _notes(cells: Mapping[str, Config]) -> tuple[tuple[str, str], ...]:
    """The settings behind the columns; their hashes are what selects the rows."""

    def each(value: Callable[[Config], str]) -> str:
        texts: dict[str, list[str]] = {}
        for label, cell in cells.items():
            texts.setdefault(value(cell), []).append(label)
        if len(texts) == 1:
            return next(iter(texts))
        return "; ".join(f"{text or 'none'} ({', '.join(of)})" for text, of in texts.items())

    def sketch(c: Config) -> str:
        conv = c.defence.conv
        if conv is None or conv.theta == 1:
            return "none"
        which = "all modes" if conv.modes is None else f"modes {conv.modes}"
        scaled = ", divided by what is kept" if conv.rescale else ""
        return f"{which} larger than {conv.min_dim}, rank {conv.rank}, {conv.init} basis{scaled}"

    def recipe(c: Config) -> str:
        t = c.train
        rate = t.optimizer.lr * (t.lr_scale if cfg.base_of(c) else 1)
        crop = f", crops of {t.crop}" if t.crop else ""
        return (
            f"{t.optimizer._target_.rpartition('.')[2]}, lr {rate:g}, weight decay "
            f"{t.optimizer.weight_decay or 0:g}, batch {t.batch_size}{crop}, {t.autocast}"
        )

    def reference(c: Config) -> str:
        used = cfg.batchnorm(c) == "recalibrated"
        kind = cfg.named(c.model._target_).reads
        return f"{c.model.reference} training {kind}" if used else "none"

    def binary(c: Config) -> str:
        p = c.precision
        if not _is_binary(c):
            return "none"
        scales = [name for name in ("K", "alpha") if getattr(p, name)]
        used = {attack.surrogate for attack in c.attack.values()}
        return (
            f"{p.order}, scales {' and '.join(scales) or 'none'}, first layer {p.first}, last "
            f"{p.last}, shortcuts {p.shortcut}; sgn's derivative under attack: "
            f"{', '.join(sorted(each or 'identity' for each in used))}"
        )

    return (
        *((("binary layers", each(binary)),) if any(map(_is_binary, cells.values())) else ()),
        ("sketch", each(sketch)),
        *((("defence", each(_defence)),) if any(map(_defence, cells.values())) else ()),
        ("training", each(recipe)),
        ("BatchNorm reference", each(reference)),
        ("attacked in", each(lambda c: c.eval.autocast)),
    )


def _defence(config: Config) -> str:
    """What fills the slots beside `conv`; "" where nothing does."""
    d = config.defence
    parts = []
    if d.relu:
        parts.append(f"activations of {d.relu.bits} bits up to {d.relu.clip:g}, beta {d.beta:g}")
    if d.input:
        median = " and the 2x2 median" if d.input.median else ""
        how = sorted({each.input or "through" for each in config.attack.values()})
        parts.append(f"colours of {d.input.bits} bits{median}, attacks {' and '.join(how)} it")
    if d.perturb:
        p = d.perturb
        size = f"ε {p.epsilon:g}" if p.epsilon else f"ε |N(0, {p.sigma:g})| up to {p.largest:g}"
        parts.append(f"trained on {p.name} of {size}, in levels")
        if d.conv and d.conv.theta < 1:
            parts.append(f"its draws {p.draws}, the update's {p.update}")
    return "; ".join(parts)


def _is_binary(config: Config) -> bool:
    return config.precision._target_ is not None


def _column(label: str, paper: str, config: Config) -> tables.Column:
    """What of the rows is this method's, from its configuration alone."""
    from .build import attacks
    from .rows import protocol

    protocols = frozenset(protocol(config, attack) for attack in (None, *attacks(config)))
    return tables.Column(label, paper, cfg.recipe(config), protocols)


def _mirror(config: Config, rendered: tables.Rendered, made: list[Path]) -> None:
    """The rendered table and figure as a W&B run of their own."""
    records = formats.records(rendered)
    with tracking.start(
        mode=config.logger.mode,
        project=config.logger.project,
        dir=Path(config.paths.runs) / "wandb",
        name=f"{config.experiment.name}-{config.scale.name}",
        group=config.experiment.name,
        job_type="report",
        tags=[config.scale.name, config.dataset.name],
        config=cfg.plain(config),
    ) as run:
        run.table(config.experiment.name, list(records[0]), [list(r.values()) for r in records])
        for path in made:
            print(f"wrote {path}")
            if path.suffix == ".png":
                run.image(path.stem, path)
        if run.path:
            print(f"W&B   {run.path}   (look at it without an account: wandb leet {run.path})")


def read_data(words: Sequence[str]) -> tuple[list[str], str | None]:
    """The words without `--data TITLE`, and that title."""
    rest = list(words)
    if "--data" not in rest:
        return rest, None
    at = rest.index("--data")
    data = (rest[at + 1 : at + 2] or [""])[0]
    if not data:
        raise UsageError("--data needs the title or the digest of the data: --data 'CIFAR-10'")
    del rest[at : at + 2]
    return rest, data


def main() -> None:
    """python scripts/render.py EXPERIMENT [key=value ...] [--data TITLE]"""
    try:
        arguments, data = read_data(sys.argv[1:])
        if not arguments:
            raise UsageError(
                "name the experiment to render: python scripts/render.py table1 scale=cpu"
            )
        render(arguments[0], arguments[1:], data=data)
    except UsageError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
