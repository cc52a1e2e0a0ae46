"""All of `node.trust` put together, from a configuration and a process's seams."""

from typing import Any

import msgspec

from cluster.seams import Clock, Rng, Spawn
from node.metrics import Counts
from node.sections import ClientConfig, GatewayConfig
from node.toml_strict import ConfigError
from node.trust.config import responder_certificates, trust_settings
from node.trust.fetch import Fetch
from node.trust.lists import Lists, ListSettings
from node.trust.own import Wrong
from node.trust.responders import Responders, ResponderSettings
from node.trust.revocation import CrlPolicy, OcspPolicy, Revocation
from node.trust.staples import Staples
from node.trust.verifier import Trust


class TrustSeams(msgspec.Struct, frozen=True):
    """What differs between a real process and a test's."""

    clock: Clock
    rng: Rng
    fetch: Fetch
    log: Any


class TrustParts:
    """Trust, and what works for it in the background."""

    def __init__(
        self, config: GatewayConfig | ClientConfig, seams: TrustSeams, counts: Counts
    ) -> None:
        """Raises ConfigError where files have changed since they were checked."""
        section = config.trust
        try:
            settings, trusted = trust_settings(config), responder_certificates(config)
        except Wrong as wrong:
            raise ConfigError([str(wrong)]) from None
        anchors = (settings.anchors, *settings.own_anchors.values())
        known = (*(c for one in anchors for c in one.certificates), *settings.intermediates)
        responders = Responders(
            ResponderSettings(section.ocsp_url, trusted),
            seams.fetch,
            seams.clock,
            seams.rng,
            counts,
        )
        self.lists = Lists(
            ListSettings(section.crl_files, section.crl_urls, section.crl_refresh_s),
            [one for one in known if one.is_ca],
            seams.fetch,
            seams.clock,
            counts,
            seams.log,
        )
        self.staples = Staples(settings.own, known, responders, seams.clock, counts, seams.log)
        revocation = Revocation(
            CrlPolicy(section.crl),
            OcspPolicy(section.ocsp),
            self.lists,
            responders,
            counts,
            seams.log,
        )
        self.trust = Trust(settings, seams.clock, revocation, self.staples)

    def start(self, spawn: Spawn) -> None:
        """Fetch lists and our own responses, from now on."""
        self.lists.start(spawn)
        self.staples.start(spawn)
