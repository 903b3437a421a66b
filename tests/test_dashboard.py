"""The dashboard: its panels draw what runs log, and a server gets it once and then anew."""

import json
from typing import Any

import pytest
from helpers.fake_wandb import KEY, serving
from helpers.recorded import SMALL, Recorded

from defensive_tensorization.commands import dashboard
from defensive_tensorization.config import composed
from defensive_tensorization.experiment import wandb_log


def panels(made: Any) -> list[Any]:
    return [panel for section in made.sections for panel in section.panels]


def kinds(made: Any, name: str) -> list[Any]:
    return [panel for panel in panels(made) if type(panel).__name__ == name]


def test_panels_draw_names_that_runs_log(recorded: Recorded) -> None:
    config = composed([*SMALL, "method=ours_0.9_same_epochs"])
    made = dashboard.workspace("me", config, ["quickstart"])
    logged = set().union(*(log.names for log in recorded.logs))
    wanted = {name for panel in panels(made) for name in dashboard.drawn(panel)}
    assert wanted - logged == {wandb_log.SOUNDS}  # of `make figure-audio` alone
    assert len(wanted) > 10


def test_grouping_and_filter_are_in_every_runs_configuration(recorded: Recorded) -> None:
    config = composed([*SMALL, "method=ours_0.9_same_epochs"])
    made = dashboard.workspace("me", config)
    assert made.runset_settings.filters == "Config('setting') == 'digits at smoke scale'"
    grouped = [panel.groupby.name for panel in panels(made) if getattr(panel, "groupby", None)]
    assert set(grouped) == {"label"}
    for log in recorded.logs:
        assert log.config["setting"] == "digits at smoke scale" and log.config["label"]


def test_the_panels_of_cifar10_at_cpu_scale() -> None:
    config, tables = composed(["experiment=table1", "scale=cpu"]), ["table1", "table2"]
    made = dashboard.workspace("", config, tables)
    against = [p for p in kinds(made, "LinePlot") if p.x.name == "epsilon"]
    assert [p.y[0] for p in against] == [
        f"robust/{stops}{name}" for stops in ("foolbox1_", "") for name in ("fgsm", "bim", "pgd")
    ]
    assert {p.groupby.name for p in against} == {"label"}
    scatters = kinds(made, "ScatterPlot")
    assert [(p.x.name, p.y.name) for p in scatters] == [
        ("clean_accuracy", f"robust_at/pgd_{epsilon}") for epsilon in (2, 8, 16)
    ]
    assert [p.table_name for p in kinds(made, "WeavePanelSummaryTable")] == tables
    spec = json.loads(made._to_model().spec.model_dump_json(by_alias=True, exclude_none=True))
    sections = spec["section"]["panelBankConfig"]["sections"]
    assert [len(s["panels"]) for s in sections] == [len(s.panels) for s in made.sections]


def test_without_a_key_it_says_what_it_would_create(capsys, monkeypatch, tmp_path) -> None:
    for variable in ("WANDB_IDENTITY_TOKEN_FILE", "WANDB_BASE_URL", "WANDB_ENTITY", "NETRC"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(dashboard, "compared", lambda config: ["table1"])
    dashboard.main(["scale=cpu"])
    printed = capsys.readouterr().out
    assert "Defensive tensorization: cifar10 at cpu scale  (project" in printed
    assert "    LinePlot: epsilon, robust/pgd\n" in printed
    assert "    WeavePanelSummaryTable: table1\n" in printed
    assert printed.endswith("Nothing was sent, there is no W&B key: run `wandb login` or set "
                            "WANDB_API_KEY to create this.\n")  # fmt: skip


def test_bad_input_is_one_line(capsys) -> None:
    with pytest.raises(SystemExit) as caught:
        dashboard.main(["theta=2"])
    assert caught.value.code == 2
    assert capsys.readouterr().err.startswith("error: theta must lie in (0, 1], got 2")


@pytest.mark.slow
def test_tables_are_compared_on_their_own_data() -> None:
    tables = set(dashboard.compared(composed(["experiment=table1", "scale=cpu"])))
    assert {"table1", "table2", "table3", "table4"} <= tables
    assert not {"table5", "quickstart", "figure1"} & tables
    assert "table5" in dashboard.compared(composed(["experiment=table5", "scale=cpu"]))


@pytest.mark.slow
def test_a_server_gets_it_once_and_then_anew(capsys, monkeypatch) -> None:
    import wandb

    wandb.teardown()
    monkeypatch.setattr(dashboard, "compared", lambda config: ["table1"])
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    with serving() as server:
        monkeypatch.setenv("WANDB_BASE_URL", server.url)
        for _ in range(2):
            dashboard.main(["scale=cpu"])
        assert [sent.get("id") for sent in server.of("UpsertView2")] == [None, "V1"]
        (view,) = server.views.values()
        monkeypatch.setattr(server, "on_View", lambda v: {"project": None})
        with pytest.raises(SystemExit):
            dashboard.main(["scale=cpu"])
    wandb.teardown()
    assert view["displayName"] == "Defensive tensorization: cifar10 at cpu scale"
    assert "robust/pgd" in view["spec"]
    printed = capsys.readouterr()
    assert "error: W&B has no project me/defensive-tensorization yet" in printed.err
    assert KEY not in printed.out + printed.err
