"""Interactive shells as the executor offers them: who they are, where they run, when they end."""

import json
import os
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from executor.bench import Bench, JobProcess
from executor.terminal import INTERACTIVE, Shell, connect
from taskward.core import keys
from taskward.core.shell import LARGEST_MESSAGE, PROCESS_DIED, TASK_ENDED, Attach, Ended, Exited, Open, Refused, encode
from taskward.executor.sweep import Sweep

HOLD = [["/bin/bash", "-c", "echo holding; while [ ! -e end ]; do sleep 0.05; done"]]
ARTIFACT = "private/generic-worker/shell.html"


class Holding:
    """A task that runs until it is told to end, and offers shells."""

    def __init__(self, bench: Bench, env: Mapping[str, str] | None = None) -> None:
        self.bench = bench
        self.run = bench.claim(
            {
                "command": HOLD,
                "maxRunTime": 60,
                "features": {"interactive": True},
                "env": {"COLOR": "blue", **(env or {})},
            }
        )
        self.job: JobProcess = bench.start(self.run)
        self.socket = bench.layout.shell_socket(self.run)
        self._shells: list[Shell] = []
        bench.wait_for_line(self.run, "holding")

    @property
    def uid(self) -> int:
        return self.bench.layout.task_directory(self.run).stat().st_uid

    def shell(self, wish: Open | Attach = INTERACTIVE) -> Shell:
        self._shells.append(Shell(self.socket, wish))
        return self._shells[-1]

    def reference(self) -> tuple[str, str]:
        """Name and address of what leads to the shell."""
        record = self.bench.records.read(self.run)
        assert record is not None
        found = next(each for each in record.references if each.name == ARTIFACT)
        return found.content_type, found.url

    def end(self) -> None:
        (self.bench.layout.task_directory(self.run) / "end").touch()

    def leave(self) -> None:
        for shell in self._shells:
            shell.vanish()
        if self.bench.is_alive(self.job.pid):
            self.end()
            self.job.wait()


@pytest.fixture
def shells_dir(bench: Bench) -> None:
    bench.layout.shells.mkdir(parents=True, mode=0o750)


@pytest.fixture
def holding(bench: Bench, shells_dir: None) -> Iterator[Holding]:
    task = Holding(bench)
    yield task
    task.leave()


def gone(pid: int) -> bool:
    return not Bench.is_alive(pid)


def pid_of(shell: Shell) -> int:
    """The shell's own number, as it tells."""
    shell.type("echo p''id=$$ e''nd\r")
    said = shell.read_until(" end\r\n")
    return int(said.split("pid=")[-1].split(" ")[0])


def test_a_shell_is_the_tasks_own_user_in_its_directory_with_its_variables(holding: Holding) -> None:
    shell = holding.shell()
    shell.type("echo $USER@$PWD $COLOR $TERM $TASK_ID; id -u; echo fin''ished\r")

    said = shell.read_until("finished")
    assert f"@{holding.bench.layout.task_directory(holding.run)} blue xterm-256color {holding.run.task_id}" in said
    assert f"\r\n{holding.uid}\r\n" in said


@pytest.mark.root
def test_a_shell_is_in_the_tasks_control_group(holding: Holding) -> None:
    shell = holding.shell()
    shell.type("cat /proc/self/cgroup; echo fin''ished\r")

    assert holding.run.directory in shell.read_until("finished")


def test_the_terminal_is_the_shells_own_and_nobody_elses(holding: Holding) -> None:
    shell = holding.shell()
    shell.type("stat -c 'owner %u mode %a' $(tty); echo spoken > /dev/tty; stty size; echo fin''ished\r")

    said = shell.read_until("finished")
    assert f"owner {holding.uid} mode 600" in said
    assert "\r\nspoken\r\n" in said
    assert "\r\n24 80\r\n" in said
    assert "no job control" not in said
    assert "Inappropriate ioctl" not in said


def test_what_is_typed_is_echoed_once_and_printed_once(holding: Holding) -> None:
    shell = holding.shell()
    shell.read_until("$ ")
    shell.type("echo sentinel\r")
    shell.type("echo fin''ished\r")

    assert shell.read_until("finished").count("sentinel") == 2


def test_the_exit_code_is_told(holding: Holding) -> None:
    shell = holding.shell()
    shell.type("exit 7\r")
    assert shell.told() == Exited(7)


def test_a_signal_is_told_as_shells_do(holding: Holding) -> None:
    shell = holding.shell()
    shell.type("kill -9 $$\r")
    assert shell.told() == Exited(137)


def test_a_shell_that_is_not_wanted_any_more_is_hung_up(holding: Holding) -> None:
    shell = holding.shell()
    pid = pid_of(shell)
    shell.end()
    Bench.wait_until(lambda: gone(pid))


def test_a_shell_that_ignores_hanging_up_is_killed(holding: Holding) -> None:
    shell = holding.shell()
    shell.type("trap '' HUP TERM\r")
    pid = pid_of(shell)
    shell.end()
    Bench.wait_until(lambda: gone(pid))


def test_a_shell_outlives_a_gateway_that_was_killed(holding: Holding) -> None:
    shell = holding.shell()
    shell.type("kept=here\r")
    pid = pid_of(shell)
    session = shell.session
    shell.vanish()

    again = holding.shell(Attach(session))
    again.type("echo still $kept\r")
    assert "still here" in again.read_until("still here")
    assert pid_of(again) == pid


def test_a_shell_that_ended_while_nobody_listened_still_tells_its_exit_code(holding: Holding) -> None:
    shell = holding.shell()
    session, pid = shell.session, pid_of(shell)
    shell.type("sleep 0.2; echo last words; exit 5\r")
    shell.vanish()
    Bench.wait_until(lambda: gone(pid))

    again = holding.shell(Attach(session))
    assert "last words" in again.read_until("last words")
    assert again.told() == Exited(5)


def test_a_shell_waits_only_as_long_as_it_was_told(holding: Holding) -> None:
    shell = holding.shell(Open((), terminal=True, resume_s=0.2))
    session, pid = shell.session, pid_of(shell)
    shell.vanish()

    Bench.wait_until(lambda: gone(pid))
    assert isinstance(holding.shell(Attach(session)).answer, Refused)


def test_a_program_can_have_pipes_instead_of_a_terminal(holding: Holding) -> None:
    shell = holding.shell(Open(("sh", "-c", "cat; echo oops > /dev/stderr; exit 4"), terminal=False, resume_s=0))
    stdin, stdout, stderr = shell.descriptors
    os.write(stdin, b"through")
    os.close(stdin)
    shell.descriptors.remove(stdin)

    assert shell.told() == Exited(4)
    assert (os.read(stdout, 100), os.read(stderr, 100)) == (b"through", b"oops\n")


def test_without_bash_there_is_sh(bench: Bench, shells_dir: None, state_dir: Path) -> None:
    programs = state_dir / "programs"
    programs.mkdir(mode=0o755)
    for name in ("sh", "sleep"):
        (programs / name).symlink_to(f"/bin/{name}")
    task = Holding(bench, {"PATH": str(programs)})
    try:
        shell = task.shell()
        shell.type("echo $0 $((40 + 2))\r")
        assert "sh 42" in shell.read_until("sh 42")
    finally:
        task.leave()


def test_a_program_that_does_not_exist_is_refused(holding: Holding) -> None:
    answer = holding.shell(Open(("no-such-program",), terminal=True, resume_s=0)).answer
    assert isinstance(answer, Refused)
    assert "no-such-program" in answer.reason


def test_ten_shells_are_the_most(holding: Holding) -> None:
    shells = [holding.shell() for _ in range(10)]
    assert all(shell.session for shell in shells)

    answer = holding.shell().answer
    assert isinstance(answer, Refused)
    assert answer.busy

    shells[0].type("exit\r")
    assert shells[0].told() == Exited(0)
    assert holding.shell().session


def test_shells_end_with_the_task_and_are_told(holding: Holding) -> None:
    shell = holding.shell()
    shell.type("sleep 1000 & disown\r")
    pid_of(shell)
    uid = holding.uid
    holding.end()

    assert shell.told() == Ended(TASK_ENDED)
    assert holding.job.wait() == 0
    assert holding.bench.result(holding.run).outcome.succeeded
    assert not holding.bench.processes_of(uid) or uid == os.getuid()
    assert not holding.socket.exists()


def test_shells_die_with_the_job_process(holding: Holding) -> None:
    shell = holding.shell()
    pid = pid_of(shell)
    holding.job.kill()

    assert shell.told() in (Ended(PROCESS_DIED), None)
    Bench.wait_until(lambda: gone(pid))
    holding.bench.start(holding.run).wait()
    assert holding.bench.result(holding.run).outcome.reason == "worker-shutdown"
    assert not holding.socket.exists()


def test_the_secret_opens_the_run_until_the_task_ends(holding: Holding) -> None:
    content_type, url = holding.reference()
    parts = urlsplit(url)
    secret = parts.path.split("/")[2]

    assert content_type == "text/html; charset=utf-8"
    assert (parts.netloc, parts.path) == ("127.0.0.1:60023", f"/shell/{secret}/")
    assert parse_qs(parts.query) == {"v": ["2"], "taskId": [holding.run.task_id], "runId": ["0"]}
    assert len(secret) == 43
    entry = json.loads(holding.bench.redis.get(keys.shell(secret)) or b"")
    assert entry == {"taskId": holding.run.task_id, "runId": 0}
    assert 60 < holding.bench.redis.ttl(keys.shell(secret)) <= 960
    assert secret not in str(holding.bench.redis.keys("*"))

    holding.end()
    holding.job.wait()
    assert not holding.bench.redis.exists(keys.shell(secret))
    assert secret not in holding.bench.result(holding.run).log


def test_another_user_interface_gets_the_address_in_the_originals_form(bench: Bench, shells_dir: None) -> None:
    bench.configure("gateway", shell_url="https://tc.example.com/shell/", public_url="https://worker.example.com")
    task = Holding(bench)
    try:
        url = urlsplit(task.reference()[1])
        query = parse_qs(url.query)
        assert f"{url.scheme}://{url.netloc}{url.path}" == "https://tc.example.com/shell/"
        assert (query["v"], query["taskId"], query["runId"]) == (["2"], [task.run.task_id], ["0"])
        assert query["socketUrl"][0].startswith("wss://worker.example.com/shell/")
    finally:
        task.leave()


def test_a_worker_may_have_no_shells(bench: Bench) -> None:
    bench.configure("executor", enable_interactive=False)
    result = bench.run([["true"]], features={"interactive": True})

    assert result.outcome.reason == "malformed-payload"
    assert "This task requires feature interactive, which is not enabled on this worker" in result.log


def test_no_payload_artifact_takes_the_pages_name(bench: Bench, shells_dir: None) -> None:
    artifact = {"type": "file", "path": "x", "name": ARTIFACT}
    result = bench.run([["touch", "x"]], features={"interactive": True}, artifacts=[artifact])
    assert "will be uploaded later by Interactive" in result.log


def test_sockets_of_runs_that_are_over_are_swept(bench: Bench, shells_dir: None) -> None:
    left = bench.layout.shells / "AAAAAAAAQAaAAAAAAAAAAA-0.sock"
    left.touch()
    Sweep(bench.settings, bench.records).run()
    assert not left.exists()


@pytest.mark.root
def test_the_tasks_own_user_cannot_ask_for_a_shell(holding: Holding) -> None:
    shell = holding.shell()
    probe = (
        "import socket; s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)\\n"
        f"try: s.connect('{holding.socket}')\\n"
        "except OSError as error: print('refu' + 'sed', type(error).__name__)"
    )
    shell.type(f'printf "%b" "{probe}" | python3\r')
    assert "refused PermissionError" in shell.read_until("refused P")


@pytest.mark.root
def test_a_stranger_is_turned_away_even_where_the_socket_is_open_to_all(holding: Holding) -> None:
    for path, mode in ((holding.socket.parent, 0o755), (holding.socket, 0o666)):
        path.chmod(mode)
    holding.socket.parent.parent.chmod(0o755)
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.setgroups([])
            os.setresgid(65534, 65534, 65534)
            os.setresuid(65534, 65534, 65534)
            connection = connect(holding.socket)
            connection.send(encode(INTERACTIVE))
            os.write(writing, connection.recv(LARGEST_MESSAGE) or b"nothing")
        except OSError as error:
            os.write(writing, type(error).__name__.encode())
        finally:
            os._exit(0)
    os.waitpid(pid, 0)
    os.close(writing)
    with os.fdopen(reading, "rb") as answer:
        assert answer.read() in (b"nothing", b"BrokenPipeError", b"ConnectionResetError")


@pytest.mark.parametrize(
    "junk",
    [
        b"\x00", b"{}", b"[]", b"null", b'{"type": "Open"}', b'{"type": "__init__"}', b"[" * 15000, b"x" * 60000,
        b'{"type": "Open", "argv": "sh", "terminal": true, "resume_s": 1}',
        b'{"type": "Open", "argv": [], "terminal": true, "resume_s": "1"}',
        b'{"type": "Open", "argv": [], "terminal": true, "resume_s": 1, "uid": 0}',
        b'{"type": "Exited", "exit_code": 0}', b'{"type": "End"}', b'{"type": "Attach", "session": "../x"}',
    ],
    ids=lambda junk: junk[:40].decode(errors="replace"),
)  # fmt: skip
def test_junk_from_the_gateway_costs_only_its_own_connection(holding: Holding, junk: bytes) -> None:
    with connect(holding.socket) as connection:
        connection.send(junk)
        answer = connection.recv(LARGEST_MESSAGE)
        assert answer == b"" or b"Refused" in answer
    assert holding.shell().session


def test_a_connection_is_one_shell(holding: Holding) -> None:
    shell = holding.shell()
    shell.connection.send(encode(INTERACTIVE))
    assert shell.told() is None


def test_silent_connections_do_not_keep_others_out_for_ever(holding: Holding) -> None:
    silent = [connect(holding.socket) for _ in range(60)]
    for connection in silent:
        connection.close()
    time.sleep(0.1)
    assert holding.shell().session


def test_a_job_that_is_told_to_stop_ends_its_shells(holding: Holding) -> None:
    shell = holding.shell()
    pid_of(shell)
    holding.job.terminate()
    assert shell.told() == Ended(TASK_ENDED)
    holding.job.wait()
    assert holding.bench.result(holding.run).outcome.reason == "worker-shutdown"
