"""The commands, thin: flags in, one call, an exit code out. 0 good, 1 findings, 2 wrong usage."""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar
from urllib.parse import urlsplit

from adapter import __version__, logs, mapping, memory
from adapter.cli.applications import add_applications_command
from adapter.cli.operator import add_adapter_flags, add_operator_commands, admin_url, default_url
from adapter.cli.printable import printable_streams
from adapter.cli.recent import MOST_RECENT, diff_recent
from adapter.errors import AdapterError, ConfigError, Finding, MappingError, PayloadError, StoreError
from adapter.files import MAX_PAYLOAD_BYTES
from adapter.secret import Secret
from adapter.server.address import parse_listen_address
from adapter.table import fit

if TYPE_CHECKING:
    from adapter.application import Directories
    from adapter.config import Config
    from adapter.mapping.tools.request import Preview

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
    add_applications_command(commands)
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
        "--web.external-url", dest="external_url", type=_url, default="", metavar="URL",
        help="where people reach the admin listener; without credentials it answers under no other name",
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
    sandbox.add_argument("--integration-key", type=_key, default=None, metavar="KEY", help="refuse every other key")
    _applications_flag(sandbox, "the applications that it lists; default: a few of its own")


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


def _url(text: str) -> str:
    try:
        parts = urlsplit(text)
        if not text or (parts.scheme in ("http", "https") and parts.hostname):
            return text
    except ValueError:
        pass
    raise argparse.ArgumentTypeError("not a URL; write it like https://coc-adapter.example")


def _key(text: str) -> str:
    from adapter.coc.endpoint import key_problem

    if problem := key_problem(text):
        raise argparse.ArgumentTypeError(f"it {problem}")
    return text


def _serve(options: argparse.Namespace) -> int:
    limit, least = memory.own_limit(), memory.LEAST
    if limit is not None and limit < least:  # before the other imports, which may fail for want of memory
        raise AdapterError(f"{limit >> 20} MiB of memory are allowed here (ulimit -v); serve needs {least >> 20} MiB")
    memory.spend_little()
    from adapter.app import Options, serve

    logs.setup(options.log_level, options.log_format)
    return _run(serve(Options(**{flag.name: getattr(options, flag.name) for flag in fields(Options)})))


def _demo(options: argparse.Namespace) -> int:
    from adapter.cli.demo import demo

    logs.setup("warn", "logfmt")
    return _run(demo(once=options.once, out=sys.stdout))


def _sandbox(options: argparse.Namespace) -> int:
    from adapter.sandbox.applications import DEFAULT
    from adapter.sandbox.server import serve_sandbox

    logs.setup("info", "logfmt")
    host, port = parse_listen_address(options.listen_address)
    applications = options.applications[""].nodes if options.applications else DEFAULT
    _run(serve_sandbox(host or "127.0.0.1", port, options.integration_key, applications))
    return 0


def _mapping_commands(commands: Any) -> None:
    check = _command(commands, "check", "config and mappings: every finding, one per line", _check)
    _config_flag(check, "default: adapter.yml, with --mappings where there is one")
    check.add_argument("--mappings", type=Path, default=None, metavar="DIR", help="default: those of adapter.yml")
    check.add_argument("--online", action="store_true", help="also ask COC whether the applications named exist")
    render = _command(commands, "render", "what each alert of a webhook body would become", _render)
    _config_flag(render, "whose integration and mappings count; default: adapter.yml where there is one")
    _mappings_flag(render)
    _applications_flag(render)
    render.add_argument("--integration", default=None, metavar="NAME", help="default: default, or the only one")
    render.add_argument("--output", choices=["table", "json"], default="table")
    render.add_argument("payload", metavar="PAYLOAD.json", help="a webhook body; - reads standard input")
    text = "what a change of the mappings would change"
    diff = _command(commands, "diff", text, lambda options: _diff(options, diff.error))
    diff.add_argument("--mappings", type=Path, required=True, metavar="NEW")
    diff.add_argument("--against", type=Path, default=None, metavar="OLD", help="with payloads")
    diff.add_argument(
        "--recent", type=int, default=None, metavar="N",
        help=f"against what serves, on the last alerts of N alarms, 1 to {MOST_RECENT}; asks the running adapter",
    )  # fmt: skip
    _applications_flag(diff)
    add_adapter_flags(diff, url=default_url())
    diff.set_defaults(password_file=None)
    diff.add_argument("payloads", nargs="*", metavar="PAYLOAD.json")
    test = _command(commands, "test", "mapping unit tests", _test)
    _mappings_flag(test)
    _applications_flag(test)
    test.add_argument("--junit", type=Path, default=None, metavar="FILE")
    test.add_argument("cases", nargs="*", type=Path, metavar="CASES.yaml", help="default: DIR/tests/*.yaml")


def _config_flag(command: argparse.ArgumentParser, text: str) -> None:
    command.add_argument("--config.file", dest="config_file", type=Path, default=None, metavar="FILE", help=text)


def _mappings_flag(command: argparse.ArgumentParser) -> None:
    command.add_argument("--mappings", type=Path, default=None, metavar="DIR", help="default: the shipped ones")


def _applications_flag(
    command: argparse.ArgumentParser, text: str = "what `applications list --output=json` prints; default: none"
) -> None:
    command.add_argument("--applications", type=_applications_in, default={}, metavar="FILE", help=text)


def _applications_in(path: str) -> Directories:
    from adapter.nodes import read_list

    try:
        with Path(path).open("rb") as file:  # maybe a FIFO: <(coc-adapter applications list --output=json)
            return read_list(file.read(MAX_PAYLOAD_BYTES))
    except OSError as exc:
        raise argparse.ArgumentTypeError(f"{path} cannot be read: {exc.strerror or exc}") from None
    except ValueError:
        what = "holds no list as `applications list --output=json` prints it"
        raise argparse.ArgumentTypeError(f"{path} {what}") from None


def _check(options: argparse.Namespace) -> int:
    from adapter.config import load_config, mappings_named
    from adapter.mapping.tools.preview import check

    file, directory = _config_file(options), options.mappings
    findings: list[Finding] = []
    good = []
    config = None
    if file is not None:
        try:
            config = load_config(file)
            directory = directory or config.mappings
            good.append(str(file))
        except ConfigError as exc:
            findings += exc.findings
            directory = directory or mappings_named(file)
    if directory is not None:
        found = check(directory)
        findings += found
        good += [] if found else [f"mappings {directory}"]
    if options.online and file is None:
        raise AdapterError("--online asks COC as an adapter.yml says: give --config.file")
    if options.online and config is not None and directory is not None:
        from adapter.cli.online import check_online

        findings += _run(check_online(config, directory))
    for finding in findings:
        print(finding.with_caret())
    if config is not None:
        _run(_tell_orphans(config))
    if not findings:
        print("; ".join(f"{name}: good" for name in good))
    return 1 if findings else 0


def _config_file(options: argparse.Namespace) -> Path | None:
    """The file that is named, else adapter.yml; None where there is none and mappings are named."""
    usual = Path("adapter.yml")
    return options.config_file or (None if options.mappings and not usual.exists() else usual)


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
    directory, preview = _preview(options)
    return _run(render_payload(directory, preview, body, options.output, sys.stdout, sys.stderr, options.applications))


def _preview(options: argparse.Namespace) -> tuple[Path, Preview]:
    """By which mappings to render, and as which integration of adapter.yml where there is one."""
    from adapter.clock import SystemClock
    from adapter.config import load_config
    from adapter.mapping.tools.request import Preview

    received, file = SystemClock().now(), options.config_file or Path("adapter.yml")
    if not (options.config_file or file.exists()):
        return options.mappings or mapping.shipped(), Preview(received, options.integration or "default")
    config = load_config(file, without_secrets=True)
    name = config.integration(options.integration)
    if name is None:
        raise AdapterError(f"--integration must be one of {file}: {', '.join(config.integrations)}")
    contract, per_episode = config.integrations[name].contract(config.relay), config.relay.policy().id_per_episode
    return options.mappings or config.mappings, Preview(received, name, contract, per_episode)


def _diff(options: argparse.Namespace, wrong: Callable[[str], NoReturn]) -> int:
    if options.recent is not None:
        if options.against is not None or options.payloads:
            wrong("--recent compares with what serves, on alerts of its own: leave --against and payloads out")
        if not 1 <= options.recent <= MOST_RECENT:
            wrong(f"--recent is from 1 to {MOST_RECENT}")
        return diff_recent(options.mappings, admin_url(options), options.recent, options.applications, sys.stdout)
    if options.against is None or not options.payloads:
        wrong("give --against and payloads, or --recent")
    from adapter.clock import SystemClock
    from adapter.mapping.tools.preview import diff_payloads
    from adapter.mapping.tools.request import Preview

    payloads, preview = [(name, _payload(name)) for name in options.payloads], Preview(SystemClock().now())
    applications = options.applications
    return _run(diff_payloads(options.mappings, options.against, preview, payloads, sys.stdout, applications))


def _test(options: argparse.Namespace) -> int:
    from adapter.mapping.tools.cases import run_cases

    directory = options.mappings or mapping.shipped()
    return _run(run_cases(directory, options.cases, options.junit, sys.stdout, options.applications))


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
        print(fit(name, 12), count)
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
