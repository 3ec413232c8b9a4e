from tests.unit.strategy.conftest import paused

__all__ = ["paused"]
