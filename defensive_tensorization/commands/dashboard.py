"""The W&B dashboard of one setting, defined in code: what `mirror` shows, in panels.

Building it needs no network and no account; `make dashboard` creates it, or brings it up to date.
"""

import sys
from collections.abc import Iterator, Sequence
from typing import Any

from .. import config as cfg
from .. import tracking
from ..config import Config
from ..errors import UsageError, in_one_line
from ..experiment import wandb_log
from ..report import attack_names

LIMIT = 50  # runs in one panel


def workspace(entity: str, config: Config, tables: Sequence[str] = ()) -> Any:
    """A `wandb_workspaces` Workspace for the runs of the configuration's data set and scale.

    tables: the experiments that are compared with the paper's numbers.
    """
    import wandb_workspaces.reports.v2 as panels
    import wandb_workspaces.workspaces as workspaces

    from ..experiment.plan import attacks

    aimed = attacks(config)
    names = list(dict.fromkeys(attack.name for attack in aimed))
    by_label: dict[str, Any] = {"groupby": panels.Config("label"), "groupby_aggfunc": "mean"}

    def against(x: str, y: str, title: str, **more: Any) -> Any:
        more["max_runs_to_show"] = LIMIT
        return panels.LinePlot(title=title, x=panels.Metric(x), y=[y], **more)

    def clean_against(attack: str, epsilon: float) -> Any:
        return panels.ScatterPlot(
            title=f"Clean against {attack_names.shown(attack)} at ε = {epsilon:g}",
            x=panels.SummaryMetric(wandb_log.CLEAN),
            y=panels.SummaryMetric(wandb_log.cell(attack, epsilon)),
        )

    def total(metric: str, title: str) -> Any:
        return panels.BarPlot(
            title=title, metrics=[panels.SummaryMetric(metric)], max_runs_to_show=LIMIT, **by_label
        )

    shown = {
        "Robust accuracy against ε": [
            against(
                wandb_log.AXES["eval"],
                wandb_log.curve(name),
                attack_names.shown(name),
                range_y=(0, 1),
                groupby_rangefunc="stddev",
                **by_label,
            )
            for name in names
        ],
        "Clean against robust accuracy": [
            clean_against(attack.name, attack.epsilon)
            for attack in aimed
            if attack.name == names[-1]
        ],
        "Training": [
            against(wandb_log.AXES["train"], curve, curve)
            for curve in wandb_log.CURVES
            if curve != "lr"
        ],
        "What it costs": [
            total(wandb_log.TRAINED_S, "Seconds of training"),
            total(wandb_log.SCORED_S, "Seconds of attacks and scoring"),
        ],
        "The paper's numbers, ours, the difference": [
            panel
            for name in tables
            for panel in (
                panels.WeavePanelSummaryTable(table_name=name),
                panels.MediaBrowser(title=name, media_keys=[wandb_log.figure(name)]),
            )
        ],
        "Adversarial examples": [
            panels.MediaBrowser(title=key, media_keys=[key])
            for key in (wandb_log.EXAMPLES, wandb_log.SOUNDS)
        ],
    }
    setting = wandb_log.setting(config)
    return workspaces.Workspace(
        entity=entity,
        project=config.logger.project,
        name=f"Defensive tensorization: {setting}",
        auto_generate_panels=False,
        sections=[
            workspaces.Section(name=title, panels=made, is_open=True)
            for title, made in shown.items()
            if made
        ],
        settings=workspaces.WorkspaceSettings(max_runs=LIMIT),
        runset_settings=workspaces.RunsetSettings(filters=f"Config('setting') == '{setting}'"),
    )


def compared(config: Config) -> list[str]:
    """The experiments on the same data at the same scale whose numbers the paper printed."""
    found = []
    for name, of in cfg.experiments().items():
        if not of.get("published"):
            continue  # composing takes its time
        other = cfg.composed([f"experiment={name}", f"scale={config.scale.name}"])
        if wandb_log.setting(other) == wandb_log.setting(config):
            found.append(name)
    return found


def described(made: Any) -> str:
    """The workspace as lines of text: each section's panels, and what they draw."""
    lines = [f"{made.name}  (project {made.project})"]
    for section in made.sections:
        lines += [f"  {section.name}", *(f"    {_told(panel)}" for panel in section.panels)]
    return "\n".join(lines)


def drawn(panel: Any) -> Iterator[str]:
    """The names, as they were logged, that one panel draws."""
    for field in ("x", "y", "metrics", "media_keys", "table_name"):
        value = getattr(panel, field, None)
        for each in value if isinstance(value, list) else [value]:
            if each is not None:
                yield each if isinstance(each, str) else each.name


def _told(panel: Any) -> str:
    return f"{type(panel).__name__}: {', '.join(drawn(panel))}"


def publish(made: Any) -> None:
    """Creates the workspace, or brings the one of the same name up to date; W&B says where."""
    from wandb_workspaces.workspaces import internal

    key = cfg.digest(made.name, 11)
    made._internal_name = internal._url_query_str_to_internal_name(key)
    try:
        made._internal_id = internal.get_view_dict(made.entity, made.project, key)["id"]
    except ValueError as error:
        if "Project" in str(error):
            raise UsageError(
                f"W&B has no project {made.entity}/{made.project} yet: upload a run first, with "
                "`make wandb-sync` or logger.mode=online"
            ) from None
    made.save()


def main(arguments: Sequence[str] | None = None) -> None:
    """python scripts/dashboard.py [experiment=table1] [key=value ...]"""
    given = list(sys.argv[1:] if arguments is None else arguments)
    if not any(each.startswith("experiment=") for each in given):
        given.insert(0, "experiment=table1")
    with in_one_line("paths.runs"):
        config = cfg.composed(given)
        found = workspace(tracking.entity(), config, compared(config))
        print(described(found))
        if tracking.has_key():
            tracking.asked(lambda: publish(found))
        else:
            print(f"\nNothing was sent, there is no W&B key: {tracking.REMEDY} to create this.")
