"""docs/tutorial.md is followed to its end: files are written, commands run, and each prints what is shown."""

from __future__ import annotations

import re
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlencode
from urllib.request import urlopen

from tests.docs.pages import ROOT, tables
from tests.docs.transcript import Command, Terminal, blocks, same
from tests.stage import REPOSITORY, free_port

PAGE = REPOSITORY / "docs" / "tutorial.md"
SERVERS = {
    "make run": "coc-adapter demo",
    "coc-adapter sandbox": "coc-adapter sandbox --listen-address=127.0.0.1:9878",
    "coc-adapter serve": "coc-adapter serve --web.listen-address=127.0.0.1:9876 --web.admin-address=127.0.0.1:9877",
}
"""Commands that run until Ctrl-C, with the ports that they take by default."""


class Server:
    """A command in a terminal of its own."""

    def __init__(self, shell: Terminal, command: str, log: Path) -> None:
        self._log = log
        words = shell.used(SERVERS[command]).split()
        with log.open("wb") as out:
            self.process = subprocess.Popen(words, cwd=shell.place, env=shell.environment, stdout=out, stderr=out)

    @property
    def text(self) -> str:
        return self._log.read_text(encoding="utf-8")

    def until(self, pattern: str) -> re.Match[str]:
        """Wait until the pattern is printed."""
        end = time.monotonic() + 60
        while not (found := re.search(pattern, self.text)):
            assert time.monotonic() < end, f"not printed: {pattern}\n{self.text}"
            time.sleep(0.1)
        return found

    def interrupt(self) -> None:
        """Ctrl-C."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
            self.process.wait(60)


class Reader:
    """Follows the page."""

    def __init__(self, folder: Path) -> None:
        self.shell = Terminal(folder, {})
        self.servers: list[Server] = []
        self.commands: list[str] = []

    def do(self, command: Command) -> None:
        """Run a command as the page says. Ctrl-C ends the servers of the section before."""
        self.commands.append(command.text)
        if command.text not in SERVERS:
            self.shell.check(command)
            return
        server = Server(self.shell, command.text, self.shell.folder / f"server{len(self.servers)}.log")
        self.servers.append(server)
        if command.text == "make run":
            server.until("Ctrl-C ends it")
            ports = server.until(r"COC on http://127.0.0.1:(\d+), adapter on http://127.0.0.1:(\d+)").groups()
            admin = server.until(r"--adapter.url=http://127.0.0.1:(\d+)")[1]
            self.use(ports[1], admin, ports[0])
        elif command.text == "coc-adapter serve":
            server.until("msg=ready")
        else:
            server.until("http://")
        printed = server.text
        for written, used in self.shell.instead.items():
            printed = printed.replace(used, written)
        assert same(command.shown, printed), f"$ {command.text}\nprinted:\n{printed}\nshown:\n{command.shown}"

    def use(self, listen: str, admin: str, coc: str) -> None:
        """These ports stand for the page's."""
        ports = {"9876": listen, "9877": admin, "9878": coc}
        instead = {
            f"{before}{port}": f"{before}{used}" for port, used in ports.items() for before in ("127.0.0.1:", "port=")
        }
        self.shell.instead = instead | {"../adapter/samples": str(REPOSITORY / "adapter" / "samples")}
        self.shell.environment["COC_ADAPTER_URL"] = f"http://127.0.0.1:{admin}"

    def interrupt(self) -> None:
        for server in reversed(self.servers):
            server.interrupt()


@contextmanager
def reader(folder: Path) -> Iterator[Reader]:
    one = Reader(folder)
    try:
        yield one
    finally:
        one.interrupt()


def test_the_tutorial_goes_as_shown(tmp_path: Path) -> None:
    section = ""
    with reader(tmp_path) as one:
        for block in blocks(PAGE):
            if block.section != section and section.startswith("2."):
                one.interrupt()
                one.use(*(str(free_port()) for _ in range(3)))
            section = block.section
            if block.kind != "console":
                one.shell.write(block)
            for command in block.commands:
                one.do(command)
        assert len(one.commands) >= 20
        assert set(SERVERS) <= set(one.commands)
        the_console_shows_what_the_page_says(one)


def the_console_shows_what_the_page_says(one: Reader) -> None:
    """By its form without JavaScript, which shows the same; the words in bold are on the page in both languages."""
    section = PAGE.read_text(encoding="utf-8").split("\n## 9. ")[1]
    rule = re.findall(r"`(alarm: .*?)`", section)[0]
    draft = (one.shell.place / "mappings" / "shop.yaml").read_text(encoding="utf-8")
    before = 'alarm: {resourceName: "{{ labels.pod }}"}'
    assert before in draft
    url = one.shell.used("http://127.0.0.1:9877/ui/mappings")
    form = urlencode({"path": "shop.yaml", "draft": draft.replace(before, rule)}).encode()
    with urlopen(f"{url}?lang=en", form, timeout=30) as answer:
        html = answer.read().decode()
    (row,) = tables(PAGE)[-1][1:]
    cells = re.findall(r"<tr><th scope=\"row\">(.*?)</th><td[^>]*>(.*?)</td><td[^>]*>(.*?)</td></tr>", html)
    assert tuple(row) in cells
    assert "a crash-looping pod" in re.sub(r"<[^>]*>", "", html)
    for page, language in ((PAGE, "en"), (ROOT / "docs" / "zh" / "tutorial.md", "zh")):
        with urlopen(f"{url}?lang={language}", timeout=30) as answer:
            html = answer.read().decode()
        words = re.findall(r"\*\*(.+?)\*\*", page.read_text(encoding="utf-8").split("\n## 9. ")[1])
        assert len(words) == 6
        assert [word for word in words if not re.search(rf">\s*{re.escape(word)}\s*<", html)] == []


def test_the_demo_is_what_make_run_runs() -> None:
    assert "\nrun: .venv/run.stamp ##" in (makefile := (REPOSITORY / "Makefile").read_text())
    assert makefile.split("\nrun: ")[1].splitlines()[1].strip() == "$(BIN)/coc-adapter demo"
