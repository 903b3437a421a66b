"""One at a time; whoever waits says so; a lock dies with its holder."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from defensive_tensorization.system.file_lock import alone

HOLD = """if True:
    import sys, time
    from pathlib import Path
    from defensive_tensorization.system.file_lock import alone
    with alone(Path(sys.argv[1]), "testing"):
        print("held", flush=True)
        time.sleep(60)
"""


def test_the_lock_of_a_killed_process_is_free(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "new" / "run.lock"
    holder = subprocess.Popen([sys.executable, "-c", HOLD, str(path)], stdout=subprocess.PIPE)
    assert holder.stdout and holder.stdout.readline() == b"held\n"
    killer = subprocess.Popen(["sh", "-c", f"sleep 0.3; kill -9 {holder.pid}"])
    started = time.monotonic()
    with caplog.at_level("INFO"), alone(path, "testing", patience=0.1):
        waited = time.monotonic() - started
    assert holder.wait() == -signal.SIGKILL and killer.wait() == 0
    assert 0.2 < waited < 20
    assert caplog.messages == ["another process is testing: waiting for it"]


def test_a_neighbour_who_soon_leaves_is_not_worth_a_line(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "run.lock"
    holder = subprocess.Popen([sys.executable, "-c", HOLD, str(path)], stdout=subprocess.PIPE)
    assert holder.stdout and holder.stdout.readline() == b"held\n"
    killer = subprocess.Popen(["sh", "-c", f"sleep 0.3; kill -9 {holder.pid}"])
    with caplog.at_level("INFO"), alone(path, "testing", patience=20):
        assert holder.wait() == -signal.SIGKILL and killer.wait() == 0
    assert caplog.messages == []


def test_nobody_waits_for_a_lock_that_is_left_behind(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "run.lock"
    for _ in range(2):
        with caplog.at_level("INFO"), alone(path, "testing"):
            assert path.exists()
    assert os.listdir(tmp_path) == ["run.lock"] and caplog.messages == []


def test_an_error_frees_it(tmp_path: Path) -> None:
    path = tmp_path / "run.lock"
    with pytest.raises(KeyError), alone(path, "testing"):
        raise KeyError
    with alone(path, "testing"):
        pass
