"""The parent's end of one rendering child: start it, ask it, find out what it died of."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

from pydantic_core import from_json, to_json

import adapter
from adapter.errors import RenderError
from adapter.mapping.render import protocol
from adapter.mapping.render.engine import FailureReason
from adapter.mapping.render.marker import InProgress, ProgressMark
from adapter.mapping.render.request import Reason

LOAD_SECONDS: Final = 30.0  # to start and compile; hundreds of rules take a few
WALL: Final = 10  # deadlines, by the wall clock: for a child that is starved or stopped rather than busy

_KEPT: Final = ("LD_LIBRARY_PATH", "PYTHONHOME", "PYTHONTZPATH")  # what Python itself may need, no more


class Limits(NamedTuple):
    deadline: float  # CPU seconds one alert may take
    memory: int  # bytes of address space


class ChildDied(RenderError):
    """The child ended, or was ended, before it answered."""

    def __init__(self, reason: Reason, under: InProgress, message: str, *, sure: bool) -> None:
        self.reason = reason
        self.under = under
        self.sure = sure  # what was under way is to blame, without trying it again
        super().__init__(message)


class CompileError(RenderError):
    """A template the child could not compile: its place among compiled.places, -1 when unknown."""

    def __init__(self, place: int, message: str) -> None:
        self.place = place
        super().__init__(message)


class Child:
    """One running child. One question at a time; after ChildDied it is of no more use."""

    def __init__(self, process: asyncio.subprocess.Process, marker: ProgressMark, errors: Any, limits: Limits) -> None:
        self._process = process
        self._marker = marker
        self._errors = errors
        self._limits = limits

    @classmethod
    async def start(
        cls, rules: Mapping[str, Any], bad: Mapping[int, FailureReason], limits: Limits, *, eager: bool
    ) -> Child:
        """A child that has the rules, and has compiled them if `eager`, else compiles each when it is first used.

        CompileError or ChildDied when it cannot, and then nothing is left of it.
        """
        marker = ProgressMark.create()
        errors = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the child
        try:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-P", "-s", "-B", "-X", "utf8", "-m", "adapter.mapping.render.worker"),
                *(str(marker.fd), str(limits.memory)),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=errors,
                pass_fds=(marker.fd,),
                env=_environment(),
                start_new_session=True,
            )
        except OSError as exc:
            marker.close()
            errors.close()
            raise ChildDied(Reason.CRASH, InProgress(None, None), f"cannot be started: {exc}", sure=False) from exc
        child = cls(process, marker, errors, limits)
        order = {"rules": rules, "bad": protocol.pack_bad(bad), "deadline": limits.deadline, "eager": eager}
        try:
            answer = from_json(await child._ask(protocol.LOAD, to_json(order), LOAD_SECONDS))
            if answer["broken"] is not None:
                raise CompileError(*answer["broken"])
        except BaseException:
            await child.stop()
            raise
        return child

    async def render(self, payload: bytes) -> bytes:
        """wire.pack_answers for the first jobs of protocol.pack_jobs, one at least."""
        return await self._ask(protocol.RENDER, payload, self._limits.deadline * WALL)

    async def rehearse(self) -> dict[int, FailureReason]:
        """Run every rule once: the templates that wanted too much. ChildDied when one could not be survived."""
        number: int | None = 0
        bad: dict[int, FailureReason] = {}
        while number is not None:
            order = to_json({"from": number})
            answer = from_json(await self._ask(protocol.REHEARSE, order, self._limits.deadline * WALL))
            number, bad = answer["next"], protocol.unpack_bad(answer["bad"])
        return bad

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
            self._marker.close()

    async def _ask(self, kind: bytes, payload: bytes, seconds: float) -> bytes:
        try:
            async with asyncio.timeout(seconds):
                return await self._exchange(kind, payload)
        except TimeoutError:
            under = self._marker.read()
            message = f"no answer within {seconds:g} s"
            await self.stop()
            raise ChildDied(Reason.TIMEOUT, under, message, sure=False) from None
        except (OSError, EOFError):
            await self._process.wait()
            raise await self._exit_reason() from None
        except asyncio.CancelledError:
            # The answer to a question nobody waits for any more would be taken for the next one's.
            await self.stop()
            raise

    async def _exchange(self, kind: bytes, payload: bytes) -> bytes:
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None
        assert stdout is not None
        stdin.write(protocol.frame(kind, payload))
        await stdin.drain()
        length, answered = protocol.PREFIX.unpack(await stdout.readexactly(protocol.PREFIX.size))
        answer = await stdout.readexactly(length)
        if answered != kind:
            raise EOFError
        return answer

    async def _exit_reason(self) -> ChildDied:
        under = self._marker.read()
        self._errors.seek(0, os.SEEK_END)
        self._errors.seek(max(0, self._errors.tell() - 500))
        words = self._errors.read().decode(errors="replace").strip().splitlines()
        code = self._process.returncode
        await self.stop()
        if code == -signal.SIGPROF:
            return ChildDied(Reason.TIMEOUT, under, f"stopped after {self._limits.deadline:g} s", sure=True)
        how = f"signal {-code}" if code is not None and code < 0 else f"exit code {code}"
        return ChildDied(Reason.CRASH, under, f"ended by {how}" + (f": {words[-1]}" if words else ""), sure=False)


def _environment() -> dict[str, str]:
    kept = {name: os.environ[name] for name in _KEPT if name in os.environ}
    return {**kept, "PYTHONPATH": str(Path(adapter.__file__).resolve().parent.parent)}
