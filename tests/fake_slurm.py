"""Slurm's commands, as far as submitit calls them: sbatch keeps the script and runs its tasks.

FAKE_SLURM is the folder where scripts and process numbers go; with FAKE_SLURM_HOLDS sbatch refuses.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

FOLDER = Path(os.environ["FAKE_SLURM"])


def sbatch(file: str) -> None:
    number = str(1000 * (1 + len(list(FOLDER.glob("*.sbatch")))))
    script = FOLDER / f"{number}.sbatch"
    script.write_text(Path(file).read_text())
    if "FAKE_SLURM_HOLDS" in os.environ:
        sys.exit("held by fake_slurm.py")
    array = re.search(r"--array=0-(\d+)", script.read_text())
    for task in range(int(array[1]) + 1) if array else [None]:
        begin(number, task)
    print(f"Submitted batch job {number}")


def begin(number: str, task: int | None) -> None:
    """One job, or one task of an array, in the background."""
    job = {"SLURM_JOB_ID": number}
    if task is not None:
        job |= {"SLURM_ARRAY_JOB_ID": number, "SLURM_ARRAY_TASK_ID": str(task)}
    subprocess.Popen(
        ["bash", str(FOLDER / f"{number}.sbatch")],
        env={**os.environ, **job},
        start_new_session=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def srun(*words: str) -> None:
    """Its output goes where sbatch's --output says; the process is srun's own."""
    at = words.index("-u") - 1
    names = {"%A": "SLURM_ARRAY_JOB_ID", "%a": "SLURM_ARRAY_TASK_ID", "%j": "SLURM_JOB_ID"}
    output = words[words.index("--output") + 1].replace("%t", "0")
    for short, name in names.items():
        output = output.replace(short, os.environ.get(name, ""))
    Path(output).parent.mkdir(parents=True, exist_ok=True)
    log = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(log, 1)
    os.dup2(log, 2)
    task = os.environ.get("SLURM_ARRAY_TASK_ID", "")
    (FOLDER / f"{os.environ['SLURM_JOB_ID']}_{task}.pid").write_text(str(os.getpid()))
    os.execv(words[at], words[at:])


def scontrol(what: str, job: str) -> None:
    assert what == "requeue"
    number, _, task = job.partition("_")
    with (FOLDER / "requeued").open("a") as file:
        file.write(f"{job}\n")
    begin(number, int(task) if task else None)


def sacct(*words: str) -> None:
    print("JobID|State|NodeList")


if __name__ == "__main__":
    {"sbatch": sbatch, "srun": srun, "scontrol": scontrol, "sacct": sacct}[sys.argv[1]](
        *sys.argv[2:]
    )
