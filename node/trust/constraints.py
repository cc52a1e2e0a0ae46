"""Which names an authority may give away (RFC 5280 4.2.1.10).

Rules: a constraint binds names of its own kind. One of a kind that isn't understood here lets no
name of that kind pass. What an authority may not name isn't to be had by other letters: directory
names are compared without regard to case and spaces.
"""

import ipaddress
from collections.abc import Iterable

from cryptography import x509
from cryptography.x509.oid import NameOID

from node.trust.certificate import Certificate
from proto.ike.dn import Attribute, decode_name
from proto.ike.errors import WireError


def violation(certificate: Certificate, constraints: x509.NameConstraints) -> str | None:
    """The first name of `certificate` that `constraints` don't allow; None: they allow it."""
    permitted = tuple(constraints.permitted_subtrees or ())
    excluded = tuple(constraints.excluded_subtrees or ())
    for name in _names(certificate):
        same_kind = [tree for tree in permitted if type(tree) is type(name)]
        if any(_within(name, tree) is not False for tree in excluded) or (
            same_kind and not any(_within(name, tree) is True for tree in same_kind)
        ):
            return str(name.value)
    return None


def _names(certificate: Certificate) -> Iterable[x509.GeneralName]:
    subject = certificate.parsed.subject
    if subject.rdns:
        yield x509.DirectoryName(subject)
    yield from certificate.names
    if not any(isinstance(name, x509.RFC822Name) for name in certificate.names):
        for attribute in subject.get_attributes_for_oid(NameOID.EMAIL_ADDRESS):
            value = attribute.value
            if isinstance(value, str) and value.isascii():
                yield x509.RFC822Name(value)


def _within(name: x509.GeneralName, tree: x509.GeneralName) -> bool | None:
    """Is `name` in the subtree? None: of one kind, which isn't understood here."""
    if type(name) is not type(tree):
        return False
    if isinstance(name, x509.DNSName) and isinstance(tree, x509.DNSName):
        return _is_below(name.value, tree.value)
    if isinstance(name, x509.RFC822Name) and isinstance(tree, x509.RFC822Name):
        return _is_mailbox_of(name.value.lower(), tree.value.lower())
    if isinstance(name, x509.IPAddress) and isinstance(tree, x509.IPAddress):
        return _is_address_of(name, tree)
    if isinstance(name, x509.DirectoryName) and isinstance(tree, x509.DirectoryName):
        whole, first = _plain(name.value), _plain(tree.value)
        return None if whole is None or first is None else whole[: len(first)] == first
    return None


def _is_below(host: str, tree: str) -> bool:
    """A name with labels added on its left; with a dot in front, at least one."""
    host, tree = host.lower(), tree.lower()
    if not tree or host == tree:
        return True
    return host.endswith(tree if tree.startswith(".") else "." + tree)


def _is_mailbox_of(mailbox: str, tree: str) -> bool:
    if "@" in tree:
        return mailbox == tree
    _, _, host = mailbox.rpartition("@")
    return host.endswith(tree) if tree.startswith(".") or not tree else host == tree


def _is_address_of(name: x509.IPAddress, tree: x509.IPAddress) -> bool | None:
    address, network = name.value, tree.value
    if isinstance(address, ipaddress.IPv4Network | ipaddress.IPv6Network):
        return None
    if isinstance(network, ipaddress.IPv4Network | ipaddress.IPv6Network):
        return address in network
    return None


def _plain(name: x509.Name) -> list[frozenset[Attribute]] | None:
    try:
        rdns = decode_name(name.public_bytes())
    except WireError:
        return None
    return [
        frozenset(
            (oid, " ".join(value.casefold().split()) if isinstance(value, str) else value)
            for oid, value in rdn
        )
        for rdn in rdns
    ]
