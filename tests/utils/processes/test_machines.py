"""Test ranks of several machines, simulated on this one: the end of one ends all, and each names the lost rank.

They start as under Paddle's launcher: our own launcher would end the other ranks of its machine.
"""

import os
import re
import signal
import socket
import uuid
from collections.abc import Sequence
from pathlib import Path

import pytest

from conftest import ROOT, free_port, processes, says, start_python, wait_until
from fork_server import fork_server

# Rank 2 executes the first argument, the other ranks execute the second one. The time limits are short.
PROGRAM = f"""
import ctypes, os, signal, socket, struct, sys, time
sys.path.insert(0, {str(ROOT)!r})
from utils.cli import run
from utils.errors import InputError, RunError
from utils.processes import channel, ranks, watch
from utils.processes.device import import_paddle
from utils.processes.launch import start_ranks

channel.KEEPALIVE.update(dict.fromkeys(channel.KEEPALIVE, 1))
watch.GRACE = float(os.environ["TEST_GRACE"])
rank = int(os.environ["PADDLE_TRAINER_ID"])
paddle = import_paddle()

def cut(world):
    # From now on the system drops all data that arrives for this rank, as after the loss of a network.
    program = struct.pack("HBBI", 6, 0, 0, 0)
    filter = struct.pack("HP", 1, ctypes.addressof(buffer := ctypes.create_string_buffer(program)))
    for connection in world.channel._watched + world.channel._others:
        socket.socket(fileno=os.dup(connection.fileno())).setsockopt(socket.SOL_SOCKET, 26, filter)

def hang():
    time.sleep(100)

def main():
    start_ranks(None, use_gpu=False)
    exec(sys.argv[1 if rank == 2 else 2])

run(main)
"""
JOIN = "world = ranks.join_ranks('cpu'); "
HOST = re.escape(socket.gethostname())


def end_of_ranks(
    folder: Path, commands: Sequence[Sequence[str]], **settings: Sequence[str | None]
) -> list[tuple[int, str]]:
    """Return the exit code and the output of each rank. commands, settings: one per rank; None: variable not set."""
    folder.mkdir(exist_ok=True)
    (folder / "program.py").write_text(PROGRAM)
    number = len(commands)
    master, *ends = [f"127.0.0.1:{free_port()}" for _ in range(number + 1)]
    logs, ranks = [folder / f"log{rank}" for rank in range(number)], []
    for rank, command in enumerate(commands):
        environment = {
            **os.environ, "PADDLE_TRAINER_ID": str(rank), "PADDLE_TRAINERS_NUM": str(number), "PADDLE_MASTER": master,
            "PADDLE_TRAINER_ENDPOINTS": ",".join(ends), "PADDLE_CURRENT_ENDPOINT": ends[rank],
            **{name: values[rank] for name, values in settings.items() if values[rank] is not None},
        }  # fmt: skip
        ranks.append(fork_server("train").start(command, environment, logs[rank]))
    try:
        codes = [rank.wait(60) for rank in ranks]
    finally:
        for rank in ranks:
            rank.kill()
    return list(zip(codes, (log.read_text() for log in logs)))


def end_of_three(folder: Path, rank2: str, others: str, grace: str = "0.2") -> list[tuple[int, str]]:
    """Return the exit codes and outputs of PROGRAM in three ranks."""
    return end_of_ranks(folder, [[str(folder / "program.py"), rank2, others]] * 3, TEST_GRACE=[grace] * 3)


GONE = "another process has ended: rank 2 on "


@pytest.mark.parametrize("others", ["hang()", "world.all_gather(None)"])
@pytest.mark.parametrize("end, code, words, said", [
    ("os.kill(os.getpid(), signal.SIGKILL)", -9, "", ""),
    ("raise InputError('no such list')", 2, ": no such list", "error: no such list\n"),
    ("os.kill(os.getpid(), signal.SIGTERM); time.sleep(9)", 143, ": terminated", "terminated\n"),
    ("1 / 0", 1, r": ZeroDivisionError\('division by zero'\)", "(?s)Traceback.*ZeroDivisionError: division by zero\n"),
    ("cut(world); watch.GRACE = 0.2; hang()", 1, "", f"error: another process has ended: rank 0 on {HOST}\n"),
])  # fmt: skip
def test_the_end_of_a_rank_ends_those_of_all_machines(tmp_path, end, code, words, said, others):
    grace = "0.2" if others == "hang()" else "30"  # ranks that notice it end by themselves
    *survivors, (its_code, its_words) = end_of_three(tmp_path, JOIN + end, JOIN + others, grace)
    assert its_code == code and re.fullmatch(said, its_words), its_words
    for code, said in survivors:
        assert code == 1 and re.fullmatch(f"error: {GONE}{HOST}{words}\n", said), said


# gloo, where it has lost the other ranks while they connect.
BROKEN = """
def broken(): raise RuntimeError("[/third_party/gloo/pair.cc:584]\\nTIMEOUT")
paddle.distributed.init_parallel_env = broken
ranks.join_ranks("cpu")
"""


def test_a_rank_that_ends_while_they_connect_is_named(tmp_path):
    dies = "paddle.distributed.init_parallel_env = lambda: os._exit(3); " + JOIN
    *survivors, _ = end_of_three(tmp_path / "lost", dies, BROKEN, "30")
    for code, said in survivors:
        assert code == 1 and re.fullmatch(f"error: {GONE}{HOST}\n", said), said
    ends = end_of_three(tmp_path / "broken", BROKEN, BROKEN)
    assert (1, "error: the processes cannot be connected: TIMEOUT\n") in ends, ends


def test_a_rank_that_is_done_ends_no_other(tmp_path):
    """Also, a rank that notices another's end by itself has time to clean up."""
    done = end_of_three(tmp_path / "done", JOIN, JOIN + "time.sleep(1)")
    assert done == [(0, "")] * 3
    unwinds = "\ntry: world.all_gather(None)\nfinally: time.sleep(1); print('unwound')"
    *survivors, _ = end_of_three(tmp_path / "lost", JOIN + "os._exit(3)", JOIN + unwinds, "30")
    for code, said in survivors:
        assert code == 1 and re.fullmatch(f"unwound\nerror: {GONE}{HOST}\n", said), said


@pytest.mark.parametrize("device, pieces", [
    ("'gpu'", ["on a gpu", "rank 0 on ", "on a cpu", "give each a GPU", "--use_gpu=False for all"]),
    ("'cpu'\nwith ranks.problems_shared(): raise InputError('no GPU is visible')", ["no GPU is visible"]),
])  # fmt: skip
def test_where_one_machine_has_no_gpu_all_say_so_at_once(tmp_path, device, pieces):
    ends = end_of_three(tmp_path, f"device = {device}; ranks.join_ranks(device)", JOIN)
    assert ends == ends[:1] * 3 and ends[0][0] == 2
    says(ends[0][1], f"error: rank 2 on {socket.gethostname()}", *pieces)


@pytest.mark.parametrize("script", ["train", "eval"])
def test_a_rank_that_does_not_see_its_gpu_is_an_error_of_all(workspace, tmp_path, script):
    """Run scripts, of which a launcher has started rank 1 for a GPU."""
    flags = [f"--save_dir={tmp_path / 'run'}", "--pretrain=none"] if script == "train" else [workspace.weights]
    command = [str(ROOT / f"{script}.py"), workspace.config, *flags]
    ends = end_of_ranks(tmp_path / "ranks", [command] * 2, FLAGS_selected_gpus=[None, "0"], PADDLE_LOCAL_RANK=["0"] * 2)
    for code, said in ends:
        line = said.splitlines()[-1]
        assert code == 2 and said.count("error: ") == 1, said
        assert re.match(
            f"error: rank 1 on {HOST}: a launcher has started this process for a GPU .*: pip uninstall", line
        )


# Stands for NCCL, which is told to connect the GPUs and never returns.
DEAF = """
ranks.FIRST_SUM = 0.5
paddle.distributed.init_parallel_env = lambda: None
paddle.distributed.all_reduce = lambda tensor: time.sleep(100)
ranks.join_ranks("gpu")
"""


def test_the_first_sum_over_gpus_has_a_time_limit(tmp_path):
    for code, said in end_of_three(tmp_path, DEAF, DEAF):
        assert code == 1 and "error: " in said and said.count("\n") == 1, said
        assert "NCCL_P2P_DISABLE=1" in said and "NCCL_SOCKET_IFNAME" in said and "after 0.5 s" in said


# Rank r has a gradient of r + 1, rank 2 has none. Each weight is a piece, sent while backward continues.
PIECES = """
from utils.processes.gradients import GradientSum
weights = [paddle.create_parameter([4], "float32") for _ in range(3)]
total = GradientSum(weights, world, piece=16)
if rank < 2:
    total.begin()
    sum((weight * (rank + 1) * 10**number).sum() for number, weight in enumerate(weights)).backward()
total.finish()
assert [weight.grad.tolist() for weight in weights] == [[3] * 4, [30] * 4, [300] * 4]
"""


def test_gradients_are_summed_in_pieces(tmp_path):
    assert end_of_three(tmp_path, f"{JOIN}\n{PIECES}", f"{JOIN}\n{PIECES}") == [(0, "")] * 3


def test_a_killed_launcher_ends_the_ranks_of_all_machines(tmp_path):
    """Use two of Paddle's launchers, which write their ranks' output to logs."""
    (tmp_path / "program.py").write_text(PROGRAM)
    environment = {**os.environ, "TEST_GRACE": "0.2", "TSN_TEST_MARK": (mark := uuid.uuid4().hex)}
    environment.pop("CUDA_VISIBLE_DEVICES", None)  # an empty one ends paddle.distributed.launch
    waits = "assert ranks.linked_ranks() is None; " + JOIN
    waits += f"assert world.all_gather(rank) == [0, 1]; open(f'{tmp_path}/waits{{rank}}', 'w').close(); hang()"
    common = "--nnodes=2", f"--master=127.0.0.1:{free_port()}", "--nproc_per_node=1"
    launchers = [
        start_python(
            ["-m", "paddle.distributed.launch", *common, f"--rank={number}", f"--log_dir={tmp_path / f'logs{number}'}",
             str(tmp_path / "program.py"), waits, waits],
            environment, tmp_path / f"launcher{number}", cwd=tmp_path, kind="train",
        )
        for number in range(2)
    ]  # fmt: skip
    try:
        wait_until(lambda: {"waits0", "waits1"} <= set(os.listdir(tmp_path)), 60)
        launchers[1].kill()
        wait_until(lambda: not processes(mark), 30)
    finally:
        for launcher in launchers:
            launcher.kill()
    assert [launcher.wait() for launcher in launchers] == [1, -signal.SIGKILL]
    said = (tmp_path / "logs0" / "workerlog.0").read_text()
    assert f"error: another process has ended: rank 1 on {socket.gethostname()}\n" in said
