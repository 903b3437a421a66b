"""A sweep's jobs by state, what Slurm says of them, and what becomes of them when it is stopped."""

import logging
import pickle
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hydra.core.plugins import Plugins
from hydra.core.utils import JobReturn, JobStatus

from defensive_tensorization import sweeps
from defensive_tensorization.errors import UsageError
from defensive_tensorization.sweeps import slurm, submitted
from defensive_tensorization.sweeps.board import DONE, FAILED, RUNNING, WAITING, Board
from defensive_tensorization.sweeps.submitted import Local, Slurm, Submitted
from defensive_tensorization.system import progress, scheduled, signals
from defensive_tensorization.system.signals import Stopped

BATCHES = [[["seed=0", "a=1", "stage=bases"]], [["seed=0", "a=1"], ["seed=0", "a=2"]]]


@pytest.fixture(autouse=True)
def _log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)


# --- the board ----------------------------------------------------------------------------------


def test_the_board_counts_jobs_by_state_and_names_what_happens(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def line() -> str:
        return progress.line().partition("; ")[2]

    with Board("table1", BATCHES, [1, 2]) as board:
        board.launch(0, BATCHES[0])
        board.names(0, BATCHES[0][0], "0.log")
        assert progress.line() == "table1 0/3 jobs; round 1 of 2, 1 waiting"
        board.now(0, WAITING, "Resources")
        assert line() == "round 1 of 2, 1 waiting (Resources)"
        board.now(0, RUNNING)
        assert line() == "round 1 of 2, 1 running"
        board.now(0, WAITING)
        board.again(0)
        board.now(0, DONE)
        assert progress.line().startswith("table1 1/3 jobs")
        assert line() == "round 1 of 2"
        board.launch(1, BATCHES[1])
        board.names(1, BATCHES[1][0], "1.log")
        board.now(2, FAILED, "the disk is full; log 2.log")
        assert progress.line().startswith("table1 2/3 jobs")
        assert line() == "round 2 of 2, 1 waiting, 1 failed"
    assert caplog.messages == [
        *("round 1 of 2", "#0 a=1 stage=bases  log 0.log"),
        "#0 is queued again, and goes on from what it saved",
        *("round 2 of 2", "#1 a=1  log 1.log", "#2 failed: the disk is full; log 2.log"),
    ]
    assert progress.line() == ""


def test_a_rounds_launches_are_one_round(caplog: pytest.LogCaptureFixture) -> None:
    """submitit_local launches few at a time."""
    with Board("a", [[["x=0"]], [["x=1"]], [["x=2"]]], [1, 1, 2]) as board:
        for number in range(3):
            board.launch(number, [[f"x={number}"]])
    assert caplog.messages == ["round 1 of 2", "round 2 of 2"]


def test_hydra_knows_the_sweeper_and_the_launchers_of_the_configuration() -> None:
    from defensive_tensorization.config import CONFIGS

    sweeps.register()
    files = [*(CONFIGS / "hydra").glob("launch/*.yaml"), CONFIGS / "hydra/sweeper/bases_first.yaml"]
    words = " ".join(file.read_text() for file in files).split()
    named = {words[i + 1] for i, word in enumerate(words) if word == "_target_:"}
    assert len(named) == 4
    assert named <= set(Plugins.instance().class_name_to_class)


# --- Slurm's words ------------------------------------------------------------------------------

PARAMS = {"gpus_per_node": 1, "cpus_per_task": 4, "mem_gb": 32, "partition": None, "nodes": 1}


@pytest.mark.parametrize(
    ("printed", "answer", "remedy"),
    [
        (
            "sbatch: error: Batch job submission failed: Invalid partition name specified",
            "Invalid partition name specified",
            "change hydra.launcher.partition=...",
        ),
        (
            "sbatch: error: Invalid generic resource (gres) specification",
            "Invalid generic resource (gres) specification",
            "change hydra.launcher.gpus_per_node=..., or device=cpu",
        ),
        (  # as a real one prints it; the second line alone would name three settings
            "sbatch: error: Memory specification can not be satisfied\nsbatch: error: Batch job "
            "submission failed: Requested node configuration is not available",
            "Memory specification can not be satisfied; Requested node configuration is not "
            "available",
            "change hydra.launcher.mem_gb=...",
        ),
        ("sbatch: error: something new", "something new", "see hydra.launcher.*"),
        ("what no line calls an error\n\n", "what no line calls an error", "see hydra.launcher.*"),
        ("", "nothing", "see hydra.launcher.*"),
    ],
)
def test_a_refusal_is_one_line(printed: str, answer: str, remedy: str) -> None:
    assert str(slurm.refused(printed, PARAMS)) == (
        f"Slurm refused the jobs (gpus_per_node=1 cpus_per_task=4 mem_gb=32 nodes=1): {answer}: "
        f"{remedy} (sinfo says what is)"
    )


def test_no_device_is_advised_where_no_gpu_was_asked_for() -> None:
    words = str(slurm.refused("error: gres", PARAMS | {"gpus_per_node": None}))
    assert "device=cpu" not in words and "gpus_per_node=..." in words


def test_squeues_lines() -> None:
    printed = (
        "12_0  RUNNING  0 None   \n12_1  PENDING  0  JobArrayTaskLimit\n12_2 COMPLETED 1 None\n"
        "13  CANCELLED  0 None\n14 COMPLETING 2 None\n"
        "15 PENDING 0 Nodes required for job are DOWN\n"
    )
    states, restarts = slurm.read(printed)
    assert restarts == {"12_0": 0, "12_1": 0, "12_2": 1, "13": 0, "14": 2, "15": 0}
    assert states == {
        "12_0": (RUNNING, ""),
        "12_1": (WAITING, "JobArrayTaskLimit"),
        "12_2": ("gone", ""),
        "13": ("gone", "CANCELLED"),
        "14": (RUNNING, ""),
        "15": (WAITING, "Nodes required for job are DOWN"),
    }


def test_what_never_starts_is_told_with_what_was_asked() -> None:
    states = {"3_1": (WAITING, "PartitionConfig"), "3_0": (RUNNING, "")}
    line = slurm.hopeless(states, PARAMS)
    assert line.startswith("Slurm will not start job 3 as it is (PartitionConfig), asked for gpus")
    assert slurm.hopeless({"3": (WAITING, "Resources")}, PARAMS) == ""
    assert slurm.hopeless({"3_1": (WAITING, "launch failed requeued held")}, PARAMS) == (
        "Slurm holds job 3_1 (launch failed requeued held): scontrol release 3_1 lets it start"
    )


def test_squeue_is_asked_seldom_and_its_silence_told_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    now, asked = [0.0], []
    answers = [("12_0 RUNNING 0 None", "", 0), ("", "slurm_load_jobs error: no contact", 1)]

    def run(command: list[str], **_: Any) -> Any:
        asked.append(command)
        out, error, code = answers[0 if len(asked) == 1 else 1]
        return SimpleNamespace(stdout=out, stderr=error, returncode=code)

    monkeypatch.setattr(slurm.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(slurm.subprocess, "run", run)
    queue = slurm.Queue(["12_0", "12_1", "9"])
    for _ in range(3):
        assert queue.states() == {"12_0": (RUNNING, "")}
    assert len(asked) == 1 and "12,9" in asked[0]
    for now[0] in (3.0, 6.0, 9.0):
        assert queue.states() == {"12_0": (RUNNING, "")}  # what is known stays
    assert len(asked) == 4
    assert caplog.messages == [
        "squeue does not answer, asked again: slurm_load_jobs error: no contact"
    ]
    now[0] = 3600.0
    queue.states()
    now[0] = 3629.0
    queue.states()
    assert len(asked) == 5  # each half a minute of a long sweep


def test_jobs_that_slurm_forgot_have_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    gone = SimpleNamespace(
        stdout="", stderr="slurm_load_jobs error: Invalid job id specified", returncode=1
    )
    monkeypatch.setattr(slurm.subprocess, "run", lambda *_, **__: gone)
    assert slurm.Queue(["12"]).states() == {}


def test_without_slurm_it_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(UsageError, match="needs Slurm, but sbatch, srun, squeue cannot be found"):
        slurm.needed()


# --- waiting for submitit's jobs ----------------------------------------------------------------


class Job:
    """What submitit's job is to us."""

    def __init__(self, folder: Path, number: str, result: Any = None) -> None:
        self.job_id, self._result = number, result
        self.paths = SimpleNamespace(
            folder=folder, stdout=folder / f"{number}.out", result_pickle=folder / f"{number}.pkl"
        )

    def ends(self) -> None:
        self.paths.result_pickle.touch()

    def results(self) -> list[Any]:
        if isinstance(self._result, Exception):
            raise self._result
        return [self._result]


def outcome(error: Exception | None = None) -> JobReturn:
    status = JobStatus.FAILED if error else JobStatus.COMPLETED
    return JobReturn(overrides=[], status=status, _return_value=error)


class Launched(Submitted):
    """A launcher whose scheduler is a list of answers, one a second."""

    def __init__(self, jobs: list[Job], answers: list[Any]) -> None:
        super().__init__()
        self.jobs, self.answers = jobs, answers

    def _executor(self) -> None:
        return None

    def submit(self, executor: Any, calls: Any) -> list[Any]:
        return self.jobs

    def states(self, jobs: Any) -> Any:
        answer = self.answers.pop(0)
        return answer() if callable(answer) else answer

    def leave(self, jobs: Any) -> str:
        return f"{len(jobs)} jobs are left"


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]

    def sleep(seconds: float) -> None:
        now[0] += seconds

    fake = SimpleNamespace(sleep=sleep, monotonic=lambda: now[0])
    monkeypatch.setattr(submitted, "time", fake)


def launched(launcher: Launched) -> list[JobReturn]:
    words = [[f"x={n}"] for n in range(len(launcher.jobs))]
    with Board("a", [words], [1]) as board:
        launcher.board = board
        return list(launcher.launch(words, 0))


@pytest.mark.usefixtures("clock")
def test_every_job_is_waited_for_and_each_that_failed_is_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    from submitit.core.utils import FailedJobError

    monkeypatch.chdir(tmp_path)
    trace = 'Traceback:\n  File "x"\nZeroDivisionError: by zero\n-----\nlogs: here\n'
    good, bad = Job(tmp_path, "1_0", outcome()), Job(tmp_path, "1_1", outcome(UsageError("no lr")))
    lost, died = Job(tmp_path, "1_2"), Job(tmp_path, "1_3", FailedJobError(trace))
    bad.ends()
    died.ends()
    states = {"1_0": (RUNNING, ""), "1_1": ("gone", ""), "1_2": ("gone", "CANCELLED")}
    states |= {"1_3": ("gone", "FAILED")}

    def last() -> Any:
        good.ends()
        return states

    found = launched(Launched([good, bad, lost, died], [*[states] * 20, last]))
    assert [each.status is JobStatus.COMPLETED for each in found] == [True, False, False, False]
    said = [line for line in caplog.messages if "failed" in line]
    assert said == [
        "#1 failed: no lr; log 1_1.out",
        "#3 failed: job 1_3 died: ZeroDivisionError: by zero; log 1_3.out",
        "#2 failed: job 1_2 ended without a result (CANCELLED): read 1_2.out",
    ]
    with pytest.raises(UsageError, match=r"job 1_2 ended without a result \(CANCELLED\)"):
        _ = found[2].return_value


@pytest.mark.usefixtures("clock")
def test_a_job_that_is_queued_again_is_not_lost(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """On its way from one run to the next it may have no state, for a while."""
    job = Job(tmp_path, "7", outcome())
    running, gone, waiting = {"7": (RUNNING, "")}, {"7": ("gone", "FAILED")}, {"7": (WAITING, "")}

    def last() -> Any:
        job.ends()
        return running

    class Restarted(Launched):
        def restarts(self, job: Any) -> int:
            return len(self.answers) < 50

    answers = [running, *[gone] * 10, *[waiting] * 100, *[running] * 5, *[gone] * 10, last]
    (found,) = launched(Restarted([job], answers))
    assert found.status is JobStatus.COMPLETED
    assert caplog.messages.count("#0 is queued again, and goes on from what it saved") == 1


@pytest.mark.usefixtures("clock")
def test_the_launching_process_is_stopped(tmp_path: Path) -> None:
    def stop() -> None:
        raise Stopped(signal.SIGINT)

    jobs = [Job(tmp_path, "1", outcome()), Job(tmp_path, "2")]
    jobs[0].ends()
    states = {"1": (RUNNING, ""), "2": (RUNNING, "")}
    with pytest.raises(Stopped) as caught:
        launched(Launched(jobs, [states, stop]))
    assert str(caught.value) == (
        "stopped by Ctrl-C: 1 jobs are left; the same command goes on from there"
    )


def test_what_becomes_of_the_jobs_is_said(tmp_path: Path) -> None:
    ids = ("12_0", "12_1", "9")
    assert Slurm().leave([Job(tmp_path, number) for number in ids]) == (
        "3 jobs are left to Slurm, which runs them on (scancel 12 9 ends them)"
    )
    process = subprocess.Popen(["sleep", "60"])
    job: Any = SimpleNamespace(job_id=str(process.pid))
    job.get_info = lambda: {"jobState": "FINISHED" if process.poll() is not None else "RUNNING"}
    assert Local().leave([job]) == "1 jobs here were told to save and end"
    assert process.wait(5) == -signal.SIGTERM


def test_what_shows_the_sweep_does_not_go_along_with_a_job() -> None:
    launcher = Slurm(partition="gpu")
    launcher.board = Board("a", [[["x=0"]]], [1])
    launcher._queue = slurm.Queue(["1"])
    copied = pickle.loads(pickle.dumps(launcher))
    assert copied.params == {"partition": "gpu"}
    assert not hasattr(copied, "board") and not hasattr(copied, "_queue")


def test_a_pools_job_prints_into_its_log(tmp_path: Path) -> None:
    """Its libraries and what it starts do too, which know the descriptors alone."""
    code = f"""if True:
        import subprocess
        from pathlib import Path
        from defensive_tensorization.sweeps.pool import _output_to
        print("before", flush=True)
        with _output_to(Path({str(tmp_path / "0.log")!r}), here=False):
            print("own", flush=True)
            subprocess.run(["sh", "-c", "echo out; echo err >&2"], check=True)
        print("after", flush=True)
        with _output_to(Path("nowhere"), here=True):
            print("here", flush=True)
    """
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("before\nafter\nhere\n", "")
    assert (tmp_path / "0.log").read_text() == "own\nout\nerr\n"


# --- a run as a job -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("number", "shown", "end"),
    [
        (signal.SIGTERM, "Restarts=1", "the same command goes on from there"),
        (signal.SIGTERM, "no such job", "the same command goes on from there"),
        (signal.SIGTERM, "Restarts=2", "Slurm queues the job again, it goes on there"),
        (signal.SIGUSR2, "Restarts=1", "Slurm queues the job again, it goes on there"),
    ],
)
def test_a_stopped_job_says_who_goes_on(
    number: signal.Signals, shown: str, end: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """When Slurm ends a job to start it anew, it has counted that restart already."""
    (tmp_path / "scontrol").write_text(f"#!/bin/sh\necho ' Requeue=1 {shown} BatchFlag=1'\n")
    (tmp_path / "scontrol").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    monkeypatch.setenv("SLURM_JOB_ID", "12")
    monkeypatch.setenv("SLURM_RESTART_COUNT", "1")
    line = scheduled.told(Stopped(number, "a is saved"))
    assert line == f"stopped by {number.name}: a is saved; {end}"


def test_outside_slurm_nothing_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    stop = Stopped(signal.SIGTERM, "a is saved")
    assert scheduled.told(stop) == str(stop)
    assert not scheduled.by_slurm() and scheduled.signals() == () and scheduled.restarts() == 0


def test_a_job_says_that_it_was_queued_again(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    scheduled.tell()
    monkeypatch.setenv("SLURM_RESTART_COUNT", "2")
    scheduled.tell()
    assert caplog.messages == ["queued again by Slurm, 2 times: what was saved is not made anew"]


def test_submitits_signals_wait_for_the_batch_and_are_handed_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Slurm sends SIGTERM to the job and to srun, which passes it on: the second does nothing."""
    monkeypatch.setenv("SUBMITIT_EXECUTOR", "slurm")
    also = scheduled.signals()
    assert also == (signal.SIGTERM, signal.SIGUSR2)
    theirs: list[int] = []
    before = {each: signal.signal(each, lambda n, _: theirs.append(n)) for each in also}
    done = []
    try:
        listening = signals.listening(also, patient=True)
        with pytest.raises(Stopped) as caught, listening, signals.at_batches():
            for batch in range(5):
                if batch == 1:
                    signal.raise_signal(signal.SIGUSR2)
                    signal.raise_signal(signal.SIGTERM)
                    signal.raise_signal(signal.SIGUSR2)
                done.append(batch)
                signals.stop("saved")
        assert done == [0, 1] and caught.value.by is signal.SIGUSR2 and theirs == []
        signal.raise_signal(caught.value.by)
        assert theirs == [signal.SIGUSR2]
    finally:
        for each, old in before.items():
            signal.signal(each, old)
