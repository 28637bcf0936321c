"""The service's end of one worker process: starts it, asks it, and finds out why it ended.

It never restarts one. A worker process gets nothing of our environment but what Python itself needs.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

from pydantic_core import from_json, to_json

import adapter
from adapter.errors import RenderError
from adapter.mapping.render import protocol
from adapter.mapping.render.engine import CannotCompile
from adapter.mapping.render.request import FailureReason, Reason, RenderRequest, RenderResult
from adapter.mapping.render.worker import InProgress, ProgressMark
from adapter.mapping.rules.model import RuleSet
from adapter.memory import own_limit

LOAD_SECONDS: Final = 30.0  # to start and compile; hundreds of rules take a few
WALL: Final = 10  # deadlines, by the wall clock: for a worker that is starved or stopped rather than busy

_PACKAGES: Final = Path(adapter.__file__).resolve().parent.parent
_ENVIRONMENT: Final = ("LD_LIBRARY_PATH", "PYTHONHOME", "PYTHONTZPATH")
_OPTIONS: Final = ("-P", "-s", "-B", "-X", "utf8", "-m")
WORKER: Final = "adapter.mapping.render.worker"


class Limits(NamedTuple):
    """What a worker process may take."""

    deadline: float  # CPU seconds a template may take
    memory: int  # bytes of address space


class WorkerDied(RenderError):
    """The worker process ended, or was ended, before it answered."""

    def __init__(self, reason: Reason, in_progress: InProgress, message: str, *, sure: bool) -> None:
        """`sure`: what was in progress is to blame. Else something outside may have ended the process."""
        self.reason = reason
        self.in_progress = in_progress
        self.sure = sure
        super().__init__(message)


class WorkerProcess:
    """One running worker process. One question at a time; after WorkerDied it answers no more."""

    def __init__(self, process: asyncio.subprocess.Process, mark: ProgressMark, errors: Any, limits: Limits) -> None:
        self._process = process
        self._mark = mark
        self._errors = errors
        self._limits = limits

    @classmethod
    async def start(cls, rules: RuleSet, quarantined: Mapping[int, FailureReason], limits: Limits) -> WorkerProcess:
        """A worker that has compiled the rules. CannotCompile or WorkerDied when it cannot serve; then it has ended."""
        worker = await cls.spawn(limits)
        try:
            await worker.load(rules, quarantined)
        except BaseException:
            await worker.stop()
            raise
        return worker

    @classmethod
    async def spawn(cls, limits: Limits, module: str = WORKER) -> WorkerProcess:
        """A worker without rules. `module`: what the process runs. WorkerDied when it cannot be started."""
        try:
            return await cls._spawn(limits, module)
        except OSError as exc:
            raise WorkerDied(Reason.CRASH, InProgress(None, None), f"cannot be started: {exc}", sure=False) from exc

    async def load(self, rules: RuleSet, quarantined: Mapping[int, FailureReason]) -> None:
        """Compile these rules, in place of those before. CannotCompile or WorkerDied."""
        order = {"rules": rules.as_data(), "quarantined": quarantined, "deadline": self._limits.deadline}
        broken = from_json(await self.ask(protocol.LOAD, to_json(order), LOAD_SECONDS))
        if broken is not None:
            place, message = broken
            raise CannotCompile(place, message + (self._memory_note() if "MemoryError" in message else ""))

    @classmethod
    async def _spawn(cls, limits: Limits, module: str) -> WorkerProcess:
        environment = {name: os.environ[name] for name in _ENVIRONMENT if name in os.environ}
        with contextlib.ExitStack() as opened:
            errors = opened.enter_context(tempfile.TemporaryFile())
            mark = opened.enter_context(contextlib.closing(ProgressMark(os.memfd_create("coc-adapter-progress"))))
            process = await asyncio.create_subprocess_exec(
                *(
                    sys.executable,
                    *_OPTIONS,
                    module,
                    str(mark.fd),
                    str(min(limits.memory, own_limit() or limits.memory)),
                ),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=errors,
                pass_fds=(mark.fd,),
                env=environment | {"PYTHONPATH": str(_PACKAGES)},
                start_new_session=True,
            )
            opened.pop_all()  # they live as long as the process
        return cls(process, mark, errors, limits)

    async def render(self, requests: Sequence[RenderRequest]) -> list[RenderResult]:
        """Results for the first requests, one at least."""
        payload = protocol.pack_requests(requests)
        return list(protocol.unpack_results(await self.ask(protocol.RENDER, payload, self._limits.deadline * WALL)))

    async def set_directory(self, integration: str, index: bytes) -> None:
        """The directory of applications that the integration's alerts are rendered by, see protocol."""
        await self.ask(protocol.DIRECTORY, protocol.pack_directory(integration, index), LOAD_SECONDS)

    async def try_out(self, rule: int) -> dict[int, FailureReason]:
        """Run every template of one rule on a plain alert: those that want too much, by number."""
        answer = await self.ask(protocol.TRY_OUT, to_json(rule), self._limits.deadline * WALL)
        return protocol.unpack_places(from_json(answer))

    async def ended(self) -> None:
        """Return once the process has ended, for any reason."""
        await self._process.wait()

    async def stop(self) -> None:
        """End it now. Safe to call more than once."""
        if self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()
        assert self._process.stdin is not None
        self._process.stdin.close()
        with contextlib.suppress(OSError):
            await self._process.stdin.wait_closed()
        await self._process.wait()
        if not self._errors.closed:
            self._errors.close()
            self._mark.close()

    async def ask(self, kind: bytes, payload: bytes, seconds: float) -> bytes:
        """The answer to one frame, see protocol. WorkerDied also when there is none within so many seconds."""
        try:
            async with asyncio.timeout(seconds):
                return await self._exchange(kind, payload)
        except TimeoutError:
            in_progress = self._mark.read()
            await self.stop()
            raise WorkerDied(Reason.TIMEOUT, in_progress, f"no answer within {seconds:g} s", sure=False) from None
        except (OSError, EOFError):
            raise await self.exit_reason() from None
        except asyncio.CancelledError:
            # The next question would get the answer to this one.
            await self.stop()
            raise

    async def _exchange(self, kind: bytes, payload: bytes) -> bytes:
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None
        assert stdout is not None
        if stdin.is_closing():  # the process ended while nothing was asked; to write would be a RuntimeError of uvloop
            raise EOFError
        stdin.write(protocol.frame(kind, payload))
        await stdin.drain()
        length, _ = protocol.PREFIX.unpack(await stdout.readexactly(protocol.PREFIX.size))
        return await stdout.readexactly(length)

    def _memory_note(self) -> str:
        limit = own_limit()
        if limit is None or limit >= self._limits.memory:
            return ""
        return f"; {limit >> 20} MiB of memory are allowed here (ulimit -v), too few perhaps"

    async def exit_reason(self) -> WorkerDied:
        """Why it ended, once it has. Asked once, because nothing is left of it afterwards."""
        await self._process.wait()
        in_progress = self._mark.read()
        self._errors.seek(0, os.SEEK_END)
        self._errors.seek(max(0, self._errors.tell() - 500))
        lines = self._errors.read().decode(errors="replace").strip().splitlines()
        code = self._process.returncode
        await self.stop()
        if code == -signal.SIGPROF:
            return WorkerDied(Reason.TIMEOUT, in_progress, f"stopped after {self._limits.deadline:g} s", sure=True)
        how = f"signal {-code}" if code is not None and code < 0 else f"exit code {code}"
        message = f"ended by {how}" + (f": {lines[-1]}" if lines else "") + self._memory_note()
        return WorkerDied(Reason.CRASH, in_progress, message, sure=False)
