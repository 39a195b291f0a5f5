"""The program's entry: the group with commands that are imported when they are run, and the one place that exits."""

from __future__ import annotations

import atexit
import gc
import importlib
import os
import signal
import sys
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

import click
from click.shell_completion import CompletionItem

from deployer import __version__
from deployer.cli.options import Session, common_options
from deployer.core.errors import FOLDER_GONE, DeployError, ExitCode, Problem, disk_explained

_SELDOM = 300_000
"""Objects that are made before cycles among them are looked for."""

# Name → (module, one line of help): `--help` and completion read this and import no command.
COMMANDS: dict[str, tuple[str, str]] = {
    "up": ("up", "Build, deploy and prove the application; a second run changes nothing."),
    "dev": ("dev", "Run `up`, then keep what runs at the sources as they change."),
    "plan": ("plan", "Show what `up` would do, and why."),
    "status": ("status", "Show workloads, releases and URLs."),
    "rollback": ("rollback", "Bring back the newest revision that was verified healthy."),
    "history": ("rollback", "Show the application's revisions and their verdicts."),
    "explain": ("explain", "Show why a run ended as it did, from its record; also as a page."),
    "urls": ("urls", "Print the application's URLs."),
    "open": ("urls", "Open a URL in the browser."),
    "logs": ("logs", "Print or follow the logs of a service."),
    "exec": ("exec_", "Run a command in a container of a service."),
    "restart": ("restart", "Restart the pods of a service."),
    "env": ("shell", "Print shell exports for kubectl, helm, minikube and docker."),
    "down": ("down", "Remove releases and what was made for them; volumes stay unless asked."),
    "doctor": ("doctor", "Check machine, Docker, toolchain, cluster, spec and `.env`."),
    "validate": ("validate", "Check spec, `.env`, sources and charts without touching anything."),
    "config": ("config", "Show the merged spec and where each value comes from."),
    "init": ("init", "Draft the spec from Dockerfiles, charts and env file."),
    "schema": ("config", "Print the JSON Schema of the spec."),
    "secrets": ("secrets", "Make and check the env file."),
    "charts": ("charts", "Renew the pinned versions of charts that are fetched."),
    "images": ("images", "Show the images that serve; remove those that no kept revision refers to."),
    "bundle": ("bundle", "Hand on toolchain and images in one file, for machines without a network."),
    "help": ("help_", "Explain a code that was printed, or show the help of a command."),
    "completion": ("shell", "Print the completion script of a shell."),
}


class LazyGroup(click.Group):
    """A group whose commands are imported only when one of them runs."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The commands in the order a newcomer meets them."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command, imported now; None for an unknown name."""
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f"deployer.cli.{COMMANDS[cmd_name][0]}")
        command: click.Command = getattr(module, cmd_name if hasattr(module, cmd_name) else f"{cmd_name}_")
        return command

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Names and help from the table, and the group's own options: completion imports no command."""
        names = [CompletionItem(name, help=text) for name, (_, text) in COMMANDS.items() if name.startswith(incomplete)]
        return names + click.Command.shell_complete(self, ctx, incomplete)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Names and help from the table, so that `--help` imports nothing."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """The command; an unknown one is a usage error that names the nearest."""
        if args and args[0] not in COMMANDS:
            import difflib

            close = difflib.get_close_matches(args[0], COMMANDS, 1)
            ctx.fail(f"no command `{args[0]}`." + (f" Did you mean `{close[0]}`?" if close else ""))
        return super().resolve_command(ctx, args)


@click.group(
    cls=LazyGroup,
    context_settings={
        "help_option_names": ["-h", "--help"],
        "auto_envvar_prefix": "TODO_DEPLOY",
        "max_content_width": 100,
    },
    invoke_without_command=True,
)
@click.version_option(__version__, "-V", "--version", message="todo-deploy %(version)s")
@common_options
@click.pass_context
def cli(ctx: click.Context, session: Session) -> None:
    """From source to working URLs on a local Kubernetes cluster, with proof that it works."""
    ctx.obj = session
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help())


def main(argv: list[str] | None = None) -> NoReturn:
    """Runs the command line and exits with its code."""
    words = sys.argv[1:] if argv is None else argv
    # Nearly all that a run makes is modules and models that stay: looking through them again and again takes a sixth
    # of the time of their import, and the interpreter would do it once more at its end.
    gc.set_threshold(_SELDOM, 20, 20)
    atexit.register(gc.freeze)
    signal.signal(signal.SIGTERM, interrupt)
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:  # whoever started us has closed it
            setattr(sys, name, open(os.devnull, mode))  # noqa: PTH123, SIM115 - for as long as we run
    out, code = sys.stdout, 0
    try:
        with disk_explained():
            result: Any = cli.main(words, prog_name="todo-deploy", standalone_mode=False)
            code = int(result) if isinstance(result, int) else 0
            sys.stdout.flush()
    except click.exceptions.Exit as error:
        code = error.exit_code
    except click.UsageError as error:
        code = ExitCode.INPUT
        hint = _place_of_option(words, error) or f"{error.ctx.command_path if error.ctx else 'todo-deploy'} --help"
        _report(words, error.ctx, (Problem("USAGE", _wrong_usage(error), hints=(hint,)),), code)
    except DeployError as error:
        code = error.exit_code
        _report(words, None, error.problems, code)
    except (KeyboardInterrupt, click.Abort):
        code = ExitCode.INTERRUPTED
        _report(words, None, (Problem("INTERRUPTED", "interrupted", hints=("run the command again",)),), code)
    except BrokenPipeError:
        pass
    except SystemExit as error:  # of click: nobody reads any more, as behind `| head -1`, or Tab was answered
        code = code if sys.stdout is not out else int(error.code or 0)
    except Exception as error:
        gone = isinstance(error, FileNotFoundError) and _is_folder_gone()
        code = ExitCode.INPUT if gone else ExitCode.BUG
        _report(words, None, (FOLDER_GONE if gone else _bug(error),), code)
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:  # Python flushes them once more when it ends
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
    sys.exit(int(code))


def _is_folder_gone() -> bool:
    try:
        Path.cwd()
    except FileNotFoundError:
        return True
    return False


def interrupt(signum: int, frame: FrameType | None) -> NoReturn:
    """A signal ends a run as Ctrl-C does: children are ended and the terminal is put right."""
    raise KeyboardInterrupt


def _wrong_usage(error: click.UsageError) -> str:
    """What is wrong; a group without a command has no page of help for its message."""
    group = (
        error.ctx.command if error.ctx is not None and isinstance(error, click.exceptions.NoArgsIsHelpError) else None
    )
    if not isinstance(group, click.Group) or error.ctx is None:
        return error.format_message()
    return f"`{error.ctx.command_path}` wants a command: {', '.join(group.list_commands(error.ctx))}"


def _place_of_option(words: list[str], error: click.UsageError) -> str:
    """Behind which command's name an option belongs that was given before it; nothing where no command has it."""
    if not isinstance(error, click.NoSuchOption) or error.ctx is None or error.ctx.parent is not None:
        return ""
    for name in (*(word for word in words if word in COMMANDS), *COMMANDS):
        command = cli.get_command(error.ctx, name)
        for option in command.params if command is not None else ():
            if error.option_name in option.opts:
                return " ".join(filter(None, (f"todo-deploy {name} {error.option_name}", option.metavar or "")))
    return ""


def _report(words: list[str], ctx: click.Context | None, problems: tuple[Problem, ...], code: int) -> None:
    """The problems as the user asked for them: one JSON document, or lines on standard error."""
    from deployer.core.redact import masked

    problems = masked(problems)
    if _wants_json(words):
        import json

        from deployer.ui.view import envelope

        command = next((word for word in words if word in COMMANDS), "")
        with suppress(OSError):
            print(json.dumps(envelope(command, False, code, None, problems)), flush=True)
            return
    from deployer.ui.codes import print_problems

    print_problems(problems)


def _wants_json(words: list[str]) -> bool:
    pairs = zip(words, [*words[1:], ""], strict=True)
    return any(
        (word in ("-o", "--output") and following == "json") or word in ("-ojson", "--output=json")
        for word, following in pairs
    )


def _bug(error: Exception) -> Problem:
    """An error of ours; its trace goes to a file, because a trace on screen helps nobody who did not write it."""
    import traceback

    from deployer.state.runs import keep_trace

    path = keep_trace("".join(traceback.format_exception(error)))
    return Problem(
        "BUG",
        f"a bug in todo-deploy: {type(error).__name__}",
        f"the trace is in {path}" if path else str(error),
        hints=("run the command again with -v, and report it with the trace",),
    )
