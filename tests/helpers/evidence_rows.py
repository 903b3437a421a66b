"""Made-up rows of one network with its four columns of evidence, and their table."""

from defensive_tensorization.report.tables import Averaged, Rendered, Table, render
from defensive_tensorization.results.row import Row
from defensive_tensorization.results.scores import Interval
from helpers.fake_rows import COLUMNS, row

OURS = COLUMNS[1]
LINES = (("clean", 0.0), ("foolbox1_pgd", 8.0), ("pgd", 8.0))
TABLE = Table("table1", "Table 1: ours", (OURS,), LINES)
PUBLISHED = {("clean", 0.0, "ours_0.95"): 94.5, ("pgd", 8.0, "ours_0.95"): 27.0}


def seeds(attack: str, epsilon: float, *accuracies: float, outcomes: str = "") -> list[Row]:
    return [
        row(
            recipe=OURS.recipe,
            attack=attack,
            epsilon=epsilon,
            protocol=f"{attack}-{epsilon:g}",
            eval_seed=seed,
            n=100,
            robust_accuracy=accuracy,
            outcomes=outcomes,
        )
        for seed, accuracy in enumerate(accuracies)
    ]


def rendered(refused: str = "") -> Rendered:
    rows = [
        *seeds("clean", 0, 0.8, 0.82),
        *seeds("foolbox1_pgd", 8, 0.30, 0.34, outcomes="unperturbed=20:5 found=80:25"),
        *seeds("pgd", 8, 0.0, 0.02),
    ]
    score = Averaged(Interval(0.005, 0.0, 0.02), 200, "eot_pgd", refused)
    return render(TABLE, rows, PUBLISHED, averaged={(OURS.label, 8.0): score})
