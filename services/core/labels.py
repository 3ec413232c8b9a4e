"""What a Docker engine marks the stack's containers, volumes and networks with."""

from __future__ import annotations

COMPOSE_PROJECT = "com.docker.compose.project"
COMPOSE_FOLDER = "com.docker.compose.project.working_dir"
COMPOSE_SERVICE = "com.docker.compose.service"
COMPOSE_NUMBER = "com.docker.compose.container-number"
STACK_NAMESPACE = "com.docker.stack.namespace"
SWARM_SERVICE = "com.docker.swarm.service.name"
"""The stack's name is in front of the service's."""
