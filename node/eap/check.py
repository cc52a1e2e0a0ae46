"""What is wrong with the EAP settings of a file: a line each.

Rules: a method that peers may be asked for has what it works with; the files named are read here
once, so that nobody meets a bad one later.
"""

from collections.abc import Callable, Iterable

from node.eap.backend import MSCHAPV2, RADIUS, TLS
from node.eap.files import read_line, read_password
from node.eap.users import load_users
from node.identity import parse_address
from node.sections import ClientConfig, GatewayConfig, RadiusConfig
from node.toml_strict import ConfigError, Problems, show

SERVERS_MAX = 16


def check_eap(config: GatewayConfig, problems: Problems) -> None:
    """Note what is wrong in a gateway's file."""
    eap, servers = config.eap, config.radius
    check_methods("eap.methods", eap.methods, config, problems)
    if eap.users_file:
        _reads("eap.users_file", lambda: load_users(eap.users_file), problems)
    if len(servers) > SERVERS_MAX:
        problems.add("radius", f"{len(servers)} tables", f"at most {SERVERS_MAX} [[radius]]")
    names: set[str] = set()
    for number, server in enumerate(servers, 1):
        _check_server(f"radius[{number}]", server, names, problems)
        if server.timeout_s > eap.radius_timeout_s:
            right = f"at most eap.radius_timeout_s ({eap.radius_timeout_s:g})"
            problems.add(f"radius[{number}].timeout_s", show(server.timeout_s), right)


def check_methods(
    where: str, methods: Iterable[str], config: GatewayConfig, problems: Problems
) -> None:
    """Note what a list of methods lacks."""
    listed = tuple(methods)
    if len(dict.fromkeys(listed)) < len(listed) or (RADIUS in listed and len(listed) > 1):
        problems.add(where, show(listed), '"tls" and "mschapv2" once each, or ["radius"]')
    eap = config.eap
    needs = {
        MSCHAPV2: (eap.users_file, "eap.users_file"),
        TLS: (_has_tls(config), "a [[certificate]] and trust.ca_file"),
        RADIUS: (config.radius, "a [[radius]] table"),
    }
    for method in dict.fromkeys(listed):
        has, what = needs[method]
        if not has:
            problems.add(where, show(method), f"needs {what}")


def check_client_eap(config: ClientConfig, problems: Problems) -> None:
    """Note what is wrong in a client's."""
    client = config.client
    if client.eap_password_file:
        _reads(
            "client.eap_password_file", lambda: read_password(client.eap_password_file), problems
        )
    needs = {
        MSCHAPV2: (client.eap_password_file, "client.eap_password_file"),
        TLS: (_has_tls(config), "a [[certificate]] and trust.ca_file"),
    }
    for method in dict.fromkeys(client.eap_methods):
        has, what = needs[method]
        if not has:
            problems.add("client.eap_methods", show(method), f"needs {what}")


def _has_tls(config: GatewayConfig | ClientConfig) -> bool:
    anchors = [config.trust.ca_file]
    if isinstance(config, GatewayConfig):
        anchors += [connection.ca_file for connection in config.connection]
    return bool(config.certificate) and any(anchors)


def _check_server(where: str, server: RadiusConfig, names: set[str], problems: Problems) -> None:
    if server.name in names:
        problems.add(f"{where}.name", show(server.name), "a name once")
    names.add(server.name)
    try:
        parse_address(server.address)
    except ValueError as error:
        problems.add(f"{where}.address", show(server.address), str(error))
    _reads(f"{where}.secret_file", lambda: read_line(server.secret_file), problems)


def _reads(key: str, read: Callable[[], object], problems: Problems) -> None:
    try:
        read()
    except ConfigError as error:
        problems.lines += [f"{problems.path}: {key}: {line}" for line in error.problems]
