"""Every command with its options, on one screen. What a command does is imported when it is called."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

import pantograph
from pantograph import errors

if TYPE_CHECKING:
    from pantograph.cli import files

app = typer.Typer(
    name="pantograph",
    no_args_is_help=True,
    rich_markup_mode="markdown",
    add_completion=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Live copies of SQL tables, within one engine or from one to another.\n\n"
    "Manifests say what is mirrored where; changes are captured by SQL triggers in the source.",
    epilog="Begin with `pantograph demo`. Exit statuses: 0 done, 1 failed, 2 a manifest or the call is wrong, "
    "3 not ready or not equal, 4 a database cannot be reached, 130 interrupted.",
)

Files = Annotated[
    list[str],
    typer.Option(
        "--file", "-f", metavar="PATH", help="Manifests: a file, a folder (with all below it), or - for standard input."
    ),
]
Installation = Annotated[
    str, typer.Option(metavar="NAME", help="Whose capture this is; two installations never share one.")
]
ClusterInstallation = Annotated[
    str, typer.Option(metavar="NAME", envvar="PANTOGRAPH_INSTALLATION", help="Whose capture this is.")
]
PodPort = Annotated[
    int, typer.Option(metavar="PORT", envvar="PANTOGRAPH_PORT", help="Of /metrics, /healthz and /readyz.")
]
Namespace = Annotated[
    str, typer.Option("--namespace", "-n", metavar="NAME", help="Of objects whose manifest names none.")
]

# Of the commands that look at a cluster where they are given no files, as `kubectl pantograph` would.
OrFiles = Annotated[
    list[str] | None,
    typer.Option(
        "--file",
        "-f",
        metavar="PATH",
        help="Manifests: a file, a folder, or - for standard input. Without: the cluster that kubectl is set to.",
    ),
]
OrInstallation = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="Whose capture this is: `local` with files, `pantograph` in a cluster."),
]
OrNamespace = Annotated[
    str | None,
    typer.Option("--namespace", "-n", metavar="NAME", help="In a cluster: where; of files: of objects that name none."),
]
Everywhere = Annotated[bool, typer.Option("--all-namespaces", "-A", help="In a cluster: of all namespaces.")]
Context = Annotated[str, typer.Option(metavar="NAME", help="In a cluster: which one, by a context of the kubeconfig.")]
Selector = Annotated[
    str, typer.Option("--selector", "-l", metavar="LABELS", help="In a cluster: Reflections of these.")
]


@dataclass(frozen=True)
class Where:
    """Files, or a cluster in place of them; with what holds for either unless it was said."""

    given: files.Given
    namespace: str
    installation: str


def _where(
    paths: list[str] | None,
    installation: str | None,
    namespace: str | None,
    everywhere: bool = False,
    context: str = "",
    selector: str = "",
) -> Where:
    if paths:
        if everywhere or context or selector:
            raise typer.BadParameter("of a cluster, and with --file there is none", param_hint="-A, --context, -l")
        return Where(paths, namespace or "default", installation or "local")
    from pantograph.cli import files, incluster

    here = namespace or incluster.namespace_of(context)
    given = files.InCluster(context, "" if everywhere else here, selector)
    return Where(given, here, installation or "pantograph")


def main(arguments: Sequence[str]) -> int:
    """Run the command that the arguments name; its exit status."""
    from pantograph.cli import outcomes, terminal

    try:
        app(list(arguments), prog_name="pantograph", standalone_mode=True)
    except SystemExit as ended:
        return int(ended.code or 0) if isinstance(ended.code, int) or ended.code is None else 1
    except errors.PantographError as error:
        terminal.complain(str(error))
        return outcomes.status_of(error)
    except KeyboardInterrupt:
        return outcomes.Status.INTERRUPTED
    except BrokenPipeError:
        # Whoever read our output has gone (`| head`): that is no failure, and nothing can be told any more.
        sys.stderr.close()
        return outcomes.Status.DONE
    return outcomes.Status.DONE


def _version(asked: bool) -> None:
    if asked:
        print(f"pantograph {pantograph.__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and end.")
    ] = False,
) -> None:
    pass


def _known(context: typer.Context, incomplete: str) -> list[str]:
    """Names of Reflections, for a shell that completes: those of the files that the call has so far."""
    from pantograph.api import manifests

    found, _ = manifests.read(context.params.get("files") or [], None)
    return sorted({name for _, name in found.reflections if name.startswith(incomplete)})


Names = Annotated[
    list[str],
    typer.Argument(metavar="NAME", help="Reflections, as their manifests name them.", autocompletion=_known),
]


@app.command(short_help="See it work: a small shop, mirrored live while it sells.")
def demo(
    folder: Annotated[
        str, typer.Argument(metavar="[DIR]", help="Where its files go; made when missing.", show_default=True)
    ] = "pantograph-demo",
    seconds: Annotated[
        float | None, typer.Option(metavar="N", min=1, help="End by itself after so long; else with Ctrl-C.")
    ] = None,
) -> None:
    """A shop in a SQLite file sells, ships and cancels, and its tables are mirrored into another file before your eyes.

    Needs no server and no network. The files and the manifests are left in DIR to look at and change; run it again
    and it goes on where it stopped.
    """
    from pathlib import Path

    from pantograph.cli.demo import play

    raise typer.Exit(play.run(Path(folder), seconds))


@app.command(short_help="Write manifests for the tables of a database.")
def generate(
    files: Files,
    to: Annotated[str, typer.Option(metavar="NAME", help="The Database that the copies go to.")],
    source: Annotated[
        str, typer.Option("--from", metavar="NAME", help="The Database with the tables; needed when there are several.")
    ] = "",
    tables: Annotated[
        list[str] | None,
        typer.Option(metavar="PATTERN", help="Tables to mirror: `orders`, `public.*`, `sales.o*`; all by default."),
    ] = None,
    exclude: Annotated[list[str] | None, typer.Option(metavar="PATTERN", help="Tables to leave out.")] = None,
    to_schema: Annotated[str, typer.Option(metavar="NAME", help="Schema of the copies; unless given, the same.")] = "",
    prefix: Annotated[str, typer.Option(metavar="TEXT", help="What the names of the objects begin with.")] = "",
    installation: Installation = "local",
    namespace: Namespace = "default",
) -> None:
    """Print a SourceTable and a Reflection for each table that can be mirrored: `… > mirror/tables.yaml`.

    Standard error says which tables were left out, and why. The same database gives the same manifests in every run.
    """
    from pantograph.cli import generating

    asked = generating.Asked(
        files, to, source, tables or ("*",), exclude or (), to_schema, prefix, installation, namespace
    )
    raise typer.Exit(generating.run(asked))


@app.command("import-pdr", short_help="Write manifests for what PDR has mirrored so far.")
def import_pdr(
    folder: Annotated[str, typer.Argument(metavar="DIR", help="What PDR's `export` wrote, or the folder it is in.")],
    no_secrets: Annotated[
        bool, typer.Option("--no-secrets", help="Leave out the Secrets with the logins that the export has.")
    ] = False,
    namespace: Annotated[str, typer.Option("--namespace", "-n", metavar="NAME", help="Of the objects.")] = "default",
) -> None:
    """Print the databases, source tables and reflections of a PDR export as manifests: `… > mirror/pdr.yaml`.

    Standard error, and a comment above each object, say what is different now and why, and what is left to decide.
    No database is asked; `pantograph plan` looks at them.
    """
    from pathlib import Path

    from pantograph.cli import pdr

    raise typer.Exit(pdr.run(Path(folder), namespace, with_secrets=not no_secrets))


@app.command(short_help="What a manifest may say.")
def explain(
    field: Annotated[
        str,
        typer.Argument(metavar="[KIND[.FIELD]]", help="`reflection`, `database.spec.reflector`; the kinds without."),
    ] = "",
) -> None:
    """Explain a kind of object, or a field of it with all below: what it takes, is for, and what holds without it."""
    from pantograph.cli import explaining

    raise typer.Exit(explaining.run(field))


@app.command(short_help="Say what `run` would do, as SQL; change nothing.")
def plan(
    files: OrFiles = None,
    adopt: Annotated[bool, typer.Option("--adopt", help="Plan as `run --adopt` would act.")] = False,
    installation: OrInstallation = None,
    namespace: OrNamespace = None,
    everywhere: Everywhere = False,
    context: Context = "",
    selector: Selector = "",
) -> None:
    """Print the SQL that `run` would send, the locks it takes, what no trigger sees, and how many rows it would copy.

    Changes nothing. Exit status: 0 when there is nothing to do, 3 when there is.
    """
    from pantograph.cli import planning

    at = _where(files, installation, namespace, everywhere, context, selector)
    raise typer.Exit(planning.run(at.given, installation=at.installation, namespace=at.namespace, adopt=adopt))


@app.command(short_help="Mirror, live, until you stop it.")
def run(
    files: Files,
    once: Annotated[bool, typer.Option("--once", help="End when everything is copied and caught up.")] = False,
    wait: Annotated[
        float, typer.Option(metavar="SECONDS", help="With --once: how long a database may be unreachable.")
    ] = 60.0,
    metrics_port: Annotated[
        int, typer.Option(metavar="PORT", min=0, max=65535, help="Serve /metrics for Prometheus there; 0 for not.")
    ] = 0,
    metrics_address: Annotated[str, typer.Option(metavar="ADDRESS", help="Where /metrics listens.")] = "127.0.0.1",
    console: Annotated[bool, typer.Option("--console", help="Serve web pages to watch and change it all.")] = False,
    console_address: Annotated[
        str, typer.Option(metavar="ADDRESS:PORT", help="Where the pages listen; for this machine alone.")
    ] = "127.0.0.1:8480",
    adopt: Annotated[
        bool, typer.Option("--adopt", help="Take over capture that another installation made; that one stops.")
    ] = False,
    installation: Installation = "local",
    namespace: Namespace = "default",
) -> None:
    """Mirror what the manifests say, in this one process: capture, first copies, then every change as it comes.

    Ctrl-C or SIGTERM ends it in order; the next run goes on where it stopped. Capture stays in the source and notes
    what changes meanwhile; `pantograph remove` takes it away.
    """
    from pantograph.cli import running

    pages = console_address if console else ""
    asked = running.Asked(files, once, wait, metrics_port, metrics_address, pages, adopt, installation, namespace)
    raise typer.Exit(running.run(asked))


@app.command(short_help="Say how far everything is.")
def status(
    files: OrFiles = None,
    output: Annotated[
        str, typer.Option("--output", "-o", metavar="FORMAT", help="table, wide, json or yaml.")
    ] = "table",
    watch: Annotated[bool, typer.Option("--watch", "-w", help="A screen to leave open, until Ctrl-C.")] = False,
    installation: OrInstallation = None,
    namespace: OrNamespace = None,
    everywhere: Everywhere = False,
    context: Context = "",
    selector: Selector = "",
) -> None:
    """A table for each kind: with files from the databases themselves, wherever `run` runs; without, from a cluster.

    Exit status: 0 when all is Ready, 3 when something is not.
    """
    from pantograph.cli import standing

    at = _where(files, installation, namespace, everywhere, context, selector)
    raise typer.Exit(
        standing.run(at.given, installation=at.installation, namespace=at.namespace, output=output, watch=watch)
    )


@app.command(short_help="Are the copies equal? Asked while they are live.")
def verify(
    names: Annotated[
        list[str] | None, typer.Argument(metavar="NAME", help="Reflections; all of them unless named.")
    ] = None,
    files: OrFiles = None,
    repair: Annotated[
        bool, typer.Option("--repair", help="Have the running mirror look up again, and write, what differs.")
    ] = False,
    show_keys: Annotated[bool, typer.Option("--show-keys", help="Print the keys that differ.")] = False,
    output: Annotated[str, typer.Option("--output", "-o", metavar="table|json", help="How to print.")] = "table",
    rest: Annotated[
        float,
        typer.Option(metavar="N", min=0, help="Seconds of rest for each second of work, to go easy on both sides."),
    ] = 0.0,
    installation: OrInstallation = None,
    namespace: OrNamespace = None,
    everywhere: Everywhere = False,
    context: Context = "",
    selector: Selector = "",
) -> None:
    """Compare source and destination of each Reflection in short ranges of keys, by checksums that both compute.

    Nothing is paused. A row that the mirror has not applied yet is not a difference, and one that differs all the same
    is found. Ends with 0 when all is equal, or was repaired; with 3 when something differs.
    """
    from pantograph.cli import verify as verifying

    if output not in ("table", "json"):
        raise typer.BadParameter("table or json", param_hint="--output")
    at = _where(files, installation, namespace, everywhere, context, selector)
    asked = verifying.Asked(at.given, names or (), repair, show_keys, output, rest, at.installation, at.namespace)
    raise typer.Exit(verifying.verify(asked))


@app.command(short_help="Have a Reflection stand still; its changes wait.")
def pause(names: Names, files: OrFiles = None, namespace: OrNamespace = None, context: Context = "") -> None:
    """Set `spec.paused` in the manifests of these Reflections; a running mirror follows within seconds.

    The file is changed in place, and keeps its comments and layout. What changes at the source is noted, and waits.
    """
    from pantograph.cli import changing

    at = _where(files, None, namespace, context=context)
    raise typer.Exit(changing.run(changing.pause, names, at.given, at.namespace))


@app.command(short_help="Have a paused Reflection go on.")
def resume(names: Names, files: OrFiles = None, namespace: OrNamespace = None, context: Context = "") -> None:
    """Take `spec.paused` out of the manifests of these Reflections; what has waited is applied."""
    from pantograph.cli import changing

    at = _where(files, None, namespace, context=context)
    raise typer.Exit(changing.run(changing.resume, names, at.given, at.namespace))


@app.command(short_help="Have a Reflection copied again.")
def resync(names: Names, files: OrFiles = None, namespace: OrNamespace = None, context: Context = "") -> None:
    """Set a new `spec.resyncToken` in the manifests of these Reflections: every row is compared and mended.

    The copy stays usable: rows are written before any is taken away, and many deletions wait for your consent.
    """
    from pantograph.cli import changing

    at = _where(files, None, namespace, context=context)
    raise typer.Exit(changing.run(changing.resync, names, at.given, at.namespace))


@app.command(short_help="Try rows again that wait or were set aside.")
def retry(
    names: Names,
    files: OrFiles = None,
    installation: OrInstallation = None,
    namespace: OrNamespace = None,
    context: Context = "",
) -> None:
    """Have the running mirror look up and write again, now, the rows of these Reflections that could not be written."""
    from pantograph.cli import retrying

    at = _where(files, installation, namespace, context=context)
    raise typer.Exit(retrying.run(names, at.given, installation=at.installation, namespace=at.namespace))


@app.command(short_help="May the application move to the copy now?")
def cutover(
    files: Files,
    quiet: Annotated[
        float, typer.Option(metavar="SECONDS", min=0, help="How long nothing may have changed at the sources.")
    ] = 5.0,
    wait: Annotated[
        float, typer.Option(metavar="SECONDS", min=0, help="How long the copy may take to catch up.")
    ] = 60.0,
    leave_numbers: Annotated[
        bool, typer.Option("--leave-numbers", help="Do not look at sequences, identities and AUTO_INCREMENT.")
    ] = False,
    installation: Installation = "local",
    namespace: Namespace = "default",
) -> None:
    """Is the source quiet? Then wait until all is applied, compare every row, and have the copy number its rows on.

    Stop the application first. Says that it is done, or why it is not; call it as often as you like. Exit status: 0
    when the application may write to the copy, 3 when not yet.
    """
    from pantograph.cli import cutover as cutting

    raise typer.Exit(cutting.run(cutting.Asked(files, quiet, wait, leave_numbers, installation, namespace)))


@app.command(short_help="Take away all that is Pantograph's; mirrored rows stay.")
def remove(
    files: Files,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    orphans: Annotated[
        bool, typer.Option("--orphans", help="Only what belongs to objects that no manifest names any more.")
    ] = False,
    installation: Installation = "local",
    namespace: Namespace = "default",
) -> None:
    """Remove triggers, event tables, checkpoints and all else that is Pantograph's from the databases in the manifests.

    The rows that were mirrored stay where they are, and no other installation's capture is touched. Stop `run` first.
    Exit status: 0 when nothing is left, which is looked for afterwards.
    """
    from pantograph.cli import removal

    raise typer.Exit(removal.run(files, installation=installation, namespace=namespace, yes=yes, orphans=orphans))


@app.command(short_help="Print the Kubernetes CRDs.")
def crds() -> None:
    """Print the CustomResourceDefinitions of the three kinds: `pantograph crds | kubectl apply -f -`."""
    from pantograph.api import schema

    print("---\n".join(schema.render(name) for name in schema.crds()), end="")


@app.command(short_help="Web pages over a cluster.")
def console(
    address: Annotated[str, typer.Option(metavar="ADDRESS:PORT", help="Where it listens.")] = "127.0.0.1:8090",
    namespaces: Annotated[
        list[str] | None,
        typer.Option("--namespace", "-n", metavar="NAME", envvar="PANTOGRAPH_NAMESPACES", help="Show these alone."),
    ] = None,
    installation: ClusterInstallation = "pantograph",
    trusted_proxies: Annotated[
        list[str] | None,
        typer.Option(
            "--trusted-proxy",
            metavar="NETWORK",
            envvar="PANTOGRAPH_TRUSTED_PROXIES",
            help="A proxy that says who somebody is; we act as them.",
        ),
    ] = None,
    user_header: Annotated[
        str, typer.Option(metavar="NAME", help="In which header that proxy names the user.")
    ] = "X-Forwarded-User",
    groups_header: Annotated[
        str, typer.Option(metavar="NAME", help="And in which their groups, with commas.")
    ] = "X-Forwarded-Groups",
) -> None:
    """Serve the pages of `run --console` over the objects of a cluster, until SIGTERM.

    With your kubeconfig it does what you may do. In a pod it does what the bearer token allows that a proxy passes
    on, or what they may whom a trusted proxy names; through a port-forward it shows what its own ServiceAccount may
    read.
    """
    from pantograph.cli.consoling import cluster, visitors

    trust = visitors.trust(_split(trusted_proxies), user_header, groups_header, in_pod=cluster.in_pod())
    cluster.run(address, _split(namespaces), installation, trust)


def _split(listed: list[str] | None) -> list[str]:
    """What was given once or more often, with commas or without; each once."""
    return list(dict.fromkeys(name for one in listed or [] for name in one.replace(",", " ").split()))


@app.command(short_help="The operator's process, in a cluster.")
def operator(
    namespaces: Annotated[
        list[str] | None,
        typer.Option(
            "--namespace", "-n", metavar="NAME", envvar="PANTOGRAPH_NAMESPACES", help="Look after these alone."
        ),
    ] = None,
    installation: ClusterInstallation = "pantograph",
    port: PodPort = 8080,
    reflector_image: Annotated[
        str, typer.Option(metavar="IMAGE", envvar="PANTOGRAPH_REFLECTOR_IMAGE", help="Image of the reflectors' pods.")
    ] = "",
) -> None:
    """Reconcile the Databases, SourceTables and Reflections of a cluster, until SIGTERM.

    Needs a ServiceAccount or a kubeconfig. Without an image it prepares and makes no reflector.
    """
    from pantograph.cli import pods

    pods.operator(namespaces or [], installation, port, reflector_image)


@app.command(short_help="The process that moves the rows of one source Database, in a cluster.")
def reflector(
    database: Annotated[str, typer.Option(metavar="NAME", help="The source Database.")],
    namespace: Namespace = "default",
    installation: ClusterInstallation = "pantograph",
    port: PodPort = 8080,
) -> None:
    """Move what the Reflections of one Database's SourceTables ask for, until SIGTERM; the operator prepares it."""
    from pantograph.cli import pods

    pods.reflector(namespace, database, installation, port)
