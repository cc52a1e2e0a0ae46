"""`sessions redirect`: clients go to another gateway."""

from node.admin_view import Redirect
from node.cli.admin import Reach, ask
from node.cli.failure import ExitCode, Failed
from node.cli.output import Output, print_json
from node.redirects import checked


def redirect(whom: Reach, to: str, identity: str, member: str, output: Output) -> None:
    """Send those clients there, and say how many were told."""
    if not identity:
        right = "--identity PATTERN, or --all"
        raise Failed(ExitCode.COULD_NOT_RUN, [f"whose sessions is missing → {right}"])
    what = Redirect(to, identity, member)
    try:
        checked(what)
    except ValueError as error:
        raise Failed(
            ExitCode.COULD_NOT_RUN, [f"--to {to}, --identity {identity} → {error}"]
        ) from None
    done = ask(whom, lambda client: client.redirect(what))
    if output is Output.JSON:
        print_json(done)
    else:
        print(f"told         {done.told}")
        for name, count in (("there", done.there), ("unable", done.unable), ("busy", done.busy)):
            if count:
                print(f"{name:<12} {count}")
    if done.unreachable:
        names = ", ".join(done.unreachable)
        raise Failed(ExitCode.REFUSED, [f"incomplete: {names} did not answer"])
