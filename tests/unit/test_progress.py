import io

import pytest
from rich.console import Console
from rich.progress import Progress as Bars

from worker.pipeline.progress import BarProgress, LineProgress, Progress, SilentProgress, shown


def one_step(progress: Progress) -> None:
    progress.note("beginning")
    with progress.step("reading", total=3) as advance:
        advance()
        advance(2)


def test_a_log_gets_one_line_a_step_with_its_time() -> None:
    out = io.StringIO()
    one_step(LineProgress(out))
    first, second = out.getvalue().splitlines()
    assert first == "beginning"
    assert second.startswith("reading (3) took 0.0 s")


def test_a_step_that_fails_says_so() -> None:
    out = io.StringIO()
    with pytest.raises(ValueError, match="no"), LineProgress(out).step("reading"):
        raise ValueError("no")
    assert out.getvalue().startswith("reading failed after")


def test_a_terminal_gets_bars_that_end_full() -> None:
    bars = Bars(console=Console(file=io.StringIO(), force_terminal=True))
    one_step(BarProgress(bars))
    with BarProgress(bars).step("of unknown length"):
        pass
    assert [task.finished for task in bars.tasks] == [True, True]


def test_what_is_not_a_terminal_gets_lines() -> None:
    out = io.StringIO()
    with shown(out) as progress:
        one_step(progress)
    assert "reading (3) took" in out.getvalue()


def test_a_terminal_is_recognised() -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    out = Terminal()
    with shown(out) as progress:
        one_step(progress)
    assert "beginning" in out.getvalue()
    assert "reading" in out.getvalue()


def test_silence_says_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    one_step(SilentProgress())
    assert capsys.readouterr() == ("", "")
