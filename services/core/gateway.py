"""The exchange gateway for libraries that keep their addresses in nested tables."""

from __future__ import annotations

from aggr_server.gateway import through_all as through_all
