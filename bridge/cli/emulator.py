"""`runbridge emulator`: serves the local upstream. Turns arguments into options, and does nothing else."""

import asyncio
import sys
from dataclasses import replace
from enum import StrEnum
from inspect import cleandoc
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from bridge.emulator import Options


class Times(StrEnum):
    """Where event times come from; see RunScript.times."""

    AUTO = "auto"
    FIXED = "fixed"
    NOW = "now"


def _list_faults(wanted: bool) -> None:
    if wanted:
        from bridge.emulator import FaultSettings  # noqa: PLC0415 - --help should not wait for a web server

        print(cleandoc(FaultSettings.__doc__ or ""))
        raise typer.Exit


def emulator(
    *,
    host: Annotated[
        str, typer.Option(help="Address to listen on. The control calls under /_emulator/ ask for no key.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on; 0 takes a free one.")] = 8787,
    run: Annotated[list[str] | None, typer.Option(help="Id of a run; may be repeated. (default: run_demo)")] = None,
    events: Annotated[
        int | None, typer.Option(min=0, help="Events of each run; without it a run lives for ever.")
    ] = None,
    rate: Annotated[
        float | None,
        typer.Option(min=0, help="Events a second of each run; 0: as fast as the client reads. (default: 4)"),
    ] = None,
    ends: Annotated[
        bool | None, typer.Option("--ends/--stays-open", help="Whether a run ends after its last event.")
    ] = None,
    payload: Annotated[int | None, typer.Option(min=0, help="Pad the data of each event to this many bytes.")] = None,
    seed: Annotated[int | None, typer.Option(help="Another seed makes other runs, and other faults by chance.")] = None,
    times: Annotated[
        Times | None,
        typer.Option(
            help="Event times: the clock's, or the same in each start; auto: now, or fixed where the rate is 0."
        ),
    ] = None,
    any_run: Annotated[
        bool | None,
        typer.Option("--any-run/--known-runs", help="Make an unknown run when it is asked for, instead of a 404."),
    ] = None,
    api_key: Annotated[
        str | None,
        typer.Option(
            envvar="BRIDGE_EMULATOR_API_KEY",
            help="The one key to accept. (default: any that is not empty)",
            show_envvar=True,
        ),
    ] = None,
    heartbeat: Annotated[
        float | None, typer.Option(min=0.001, help="Seconds of silence before a heartbeat. (default: 5)")
    ] = None,
    keep: Annotated[
        int | None, typer.Option(min=1, help="Events of a run that can be read again. (default: 1000000)")
    ] = None,
    faults: Annotated[
        list[str] | None,
        typer.Option(
            "--fault",
            metavar="NAME=VALUE",
            help="Switch a fault on; may be repeated. --list-faults names and explains them.",
        ),
    ] = None,
    list_faults: Annotated[  # noqa: ARG001 - its callback does the work
        bool, typer.Option("--list-faults", is_eager=True, callback=_list_faults, help="Explain the faults and exit.")
    ] = False,
    scenario: Annotated[
        Path | None, typer.Option(dir_okay=False, help="TOML or JSON file with all of this; the options here go first.")
    ] = None,
) -> None:
    r"""Serve a local upstream: every call of bctrl and Anchor Browser that tells of events, with faults at will.

    Point your own consumer at it, with any key that is not empty. Without options there are a live run (run_demo), an
    operation (op_demo) and an invocation (inv_demo) that go on by themselves, and signals are remembered. The line with
    its URL says that it listens; a stream goes on until you end it (Ctrl-C):

    \b
      runbridge emulator & sleep 3
      U=http://127.0.0.1:8787 K='Authorization: Bearer k' A='anchor-api-key: k' V='BCTRL-Version: 2026-10-03'
      curl -N -H "$K" $U/v2/runs/run_demo/events/stream          # a stream of a run; or /v1/...
      curl -N -H "$K" $U/v1/runs/run_demo/stream                 # events and trace
      curl -N -H "$K" -H "$V" $U/v1/events/stream                # the whole account
      curl -H "$K" "$U/v1/runs/run_demo/events?limit=5"          # lists: /v1/runs, /v1/events
      curl -H "$K" -d '{"timeoutMs":9000}' $U/v1/runs/run_demo/events/wait
      curl -H "$K" -d '{"timeoutMs":9000}' $U/v1/operations/op_demo/wait       # or invocations/inv_demo
      curl -H "$A" -d '{"data":{"code":"1"}}' $U/v1/events/otp   # a signal; before its wait or during it
      curl -H "$A" -d '{"timeoutMs":9000}' $U/v1/events/otp/wait

    See whether your consumer loses or doubles anything when every connection breaks in the middle of a frame, whether
    it waits when it is told to, and how fast it is (end the emulator above first, or give each its own --port):

    \b
      runbridge emulator --rate 500 --events 10000 --fault cut_after=100 --fault replay_last=5
      runbridge emulator --fault status=429 --fault status_next=3 --fault retry_after=2
      runbridge emulator --rate 0 --events 1000000 --run run_a --run run_b

    Or put it into a scenario file, for --scenario:

    \b
      runs = [{ id = "checkout", rate = 50, events = 5000 }, { id = "by-hand", script = false }]
      operations = [{ id = "export", steps = 20, seconds = 0.5, ending = "failed" }]
      faults = { poll_fault = "null-cursor", poll_fault_every = 3 }
      phases = [{ after = 20, faults = { expired_cursors = 1 } }, { after = 40, faults = {} }]

    While it runs, it is steered without a key:

    \b
      curl $U/_emulator/                                          # runs, faults, the last requests
      curl -d '{"cut_after":10}' $U/_emulator/faults              # -X DELETE: none; --list-faults explains them
      curl -X POST $U/_emulator/cut                               # every stream and wait
      curl -d '{"memory":false}' $U/_emulator/restart             # as after a crash
      curl -d '{"id":"r1"}' $U/_emulator/runs                     # a run that is fed by hand
      curl -d '{"type":"navigation"}' $U/_emulator/runs/r1/events
      curl -d '{"status":"failed"}' $U/_emulator/runs/r1/end
      curl -d '{"status":"succeeded"}' $U/_emulator/operations/op_demo
    """
    from bridge.emulator import serve  # noqa: PLC0415 - as above
    from bridge.emulator.scenario import fault  # noqa: PLC0415 - as above

    script = {"rate": rate, "events": events, "ends": ends, "payload": payload, "seed": seed, "times": times}
    whole = {"any_run": any_run, "api_key": api_key, "heartbeat": heartbeat, "keep": keep, "seed": seed}
    try:
        options = _options(scenario, run or [], _given(script), _given(whole), dict(map(fault, faults or [])))
        asyncio.run(serve(options, host, port, ready=_say_ready))
    except ValueError as wrong:
        raise typer.BadParameter(str(wrong)) from None
    except OSError as wrong:
        print(f"runbridge emulator: {scenario or f'{host}:{port}'}: {wrong.strerror or wrong}", file=sys.stderr)
        raise typer.Exit(1) from None


def _given(options: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in options.items() if value is not None}


def _options(
    scenario: Path | None, runs: list[str], script: dict[str, Any], whole: dict[str, Any], faults: dict[str, Any]
) -> "Options":
    """The file's options, or the defaults, with what was given on the command line put over them."""
    from bridge.emulator import Options, RunOption  # noqa: PLC0415 - as above
    from bridge.emulator.scenario import load  # noqa: PLC0415 - as above

    options = Options() if scenario is None else load(scenario)
    usual = replace(options.script, **script)
    there = tuple(replace(run, script=replace(run.script, **script)) if run.script else run for run in options.runs)
    return replace(
        options,
        script=usual,
        runs=tuple(RunOption(id=name, script=usual) for name in runs) or there,
        faults=replace(options.faults, **faults),
        **whole,
    )


def _say_ready(url: str) -> None:
    print(f"runbridge emulator: {url}", flush=True)
