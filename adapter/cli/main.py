"""The commands, thin: flags in, one call, an exit code out. 0 good, 1 findings, 2 wrong usage."""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from adapter import __version__, logs, mapping
from adapter.cli.operator import add_operator_commands
from adapter.cli.printable import printable_streams
from adapter.errors import AdapterError, ConfigError, MappingError, PayloadError, StoreError
from adapter.files import MAX_PAYLOAD_BYTES
from adapter.secret import Secret
from adapter.server.address import parse_listen_address

if TYPE_CHECKING:
    from adapter.config import Config

T = TypeVar("T")


def parser() -> argparse.ArgumentParser:
    """Every command and flag; docs and the chart's tests read it."""
    root = argparse.ArgumentParser(
        prog="coc-adapter",
        description="Prometheus Alertmanager to Huawei Cloud COC, with nothing lost.",
        allow_abbrev=False,
    )
    root.add_argument("--version", action="version", version=f"coc-adapter {__version__}")
    commands = root.add_subparsers(metavar="COMMAND", required=True)
    _service_commands(commands)
    _mapping_commands(commands)
    _store_commands(commands)
    add_operator_commands(commands)
    return root


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; wrong usage ends with SystemExit(2), as argparse does."""
    with printable_streams():
        return _main(arguments)


def _main(arguments: Sequence[str] | None) -> int:
    options = parser().parse_args(arguments)
    try:
        code: int = options.run(options)
    except (ConfigError, MappingError) as exc:
        for finding in exc.findings:
            print(finding.with_caret())
        return 1
    except PayloadError as exc:
        print(exc)
        return 1
    except BrokenPipeError:
        # The reader (head, less) has gone; nothing more is wanted of standard output.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except (AdapterError, OSError) as exc:
        print(f"coc-adapter: {exc}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return code


def _service_commands(commands: Any) -> None:
    serve = _command(commands, "serve", "receive webhooks and report to COC", _serve)
    serve.add_argument("--config.file", dest="config_file", type=Path, default=Path("adapter.yml"), metavar="FILE")
    _address_flag(serve, "--web.listen-address", "127.0.0.1:9876")
    _address_flag(serve, "--web.admin-address", "127.0.0.1:9877")
    serve.add_argument(
        "--web.config.file", dest="web_config_file", type=lambda text: Path(text) if text else None, metavar="FILE",
        help="TLS, users and headers, in the exporter-toolkit format",
    )  # fmt: skip
    serve.add_argument(
        "--web.allow-unauthenticated", dest="allow_unauthenticated", action="store_true",
        help="serve addresses other than loopback without asking for credentials",
    )  # fmt: skip
    serve.add_argument("--log.level", dest="log_level", choices=list(logs.LEVELS), default="info")
    serve.add_argument("--log.format", dest="log_format", choices=["logfmt", "json"], default="logfmt")
    demo = _command(commands, "demo", "a sandbox COC, the adapter and sample webhooks, on loopback", _demo)
    demo.add_argument("--once", action="store_true", help="end when done: 0 if COC received exactly what was due")
    sandbox = _command(commands, "sandbox", "the stand-in COC alone", _sandbox)
    _address_flag(sandbox, "--listen-address", "127.0.0.1:9878")
    sandbox.add_argument("--integration-key", default=None, metavar="KEY", help="refuse every other key")


def _address_flag(command: argparse.ArgumentParser, flag: str, default: str) -> None:
    command.add_argument(
        flag, dest=flag[2:].removeprefix("web.").replace("-", "_"), type=_address, default=default, metavar="HOST:PORT"
    )


def _address(text: str) -> str:
    try:
        parse_listen_address(text)
    except ValueError as exc:
        raise argparse.ArgumentTypeError(str(exc)) from None
    return text


def _serve(options: argparse.Namespace) -> int:
    from adapter.mapping.render.process import LEAST_MEMORY, own_limit

    limit, least = own_limit(), LEAST_MEMORY
    if limit is not None and limit < least:  # before the other imports, which may fail for want of memory
        raise AdapterError(f"{limit >> 20} MiB of memory are allowed here (ulimit -v); serve needs {least >> 20} MiB")
    from adapter.app import Options, serve

    logs.setup(options.log_level, options.log_format)
    return _run(serve(Options(**{flag.name: getattr(options, flag.name) for flag in fields(Options)})))


def _demo(options: argparse.Namespace) -> int:
    from adapter.cli.demo import demo

    logs.setup("warn", "logfmt")
    return _run(demo(once=options.once, out=sys.stdout))


def _sandbox(options: argparse.Namespace) -> int:
    from adapter.sandbox.server import serve_sandbox

    logs.setup("info", "logfmt")
    host, port = parse_listen_address(options.listen_address)
    _run(serve_sandbox(host or "127.0.0.1", port, options.integration_key))
    return 0


def _mapping_commands(commands: Any) -> None:
    check = _command(commands, "check", "config and mappings: every finding, one per line", _check)
    check.add_argument("--config.file", dest="config_file", type=Path, default=Path("adapter.yml"), metavar="FILE")
    render = _command(commands, "render", "what each alert of a webhook body would become", _render)
    _mappings_flag(render)
    render.add_argument("--integration", default="default", metavar="NAME")
    render.add_argument("--output", choices=["table", "json"], default="table")
    render.add_argument("payload", metavar="PAYLOAD.json", help="a webhook body; - reads standard input")
    diff = _command(commands, "diff", "what a change of the mappings would change", _diff)
    diff.add_argument("--mappings", type=Path, required=True, metavar="NEW")
    diff.add_argument("--against", type=Path, required=True, metavar="OLD")
    diff.add_argument("payloads", nargs="+", metavar="PAYLOAD.json")
    test = _command(commands, "test", "mapping unit tests", _test)
    _mappings_flag(test)
    test.add_argument("--junit", type=Path, default=None, metavar="FILE")
    test.add_argument("cases", nargs="*", type=Path, metavar="CASES.yaml", help="default: DIR/tests/*.yaml")


def _mappings_flag(command: argparse.ArgumentParser) -> None:
    command.add_argument("--mappings", type=Path, default=None, metavar="DIR", help="default: the shipped ones")


def _check(options: argparse.Namespace) -> int:
    from adapter.config import load_config
    from adapter.mapping.tools.preview import check

    config = load_config(options.config_file)
    directory = config.mappings
    findings = check(directory)
    for finding in findings:
        print(finding.with_caret())
    _run(_tell_orphans(config))
    if not findings:
        print(f"{options.config_file}: good; mappings {directory}: good")
    return 1 if findings else 0


async def _tell_orphans(config: Config) -> None:
    """Warn of what the store holds of integrations that adapter.yml does not name."""
    from adapter.clock import SystemClock
    from adapter.store import read_counts
    from adapter.store.moving import orphans
    from adapter.yamlfile import read

    try:
        counts = await read_counts(config.store_url.get(), SystemClock())
    except StoreError as exc:
        print(f"coc-adapter: the store was not looked into: {exc}", file=sys.stderr)
        return
    for name, count in sorted(orphans(counts, config.integrations).items()):
        held = f"{count.pending} pending reports, {count.open_alarms} open alarms and {count.dead} dead letters"
        message = f"warning: the store holds {held} of integration {name!r}, which is not here"
        advice = f"while the adapter runs: coc-adapter integrations move {name} NEW, or discard {name}"
        print(read(config.source.path, secret=True).finding(("integrations",), message, advice, at_key=True))


def _render(options: argparse.Namespace) -> int:
    from adapter.mapping.tools.preview import render_payload

    body = _payload(options.payload)
    directory = options.mappings or mapping.shipped()
    return _run(render_payload(directory, options.integration, body, options.output, sys.stdout, sys.stderr))


def _diff(options: argparse.Namespace) -> int:
    from adapter.mapping.tools.preview import diff_payloads

    payloads = [(name, _payload(name)) for name in options.payloads]
    return _run(diff_payloads(options.mappings, options.against, payloads, sys.stdout))


def _test(options: argparse.Namespace) -> int:
    from adapter.mapping.tools.cases import run_cases

    return _run(run_cases(options.mappings or mapping.shipped(), options.cases, options.junit, sys.stdout))


def _payload(name: str) -> bytes:
    """From standard input or a file, which may be a FIFO of the shell's."""
    with sys.stdin.buffer if name == "-" else Path(name).open("rb") as file:
        body = file.read(MAX_PAYLOAD_BYTES + 1)
    if len(body) > MAX_PAYLOAD_BYTES:
        raise PayloadError(f"{name}: larger than {MAX_PAYLOAD_BYTES >> 20} MiB")
    return body


def _store_commands(commands: Any) -> None:
    store = commands.add_parser("store", help="move a store", allow_abbrev=False)
    copy = _command(store.add_subparsers(metavar="COMMAND", required=True), "copy", "move everything", _store_copy)
    for flag, store in (("--from", "source"), ("--to", "target")):
        either = copy.add_mutually_exclusive_group(required=True)
        either.add_argument(flag, dest=store, metavar="URL", help="sqlite:PATH or postgresql://...")
        either.add_argument(f"{flag}-file", dest=store, type=_url_in, metavar="FILE", help="holds the URL")


def _url_in(path: str) -> str:
    try:
        return Secret(path=Path(path)).get()
    except ValueError as exc:
        raise argparse.ArgumentTypeError(str(exc)) from None


def _store_copy(options: argparse.Namespace) -> int:
    from adapter.clock import SystemClock
    from adapter.store.copy import copy_store

    copied = _run(copy_store(options.source, options.target, SystemClock()))
    for name, count in copied.items():
        print(f"{name:12} {count}")
    return 0


def _command(commands: Any, name: str, text: str, run: Callable[[argparse.Namespace], int]) -> argparse.ArgumentParser:
    command: argparse.ArgumentParser = commands.add_parser(name, help=text, description=text, allow_abbrev=False)
    command.set_defaults(run=run)
    return command


def _run(work: Coroutine[Any, Any, T]) -> T:
    """asyncio.run on uvloop where there is one."""
    try:
        import uvloop
    except ImportError:
        return asyncio.run(work)
    return uvloop.run(work)
