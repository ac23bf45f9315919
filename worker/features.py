"""The order of the columns in feature rows, as the API announced it."""

from arq.connections import ArqRedis

from app.errors import FeaturesMismatch
from app.queue.redis_keys import RedisKeys
from app.queue.serialization import loads

REMEMBERED = 64  # feature sets change with the pipeline's code, not with its data


class FeatureSets:
    """Ordered feature names by the name of their set."""

    def __init__(self, redis: ArqRedis, names: RedisKeys) -> None:
        self._redis = redis
        self._names = names
        self._known: dict[str, tuple[str, ...]] = {}

    async def names(self, feature_set: str) -> tuple[str, ...]:
        """The columns of a feature set; FeaturesMismatch when nobody announced it."""
        if feature_set not in self._known:
            raw = await self._redis.get(self._names.features(feature_set))
            if raw is None:
                raise FeaturesMismatch(f"Nobody announced the columns of feature set {feature_set!r}.")
            if len(self._known) >= REMEMBERED:
                self._known.clear()
            self._known[feature_set] = tuple(loads(raw))
        return self._known[feature_set]
